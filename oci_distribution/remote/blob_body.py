"""The bytes of a blob on their way: where the connection breaks, another one goes on from there."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from oci_distribution.errors import Attempt, ProtocolError, TransportError
from oci_distribution.spec.endpoints import Endpoint
from oci_distribution.spec.headers import parse_content_range, range_header
from oci_distribution.transport.answers import OpenAnswer
from oci_distribution.transport.calls import Host
from oci_distribution.transport.sender import Sender

__all__ = ["BlobBody"]

PROGRESS = 1 << 20
"""Bytes after which a break counts as the first again: by one at a time a registry could keep us for ever."""


class BlobBody:
    """The answers that a blob comes in: one, unless it breaks.

    Args:
        sender: Sends the requests.
        host: The registry.
        endpoint: Asks for the blob.
    """

    def __init__(self, sender: Sender, host: Host, endpoint: Endpoint) -> None:
        self._sender = sender
        self._host = host
        self._endpoint = endpoint
        self._etag: str | None = None
        self.answer: OpenAnswer | None = None
        """The newest answer; None before there is one."""

    async def open(self) -> OpenAnswer:
        """Ask for the blob from its beginning, and return the answer."""
        self.answer = await self._sender.open(self._host, self._endpoint)
        etag: str | None = self.answer.headers.get("ETag")
        self._etag = etag if etag is not None and not etag.startswith("W/") else None
        return self.answer

    async def aclose(self) -> None:
        """Close the connection; again does nothing."""
        if self.answer is not None:
            await self.answer.aclose()

    async def pieces(self, answer: OpenAnswer, size: int) -> AsyncGenerator[bytes]:
        """Hand out the body as it comes, over as many answers as it takes.

        Args:
            answer: The first answer.
            size: Length of the blob in bytes, by its descriptor.

        Raises:
            TransportError: It broke more often than our patience lasts without getting on.
            ProtocolError: The registry went on with something else.
        """
        position, counted_from, skip = 0, 0, 0
        attempts: list[Attempt] = []
        while True:
            try:
                async with aclosing(aiter(answer)) as body:
                    async for piece in body:
                        rest = piece[skip:]
                        skip -= len(piece) - len(rest)
                        position += len(rest)
                        yield rest
                return
            except TransportError as error:
                await answer.aclose()  # before the wait: a slot is for those who use it
                if not position < size:
                    return
                if position - counted_from >= PROGRESS:
                    attempts.clear()
                    counted_from = position
                await self._sender.wait_to_repeat(self._host, self._endpoint, error, attempts)
            answer = await self._reopen(position, size)
            skip = position if answer.status == 200 else 0

    async def _reopen(self, position: int, size: int) -> OpenAnswer:
        """Ask for the blob from `position` on; what comes may be the whole all the same."""
        headers = [("Range", range_header(position))]
        if self._etag is not None:
            headers.append(("If-Range", self._etag))
        answer = self.answer = await self._sender.open(self._host, self._endpoint, headers=headers)
        if answer.status == 206:
            shown = answer.headers.get("Content-Range")
            given = parse_content_range(shown)
            if given is None or given.start != position or given.total not in {None, size}:
                await answer.aclose()
                message = f"asked to go on at byte {position} of {size}, the registry answered {shown!r}"
                raise ProtocolError(message, context=answer.context)
        return answer
