"""What is on disk, and what is open of it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

__all__ = ["names_below", "open_below"]


def names_below(root: Path) -> list[str]:
    """Return the paths of all that is below `root`, sorted; none when it does not exist."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def open_below(root: Path) -> list[Path]:
    """Return the files at or below `root` that this process has open."""
    found: list[Path] = []
    for handle in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.append(handle.readlink())
    return [path for path in found if path.is_relative_to(root)]
