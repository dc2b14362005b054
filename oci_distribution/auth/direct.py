"""Direct requests: as they are, without any authorization."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["direct_requests", "is_direct_request"]

_direct: ContextVar[bool] = ContextVar("oci_distribution_direct", default=False)


@contextmanager
def direct_requests() -> Generator[None]:
    """Send the requests under this `with` without authorization; tasks started inside follow."""
    token = _direct.set(True)
    try:
        yield
    finally:
        _direct.reset(token)


def is_direct_request() -> bool:
    """Say whether requests of this context go without authorization."""
    return _direct.get()
