"""Metering: bodies that pass no faster than a user allows, in pieces that let others have their turn."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator

import httpx

from oci_distribution.iterating import iterating
from oci_distribution.transport.rates import Timing, Turns

__all__ = ["ByteCap", "MeteredStream"]

_LARGEST_STEP = 64 << 10
_SMALLEST_STEP = 1 << 10
"""Bytes that pass in one turn: a tenth of a second's, within these."""


class ByteCap:
    """A cap on the bytes that pass in a second, shared by streams that take turns.

    Args:
        timing: Clock and sleep.
        rate: Bytes a second.
    """

    def __init__(self, timing: Timing, rate: float) -> None:
        self._timing = timing
        self._turns = Turns(timing, lambda: rate)
        self._step = int(min(max(rate / 10, _SMALLEST_STEP), _LARGEST_STEP))

    def charge(self, count: int) -> None:
        """Note bytes that did not wait for a turn; those that come later make up for them."""
        self._turns.charge(count)

    async def wait(self, count: int) -> float:
        """Wait for a turn, and return the seconds that it took."""
        began = self._timing.now()
        await self._turns.take(count)
        return self._timing.now() - began

    def steps(self, piece: bytes) -> list[bytes]:
        """Return a piece in parts that are not too large for one turn."""
        if len(piece) <= self._step:
            return [piece]
        return [piece[start : start + self._step] for start in range(0, len(piece), self._step)]

    async def passing(self, pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        """Hand out a body, each part of it in its turn."""
        async for piece in pieces:
            for part in self.steps(piece):
                await self.wait(len(part))
                yield part


class MeteredStream(httpx.AsyncByteStream):
    """The body of an answer that passes under a cap.

    Args:
        stream: The body.
        cap: The cap.
    """

    def __init__(self, stream: httpx.AsyncByteStream, cap: ByteCap) -> None:
        self._stream = stream
        self._cap = cap
        self.held: float = 0.0
        """Seconds for which bytes that had come were held back: the host was not slow then."""

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        async with iterating(self._stream) as pieces:
            async for piece in pieces:
                for part in self._cap.steps(piece):
                    self.held += await self._cap.wait(len(part))
                    yield part

    async def aclose(self) -> None:
        """Close the body."""
        await self._stream.aclose()
