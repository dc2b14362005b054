"""Iterating over what somebody else made: it is closed when we are through, or leave early."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["iterating"]


@asynccontextmanager
async def iterating(pieces: AsyncIterable[bytes]) -> AsyncGenerator[AsyncIterator[bytes]]:
    """Iterate over what somebody gave us, and close it when it can be closed."""
    iterator = aiter(pieces)
    try:
        yield iterator
    finally:
        aclose = getattr(iterator, "aclose", None)
        if aclose is not None:
            await aclose()
