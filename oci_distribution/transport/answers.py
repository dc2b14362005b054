"""Answers: whole ones, and those whose body is still to come."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import anyio
import httpx

from oci_distribution.errors import LimitExceeded, RequestContext
from oci_distribution.transport.calls import BodyStream
from oci_distribution.transport.failures import mapped_failures, response_context

__all__ = ["SMALL_ANSWER", "Answer", "OpenAnswer", "close"]

SMALL_ANSWER = 64 << 10
"""Bytes of an answer that has nothing to say but its headers."""

CLOSE_DEADLINE = 3.0
"""Seconds that closing a connection may take: Ctrl-C must not wait for a silent host."""


async def close(stack: AsyncExitStack) -> None:
    """Close what a request holds, also when we were cancelled."""
    with anyio.move_on_after(CLOSE_DEADLINE, shield=True):
        await stack.aclose()


@dataclass(frozen=True, slots=True)
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


class OpenAnswer:
    """An answer whose body is still to come; it holds a connection and a slot until it is read or closed."""

    __slots__ = ("_closed", "_request", "_response", "_sent", "_stack", "headers", "status", "url")

    def __init__(
        self,
        response: httpx.Response,
        url: str,
        context: RequestContext,
        stack: AsyncExitStack,
        sent: httpx.SyncByteStream | httpx.AsyncByteStream,
    ) -> None:
        self._closed = False
        self._response = response
        self._stack = stack
        self._sent = sent
        self._request = context
        self.headers: httpx.Headers = response.headers
        self.status: int = response.status_code
        self.url: str = url

    @property
    def context(self) -> RequestContext:
        """The request with what its answer said, for errors about the body."""
        return response_context(self._request, self.status, self.headers)

    @property
    def authorization(self) -> str | None:
        """What the request said of who we are."""
        value: str | None = self._response.request.headers.get("Authorization")
        return value

    @property
    def took_all(self) -> bool:
        """Whether the host had the whole body of the request when it answered."""
        return not isinstance(self._sent, BodyStream) or self._sent.is_finished

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        """Hand out the body as it comes, undecoded; the slot is free again at its last byte."""
        with mapped_failures(self._request):
            async for piece in self._response.stream:  # type: ignore[union-attr]
                yield piece
        await self._end()

    async def _end(self) -> None:
        # Nothing is left that could keep us waiting: no deadline, which costs as much as all the rest here.
        if not self._closed:
            self._closed = True
            await self._stack.aclose()

    async def read(self, limit: int) -> Answer:
        """Return the whole answer, and close it.

        Raises:
            LimitExceeded: Its body is longer than `limit` bytes.
        """
        content = await self.read_head(limit + 1)
        if len(content) > limit:
            raise LimitExceeded(f"the answer is longer than {limit} bytes").about(self.context)
        return Answer(self.status, self.headers, content, self.url, self._request)

    async def read_head(self, limit: int) -> bytes:
        """Return at most `limit` bytes of the body, and close it."""
        content = bytearray()
        pieces = aiter(self._response.stream)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        with mapped_failures(self._request):
            # By hand: a generator and a context manager more would be a tenth of what a small request costs.
            async for piece in pieces:
                content += piece
                if len(content) >= limit:
                    break
            else:
                await self._end()
                return bytes(content)
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()
        await self.aclose()
        return bytes(content[:limit])

    async def discard(self, limit: int) -> None:
        """Read a short body to its end, so that the connection can be used again; cut a long one off."""
        await self.read_head(limit)

    async def aclose(self) -> None:
        """Close it; again does nothing."""
        if not self._closed:
            self._closed = True
            await close(self._stack)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
