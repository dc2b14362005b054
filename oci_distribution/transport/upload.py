"""Uploads: the body of a request on its way, whoever carries it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

import anyio
import httpx

from oci_distribution.errors import SizeMismatch
from oci_distribution.iterating import iterating

__all__ = ["Upload", "abort"]

_PIECE = 256 << 10
"""Bytes that the host must take within one write timeout."""
_GRACE = 5.0
"""Seconds that a cancelled source gets to come to its end."""


def _nothing() -> None:
    """Do nothing."""


class Upload:
    """The body of a request, while a task of the HTTP engine sends it.

    Args:
        source: The bytes.
        patience: Seconds in which the host must take 256 KiB; None for ever.
    """

    def __init__(self, source: bytes | AsyncIterable[bytes], patience: float | None) -> None:
        self._source = source
        self._patience = patience
        self._task: asyncio.Task[Any] | None = None
        self._transport: asyncio.WriteTransport | None = None
        self._stopped = False
        self.is_complete: bool = False
        self.on_complete: Callable[[], None] = _nothing
        """Called when the host has been sent all of it."""
        self.failure: Exception | None = None
        """What went wrong on our own side: in the source, with its length, or the host took too long."""

    async def send(
        self,
        write: Callable[[memoryview], Awaitable[None]],
        transport: asyncio.WriteTransport | None,
        length: int | None,
    ) -> None:
        """Send the whole source; called at most once, in the task that does nothing else.

        Args:
            write: Sends some bytes; returns when it can take more.
            transport: The connection, cut when the upload fails.
            length: Bytes that the source must have; None for any number.
        """
        if self._stopped:
            raise asyncio.CancelledError
        self._task = asyncio.current_task()
        self._transport = transport
        try:
            async with aclosing(self._measured(length)) as pieces:
                async for piece in pieces:
                    await self._write(write, piece)
        except Exception:
            if self.failure is not None:
                abort(transport)
            raise
        self.is_complete = True
        self.on_complete()

    async def stop(self) -> None:
        """Return when nobody iterates the source any more; the engine has cancelled its task by now."""
        self._stopped = True
        if self._task is None or self._task.done():
            return
        if not self.is_complete:
            # Else the connection stays until the host has taken what is buffered.
            abort(self._transport)
        with anyio.move_on_after(_GRACE, shield=True):
            await asyncio.wait({self._task})

    async def _measured(self, length: int | None) -> AsyncGenerator[bytes]:
        sent, last = 0, b""
        try:
            source = _once(self._source) if isinstance(self._source, bytes) else self._source
            async with iterating(source) as pieces:
                async for piece in pieces:
                    sent += len(piece)
                    if length is not None and sent > length:
                        raise SizeMismatch(f"the body is longer than the {length} bytes that were announced")
                    # The last one waits until the source has ended: the host must not get all of what it
                    # expects, and store it, when there is more, or when the source finds fault with it.
                    if sent == length:
                        last = last or piece
                    else:
                        yield piece
            if length is not None and sent < length:
                raise SizeMismatch(f"the body ended after {sent} of the {length} bytes that were announced")
        except Exception as error:
            self.failure = error
            raise
        if last:
            yield last

    async def _write(self, write: Callable[[memoryview], Awaitable[None]], piece: bytes) -> None:
        view = memoryview(piece)
        for start in range(0, len(view), _PIECE):
            timer = asyncio.timeout(self._patience)
            try:
                async with timer:
                    await write(view[start : start + _PIECE])
            except TimeoutError:
                if timer.expired():
                    self.failure = httpx.WriteTimeout("the host took nothing for longer than allowed")
                raise


async def _once(piece: bytes) -> AsyncGenerator[bytes]:
    yield piece


def abort(transport: asyncio.WriteTransport | None) -> None:
    """Cut a connection at once, without waiting for anything that is still to be sent or read."""
    if transport is not None:
        # Up to Python 3.11.3, a TLS transport that was aborted and then closed has forgotten its protocol.
        with suppress(AttributeError):
            transport.abort()
