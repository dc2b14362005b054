"""The upload ladder: how a blob gets into a repository with the least work.

Known there: nothing. In another repository of the registry: mount. Small, and in memory: with the POST, where
that is served. Else an upload, and the whole blob in one streamed PUT, the one form that hardly any registry
refuses; where one does, in one PATCH, and at last in chunks. What a registry refused is remembered.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from enum import Enum

from oci_distribution.content.ingest import ingest, temporary_directory
from oci_distribution.content.protocols import MountPoint, PushOutcome, Source
from oci_distribution.content.sources import BytesSource, CallableSource, FileSource, PartSource
from oci_distribution.errors import InvalidArgument, ResponseError, SizeMismatch, TokenError
from oci_distribution.events import Event, emit, listening
from oci_distribution.remote.open_upload import OpenUpload, UploadTarget
from oci_distribution.spec import endpoints
from oci_distribution.spec.models import Descriptor

__all__ = ["CHUNK_SIZE", "SINGLE_POST", "Upload", "Uploaded", "check_chunk_size", "mount_name"]

CHUNK_SIZE = 8 << 20
"""Bytes of a chunk when nobody wants another size: one costs a round trip, and is held in memory."""
SINGLE_POST = 64 << 10
"""Bytes of the largest blob that is sent with the POST: it is sent again when the registry ignores it."""

SURE_OF_MISSES = 16
"""Blobs that a repository lacks one after the other, after which small ones are sent without asking."""

_NOT_THIS_WAY = frozenset({404, 405, 413, 501})
_NO_SINGLE_POST = frozenset({400, 405, 411, 413, 415, 501})


class Way(Enum):
    """How the bytes of a blob travel."""

    WHOLE = "whole"
    STREAM = "stream"
    CHUNKS = "chunks"


@dataclass(frozen=True, slots=True)
class Uploaded(Event):
    """`position` bytes of a blob are on their way to a registry; fewer than before when it begins again."""

    descriptor: Descriptor
    position: int


@dataclass(frozen=True, slots=True)
class Upload:
    """One blob on its way into one repository.

    Args:
        target: The repository.
        blob: What it must be.
        source: Where its bytes come from.
        chunk_size: Bytes of a chunk, to send it in chunks from the start; None for the best way.
    """

    target: UploadTarget
    blob: Descriptor
    source: Source
    chunk_size: int | None = None

    async def run(self, *, mount_from: str | None = None) -> PushOutcome:
        """Bring the blob there.

        Args:
            mount_from: A repository of the same registry that holds it.
        """
        if self.source.size != self.blob.size:
            raise SizeMismatch(
                f"the source of {self.blob.digest} has {self.source.size} bytes, not {self.blob.size}"
            )
        if await self._is_there():
            return PushOutcome.EXISTED
        upload = None
        if mount_from is not None and self.target.learned.mounts:
            is_mounted, upload = await self._mount(mount_from)
            if is_mounted:
                return PushOutcome.MOUNTED
        await self.send(upload)
        return PushOutcome.COPIED

    async def _is_there(self) -> bool:
        """Ask whether the repository holds the blob, unless asking costs more than it is likely to save.

        Where one blob after the other was missing, the next will be, too. To ask for a small one would be as
        much work as to send it, so only some are asked for: enough to notice when that changes.
        """
        misses, name = self.target.learned.misses, self.target.name
        missed = misses.get(name, 0)
        if self._small is not None and missed >= SURE_OF_MISSES and missed % SURE_OF_MISSES:
            misses[name] = missed + 1
            return False
        is_there = await self.target.exists(self.blob.digest, self.blob.size)
        misses[name] = 0 if is_there else missed + 1
        return is_there

    async def send(self, upload: OpenUpload | None) -> None:
        """Send the blob, as often as it takes; first in `upload`, if there is one."""

        async def attempt(number: int) -> None:
            # After a failure nobody knows whether the registry had it all (ECR has, ggcr#431).
            if number > 1 and await self.target.exists(self.blob.digest, self.blob.size):
                return
            await self._send(upload if number == 1 else None)

        endpoint = endpoints.start_upload(self.target.name)
        await self.target.sender.repeat(self.target.host, endpoint, attempt)
        if self._small is not None:
            emit(Uploaded(self.blob, self.blob.size))

    async def _mount(self, from_name: str) -> tuple[bool, OpenUpload | None]:
        """Ask for a mount: whether it was done, else the upload that was opened instead.

        A refusal is no failure: the blob can still be sent (GitLab answers 401 for a foreign `from`).
        """
        try:
            upload = await self.target.start(
                endpoints.mount_blob(self.target.name, self.blob.digest, from_name), digest=self.blob.digest
            )
        except ResponseError as error:
            self.target.learned.mounts = error.status not in {405, 501}
            return False, None
        except TokenError:
            return False, None
        return upload is None, upload

    async def _send(self, upload: OpenUpload | None) -> None:
        """Send the blob in the ways that are left, one after the other."""
        refused: dict[str, int] = {}
        ways = self._ways()
        for way in ways:
            try:
                await self._send_by(way, upload)
                break
            except ResponseError as error:
                # The source may be a registry, too: its GET says nothing about how we send.
                is_refused = error.method in {"PUT", "PATCH"} and error.status in _NOT_THIS_WAY
                if not is_refused or way is ways[-1]:
                    raise
                if error.status != 404:  # else it may have been the upload that was gone
                    refused[way.value] = self.blob.size if error.status == 413 else 0
            upload = None
        self.target.learned.refused_sizes.update(refused)

    def _ways(self) -> list[Way]:
        """Return the ways that may do, the best one first."""
        ways = [Way.WHOLE, Way.STREAM] + [Way.CHUNKS] * self.target.learned.chunks
        if self.chunk_size is not None:
            ways.sort(key=lambda way: way is not Way.CHUNKS)
        refused = self.target.learned.refused_sizes
        left = [way for way in ways if self.blob.size < refused.get(way.value, self.blob.size + 1)]
        return left or ways[-1:]

    async def _send_by(self, way: Way, upload: OpenUpload | None) -> None:
        if upload is None:
            upload = await self._open(way)
        if upload is None:
            return
        send: dict[Way, Callable[[OpenUpload], Awaitable[None]]] = {
            Way.WHOLE: self._send_whole,
            Way.STREAM: self._send_stream,
            Way.CHUNKS: self._send_chunks,
        }
        try:
            await send[way](upload)
        except BaseException:
            await upload.give_up()
            raise

    async def _open(self, way: Way) -> OpenUpload | None:
        """Open an upload; None when the blob went along with the POST."""
        data = self._small
        if way is Way.WHOLE and data is not None and self.target.learned.single_post is not False:
            try:
                upload = await self._post(data)
            except ResponseError as error:
                if error.status not in _NO_SINGLE_POST:
                    raise
                self.target.learned.single_post = False
            else:
                self.target.learned.single_post = upload is None
                return upload
        algorithm = self.blob.digest.algorithm
        return await self.target.start(endpoints.start_upload(self.target.name, digest_algorithm=algorithm))

    async def _post(self, data: bytes) -> OpenUpload | None:
        endpoint = endpoints.post_blob(self.target.name, self.blob.digest)
        return await self.target.start(endpoint, digest=self.blob.digest, body=data)

    async def _send_whole(self, upload: OpenUpload) -> None:
        data = self._small
        await upload.put(self.blob.digest, self._body if data is None else data)

    async def _send_stream(self, upload: OpenUpload) -> None:
        if self.blob.size:
            await upload.stream(self._body)
        await upload.finish(self.blob.digest)

    @property
    def _small(self) -> bytes | None:
        """All bytes of a small blob in memory, which need no stream."""
        source = self.source
        return source.data if isinstance(source, BytesSource) and source.size <= SINGLE_POST else None

    @property
    def _body(self) -> Source:
        return _Told(self.source, self.blob) if listening() else self.source

    async def _send_chunks(self, upload: OpenUpload) -> None:
        size = self.blob.size
        chunk_size = upload.chunk_size(self.chunk_size or CHUNK_SIZE)
        async with _in_parts(self.source, self.blob, chunk_size) as source:
            while upload.size < size:
                # Opened for each chunk, when its request has a slot: who holds a source and waits for a slot
                # may wait for somebody who holds the slot and waits for the source.
                await upload.append(PartSource(source, upload.size, min(chunk_size, size - upload.size)))
                emit(Uploaded(self.blob, upload.size))
        await upload.finish(self.blob.digest)
        if size > chunk_size:
            await self.target.check_stored(self.blob.digest, size)


@asynccontextmanager
async def _in_parts(source: Source, blob: Descriptor, size: int) -> AsyncGenerator[Source]:
    """Open a source that is read in parts; a function, which begins anew each time, goes to disk first."""
    if not isinstance(source, CallableSource) or blob.size <= size:
        yield source
        return
    async with temporary_directory() as directory:
        async with source.open() as pieces:
            await ingest(pieces, blob, directory / "blob", aside=directory)
        yield FileSource(directory / "blob")


@dataclass(frozen=True, slots=True)
class _Told:
    """A source that tells how far it was read."""

    source: Source
    blob: Descriptor

    @property
    def size(self) -> int:
        return self.source.size

    @asynccontextmanager
    async def open(self, offset: int = 0) -> AsyncGenerator[AsyncIterator[bytes]]:
        async with self.source.open(offset) as pieces, aclosing(self._told(pieces, offset)) as told:
            yield told

    async def _told(self, pieces: AsyncIterator[bytes], position: int) -> AsyncGenerator[bytes]:
        async for piece in pieces:
            position += len(piece)
            yield piece
            emit(Uploaded(self.blob, position))


def check_chunk_size(chunk_size: int) -> int:
    """Return the length of chunks that somebody wants.

    Raises:
        InvalidArgument: They would have none.
    """
    if chunk_size < 1:
        raise InvalidArgument(f"chunks have at least one byte, not {chunk_size}")
    return chunk_size


def mount_name(point: MountPoint | None, domain: object, name: str) -> str | None:
    """Return the repository to mount from, if `point` is another one in the same registry."""
    return point.name if point is not None and point.domain == domain and point.name != name else None
