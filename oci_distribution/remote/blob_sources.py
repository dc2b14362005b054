"""Where a blob's bytes come from: its descriptor, one connection, or several."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from oci_distribution.content.sources import held_data
from oci_distribution.errors import ContentError, InvalidArgument
from oci_distribution.remote.blob_body import BlobBody
from oci_distribution.remote.blob_reader import BlobReader, Body
from oci_distribution.remote.failover import places
from oci_distribution.spec.digest import Digest
from oci_distribution.spec.models import Descriptor
from oci_distribution.transport.answers import OpenAnswer
from oci_distribution.transport.calls import Host
from oci_distribution.transport.deadline import following
from oci_distribution.transport.sender import Sender
from oci_distribution.waiting import to_its_end

__all__ = ["blob_reader"]

PART = 8 << 20
"""Bytes that one of several connections fetches at a time; so many of each are held in memory."""


def blob_reader(
    sender: Sender,
    host: Host,
    repository: str,
    blob: Descriptor | Digest,
    *,
    start: int,
    stop: int | None,
    connections: int,
) -> BlobReader:
    """Return a reader of a blob, or of a part of one."""
    if connections < 1:
        raise InvalidArgument("a blob needs at least one connection")
    if connections > 1 and not isinstance(blob, Descriptor):
        raise InvalidArgument("several connections need the size: give a descriptor, which `stat` returns")
    size, urls = (blob.size, blob.urls) if isinstance(blob, Descriptor) else (None, ())
    digest = blob.digest if isinstance(blob, Descriptor) else blob
    where = places(sender, host, repository, by_digest=True)
    data = held_data(blob) if isinstance(blob, Descriptor) else None

    def body(begin: int, end: int | None) -> Body:
        if data is not None:
            return _Inline(data[begin:end])
        served: set[int] = set()

        def part(begin: int, end: int | None) -> BlobBody:
            return BlobBody(sender, where, digest, size=size, served=served, urls=urls, start=begin, stop=end)

        last = blob.size if isinstance(blob, Descriptor) and end is None else end
        if connections == 1 or last is None or last - begin <= PART:
            return part(begin, end)
        return _Parallel(part, begin, last, connections)

    return BlobReader(body, blob, start=start, stop=stop)


class _Inline:
    """Bytes that nobody has to be asked for."""

    answer = None

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def open(self) -> None:
        """Do nothing."""

    async def pieces(self, size: int) -> AsyncGenerator[bytes]:
        """Hand them out, at once."""
        del size
        if self._data:
            yield self._data

    def blame(self, error: ContentError) -> bool:
        """Blame nobody: they were checked."""
        del error
        return False

    async def aclose(self) -> None:
        """Do nothing."""


class _Parallel:
    """Parts of a blob, several on their way at once, handed out in order.

    The first is asked for as a part; a registry that answers with the whole serves no ranges, and the
    whole is what is read then.
    """

    def __init__(self, part: Callable[[int, int], BlobBody], start: int, stop: int, connections: int) -> None:
        self._part = part
        self._stop = stop
        self._begin = start + PART
        self._connections = connections
        self._first = part(start, min(start + PART, stop))
        self._tasks: deque[asyncio.Task[list[bytes]]] = deque()

    @property
    def answer(self) -> OpenAnswer | None:
        """The answer with the first part."""
        return self._first.answer

    async def open(self) -> OpenAnswer:
        """Ask for the first part."""
        return await self._first.open()

    async def pieces(self, size: int) -> AsyncGenerator[bytes]:
        """Hand out the bytes in order; as many parts as there are connections are held in memory."""
        answer = self._first.answer or await self._first.open()
        if answer.status != 206:
            self._first.widen(self._stop)
            self._begin = self._stop
        self._fetch_ahead(size, self._connections - 1)
        async with aclosing(self._first.pieces(size)) as first:
            async for piece in first:
                yield piece
        while self._tasks:
            part = await self._tasks[0]
            del self._tasks[0]
            self._fetch_ahead(size, self._connections)
            for piece in part:
                yield piece

    def _fetch_ahead(self, size: int, connections: int) -> None:
        while self._begin < self._stop and len(self._tasks) < connections:
            end = min(self._begin + PART, self._stop)
            with following(self._first.deadline):
                self._tasks.append(asyncio.create_task(_fetched(self._part(self._begin, end), size)))
            self._begin = end

    def blame(self, error: ContentError) -> bool:
        """Blame every mirror that a part came from: which of them was wrong cannot be told."""
        return self._first.blame(error)  # it shares with the others who served

    async def aclose(self) -> None:
        """End what is on its way."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await to_its_end(asyncio.wait(self._tasks))
        for task in self._tasks:
            if not task.cancelled():
                task.exception()  # nobody waits for it any more
        self._tasks.clear()
        await self._first.aclose()


async def _fetched(body: BlobBody, size: int) -> list[bytes]:
    try:
        async with aclosing(body.pieces(size)) as pieces:
            return [piece async for piece in pieces]
    finally:
        await body.aclose()
