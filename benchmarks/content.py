"""What the benchmarks move about: blobs in files."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


class Blob(NamedTuple):
    """A blob in a file."""

    path: Path
    digest: str


def make_blob(path: Path, size: int) -> Blob:
    """Write a blob of `size` bytes."""
    piece, hasher = os.urandom(1 << 20), hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(size // len(piece)):
            file.write(piece)
            hasher.update(piece)
    return Blob(path, f"sha256:{hasher.hexdigest()}")


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a folder, in memory if the system has one there: the disk is not what we measure."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="oci-bench-", dir=memory if memory.is_dir() else None) as name:
        yield Path(name)
