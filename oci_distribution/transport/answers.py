"""Answers: whole ones, and those whose body is still to come."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import anyio
import httpx

from oci_distribution.errors import LimitExceeded, RequestContext
from oci_distribution.transport.calls import BodyStream
from oci_distribution.transport.failures import mapped_failures, response_context
from oci_distribution.transport.metering import MeteredStream

__all__ = ["SMALL_ANSWER", "Answer", "Held", "OpenAnswer"]

SMALL_ANSWER = 64 << 10
"""Bytes of an answer that has nothing to say but its headers."""

HEAD_PATIENCE = 5.0
"""Seconds that the body of a refusal or redirect may take to come: it says little."""

CLOSE_DEADLINE = 3.0
"""Seconds that closing a connection may take: Ctrl-C must not wait for a silent host."""


@dataclass(slots=True)
class Held:
    """What a request holds until its answer is closed.

    (By name, and in no exit stack: that would be a tenth of what a small request costs.)

    Args:
        release: Gives the slot back.
        bodies: Closes the body that goes along, as often as it was opened; None when there is none to close.
        answer: The body that comes back.
        metered: The same as a cap lets it pass; None without a cap.
    """

    release: Callable[[], None]
    bodies: AsyncExitStack | None = None
    answer: httpx.AsyncByteStream | None = None
    metered: MeteredStream | None = None

    async def let_go(self) -> None:
        """Close all of it, the slot last, whatever fails or is cancelled."""
        try:
            if self.answer is not None:
                await self.answer.aclose()
        finally:
            try:
                if self.bodies is not None:
                    await self.bodies.aclose()
            finally:
                self.release()

    async def close(self) -> None:
        """Do the same within a deadline, also when we were cancelled."""
        with anyio.move_on_after(CLOSE_DEADLINE, shield=True):
            await self.let_go()


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """A whole answer.

    Args:
        status: One that the endpoint accepts.
        headers: Of the answer.
        content: Its body.
        url: The URL that gave it, after redirects: what a relative `Location` is relative to.
        request: What was asked.
    """

    status: int
    headers: httpx.Headers
    content: bytes
    url: str
    request: RequestContext

    @property
    def context(self) -> RequestContext:
        """The request with what its answer said, for errors about the content."""
        return response_context(self.request, self.status, self.headers)

    def __repr__(self) -> str:
        return f"<Answer {self.status} to {self.request.method} {self.request.url}>"


class OpenAnswer:
    """An answer whose body is still to come; it holds a connection and a slot until it is read or closed."""

    __slots__ = (
        "_closed",
        "_held",
        "_is_body_sent",
        "_request",
        "_sent",
        "_stream",
        "authorization",
        "headers",
        "status",
        "url",
    )

    def __init__(
        self,
        response: httpx.Response,
        url: str,
        context: RequestContext,
        held: Held,
        sent: httpx.SyncByteStream | httpx.AsyncByteStream,
    ) -> None:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        held.answer = response.stream
        self._closed = False
        self._stream = response.stream
        self._held = held
        self._sent = sent
        self._is_body_sent: bool = response.extensions.get("body_sent", True)
        self._request = context
        self.authorization: str | None = None
        """What the request said of who we are."""
        self.headers: httpx.Headers = response.headers
        self.status: int = response.status_code
        self.url: str = url

    @property
    def context(self) -> RequestContext:
        """The request with what its answer said, for errors about the body."""
        return response_context(self._request, self.status, self.headers)

    @property
    def held_back(self) -> float:
        """Seconds for which bytes that had come were held back, by a cap of the user's."""
        return 0.0 if self._held.metered is None else self._held.metered.held

    @property
    def took_all(self) -> bool:
        """Whether the host had the whole body of the request when it answered."""
        return self._is_body_sent and (not isinstance(self._sent, BodyStream) or self._sent.is_finished)

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        """Hand out the body as it comes, undecoded; the slot is free again at its last byte."""
        with mapped_failures(self._request):
            async for piece in self._stream:
                yield piece
        await self._end()

    async def _end(self) -> None:
        # Nothing is left that could keep us waiting: no deadline, which costs as much as all the rest here.
        if not self._closed:
            self._closed = True
            await self._held.let_go()

    async def read(self, limit: int) -> Answer:
        """Return the whole answer, and close it.

        Raises:
            LimitExceeded: Its body is longer than `limit` bytes.
        """
        content = bytearray()
        await self._take(content, limit + 1)
        if len(content) > limit:
            raise LimitExceeded(f"the answer is longer than {limit} bytes").about(self.context)
        return Answer(self.status, self.headers, bytes(content), self.url, self._request)

    async def read_head(self, limit: int) -> bytes:
        """Return at most `limit` bytes of the body, of what comes soon, and close it."""
        content = bytearray()
        with anyio.move_on_after(HEAD_PATIENCE):
            await self._take(content, limit)
        await self.aclose()
        return bytes(content[:limit])

    async def _take(self, content: bytearray, limit: int) -> None:
        """Add the body to `content`, and close it as soon as there are `limit` bytes."""
        pieces = aiter(self._stream)
        with mapped_failures(self._request):
            # By hand: a generator and a context manager more would be a tenth of what a small request costs.
            async for piece in pieces:
                content += piece
                if len(content) >= limit:
                    break
            else:
                await self._end()
                return
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()
        await self.aclose()

    async def discard(self, limit: int) -> None:
        """Read a short body to its end, so that the connection can be used again; cut a long one off."""
        await self.read_head(limit)

    async def aclose(self) -> None:
        """Close it; again does nothing."""
        if not self._closed:
            self._closed = True
            await self._held.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<OpenAnswer {self.status} to {self._request.method} {self._request.url}, {state}>"
