"""What to say where the extra `testing` is not installed."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["MissingExtra", "extra_needed"]

_EXTRA = frozenset({"httptools", "jwt", "starlette", "trustme", "uvicorn"})
"""What the extra brings, by the names of imports."""


class MissingExtra(ModuleNotFoundError):
    """The extra `testing` is not installed, or not the whole of it."""


@contextmanager
def extra_needed() -> Generator[None]:
    """Let the import of what the extra brings say how to get it, when it fails.

    Raises:
        MissingExtra: It failed because of the extra.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRA:
            raise
        msg = f"no {missing}: a registry to test against needs `pip install oci-distribution[testing]`"
        raise MissingExtra(msg, name=error.name) from error
