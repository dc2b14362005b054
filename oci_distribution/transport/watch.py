"""What becomes of a request, told to whoever listens; when nobody does, there is no watch, and no cost."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from itertools import count
from typing import TYPE_CHECKING

import httpx

from oci_distribution.errors import RequestContext, RequestError, redact_url
from oci_distribution.events import (
    EventSink,
    Redirected,
    RequestEvent,
    RequestFailed,
    RequestSent,
    ResponseEnded,
    ResponseReceived,
    is_logged,
    sinks_here,
    tell,
)
from oci_distribution.iterating import iterating

if TYPE_CHECKING:
    from oci_distribution.transport.calls import Call

__all__ = ["Watch", "watch"]

_numbers = count(1)


def watch(observer: EventSink | None, now: Callable[[], float]) -> Watch | None:
    """Return a watch over a call that begins here; None when nobody listens.

    Args:
        observer: Who listens besides the sinks of this context.
        now: Monotonic seconds.
    """
    sinks = sinks_here(observer)
    return Watch(sinks, now) if sinks or is_logged(RequestEvent) else None


class Watch:
    """Tells what becomes of one call: of each request that it takes, one after the other.

    The end of an answer comes when its reader closes it, in whatever context: those hear it who heard
    the beginning.
    """

    __slots__ = ("_about", "_began", "_now", "_resends", "_sinks", "_waits")

    def __init__(self, sinks: tuple[EventSink, ...], now: Callable[[], float]) -> None:
        self._sinks = sinks
        self._now = now
        self._about = (0, "", "", 0)
        self._began = 0.0
        self._resends = 0
        self._waits = False

    def sent(self, call: Call) -> None:
        """Tell that a request leaves."""
        context: RequestContext = call.context
        self._about = next(_numbers), context.method, context.url, call.attempt
        self._waits = True
        tell(RequestSent(*self._about, self._resends), self._sinks)
        self._resends += 1
        self._began = self._now()

    def received(self, response: httpx.Response) -> None:
        """Tell that the head of its answer is here, and watch the body."""
        about, began, status = self._about, self._began, response.status_code
        self._waits = False

        def ended(size: int, error: str | None, *, is_whole: bool) -> None:
            event = ResponseEnded(*about, status, size, self._now() - began, is_whole, error)
            tell(event, self._sinks)

        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Counted(response.stream, ended)
        tell(ResponseReceived(*about, status, self._now() - began), self._sinks)

    def failed(self, error: BaseException) -> None:
        """Tell that the request which waits for an answer gets none; nothing where none waits."""
        if not self._waits:
            return
        self._waits = False
        reason = str(error.args[0]) if isinstance(error, RequestError) and error.args else ""
        seconds = self._now() - self._began
        tell(RequestFailed(*self._about, type(error).__name__, reason, seconds), self._sinks)

    def redirected(self, target: str) -> None:
        """Tell that the answer sent us on."""
        tell(Redirected(*self._about, redact_url(target)), self._sinks)


class _Counted(httpx.AsyncByteStream):
    """A body whose end is told when it is closed: size, error, and whether it was whole."""

    def __init__(self, stream: httpx.AsyncByteStream, ended: Callable[..., None]) -> None:
        self._stream = stream
        self._ended = ended
        self._size = 0
        self._error: str | None = None
        self._is_whole = False
        self._is_closed = False

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        try:
            async with iterating(self._stream) as pieces:
                async for piece in pieces:
                    self._size += len(piece)
                    yield piece
                self._is_whole = True
        except Exception as error:
            self._error = type(error).__name__
            raise

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            if not self._is_closed:
                self._is_closed = True
                self._ended(self._size, self._error, is_whole=self._is_whole)
