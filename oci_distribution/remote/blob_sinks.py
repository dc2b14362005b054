"""Where the bytes go that are written to a `BlobWriter`: out in chunks, or to disk until all are there."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from aiofiles.threadpool.binary import AsyncBufferedIOBase

from oci_distribution.content.files import FILE_PIECE, mapped_os_errors
from oci_distribution.content.protocols import Source
from oci_distribution.content.sources import BytesSource, FileSource
from oci_distribution.errors import (
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestMismatch,
    InvalidArgument,
    RequestContext,
    SizeMismatch,
    redact_url,
)
from oci_distribution.remote.open_upload import OpenUpload, UploadTarget
from oci_distribution.remote.upload_session import UploadSession
from oci_distribution.remote.uploads import Upload
from oci_distribution.spec.digest import Digest, Hasher
from oci_distribution.spec.models import Descriptor
from oci_distribution.waiting import to_its_end

__all__ = ["ChunkSink", "Sink", "SpoolSink", "resumed"]


class Sink(Protocol):
    """Where the bytes go."""

    @property
    def size(self) -> int:
        """Bytes taken so far."""
        ...

    def digest(self) -> Digest | None:
        """Digest of the bytes so far; None where it is not known."""
        ...

    async def write(self, data: memoryview) -> None:
        """Take in more bytes."""
        ...

    async def commit(self, blob: Descriptor) -> None:
        """Let them be a blob of the repository."""
        ...

    async def cancel(self) -> None:
        """Forget them."""
        ...


@dataclass(slots=True)
class ChunkSink:
    """Sends bytes as soon as they are a chunk.

    Args:
        upload: The upload that they go to.
        chunk_size: Bytes of each chunk.
        hasher: Of the bytes that the registry has; None where the first ones are not known.
        buffer: The bytes that it does not have yet.
    """

    upload: OpenUpload
    chunk_size: int
    hasher: Hasher | None
    buffer: bytearray = field(default_factory=bytearray)

    @property
    def size(self) -> int:
        """Bytes taken so far."""
        return self.upload.size + len(self.buffer)

    def digest(self) -> Digest | None:
        """Digest of the bytes so far; None where the first ones are not known."""
        if self.hasher is None:
            return None
        hasher = self.hasher.copy()
        hasher.update(self.buffer)
        return hasher.digest()

    async def write(self, data: memoryview) -> None:
        """Take in more bytes; what was taken before an error is in the buffer, and goes out next time."""
        while data.nbytes:
            room = self.chunk_size - len(self.buffer)
            self.buffer += data[:room]
            data = data[room:]
            if len(self.buffer) == self.chunk_size:
                await self._flush()

    async def _flush(self) -> None:
        before = self.upload.size
        try:
            await self.upload.append(BytesSource(bytes(self.buffer)))
        finally:
            # A chunk that was too large may have gone out in part.
            sent = self.upload.size - before
            if self.hasher is not None:
                self.hasher.update(self.buffer[:sent])
            del self.buffer[:sent]

    async def commit(self, blob: Descriptor) -> None:
        """Send the rest; a blob that was no chunk yet goes whole, as no registry refuses it."""
        target = self.upload.target
        if not self.upload.size:
            await Upload(target, blob, BytesSource(bytes(self.buffer))).send(self.upload)
            return
        if self.buffer:
            await self._flush()
        await self.upload.finish(blob.digest)
        await target.check_stored(blob.digest, blob.size)

    async def cancel(self) -> None:
        """Give the upload up."""
        await self.upload.give_up()

    def session(self) -> UploadSession:
        """Return where the upload stands."""
        target, hasher = self.upload.target, self.hasher
        return UploadSession(
            registry=target.host.registry,
            repository=target.name,
            location=self.upload.location,
            size=self.upload.size,
            chunk_size=self.chunk_size,
            minimum=self.upload.minimum,
            algorithm=hasher.algorithm if hasher is not None else "sha256",
            digest=hasher.digest() if hasher is not None else None,
        )


@dataclass(slots=True)
class SpoolSink:
    """Keeps bytes on disk, for a registry that takes a blob only whole.

    Args:
        target: The repository that they go to.
        path: A file that is gone when the writer is left.
        file: The same, open.
        hasher: Of all bytes.
        buffer: Bytes that are not on disk yet.
    """

    target: UploadTarget
    path: Path
    file: AsyncBufferedIOBase
    hasher: Hasher
    buffer: bytearray = field(default_factory=bytearray)

    @property
    def size(self) -> int:
        """Bytes taken so far."""
        return self.hasher.size

    def digest(self) -> Digest:
        """Digest of the bytes so far."""
        return self.hasher.digest()

    async def write(self, data: memoryview) -> None:
        """Take in more bytes."""
        self.hasher.update(data)
        self.buffer += data
        if len(self.buffer) >= FILE_PIECE:
            await self._flush()

    async def _flush(self) -> None:
        data, self.buffer = self.buffer, bytearray()
        with mapped_os_errors(self.path):
            await to_its_end(self.file.write(data))
            await to_its_end(self.file.flush())

    async def commit(self, blob: Descriptor) -> None:
        """Send all of it."""
        await self._flush()
        await Upload(self.target, blob, FileSource(self.path)).run()

    async def cancel(self) -> None:
        """The file goes with the writer."""


async def resumed(
    target: UploadTarget, session: UploadSession, prefix: Source | None, chunk_size: int
) -> ChunkSink:
    """Go on with an upload; when that cannot be, it is left as it is.

    Args:
        target: The repository.
        session: Where the upload stood.
        prefix: What was written before; None where nobody has it.
        chunk_size: Bytes of each chunk from now on.

    Raises:
        InvalidArgument: It is an upload of another repository.
        BlobUploadUnknown: The registry has forgotten it, or only knows it by a newer location.
        SizeMismatch: The prefix is shorter than what the registry holds.
        DigestMismatch: The prefix is something else.
    """
    registry = target.host.registry
    if (session.registry, session.repository) != (registry, target.name):
        raise InvalidArgument(
            f"this is an upload of {session.registry}/{session.repository}, not of {registry}/{target.name}"
        )
    context = RequestContext("GET", redact_url(session.location), registry)
    target.sender.check_target(target.host, session.location, context)
    upload = OpenUpload(target, session.location, minimum=session.minimum)
    try:
        upload.size = await upload.ask()
    except BlobUploadInvalid as error:
        # distribution 2.8 knows an upload only by its newest location, and may have had a chunk since.
        raise BlobUploadUnknown(error.args[0], context=error.context, errors=error.errors) from error
    hasher = await _rehashed(prefix, session, upload.size) if prefix is not None else None
    return ChunkSink(upload, upload.chunk_size(chunk_size), hasher)


async def _rehashed(prefix: Source, session: UploadSession, held: int) -> Hasher:
    """Hash what the registry holds already, and make sure that it is what it was given."""
    hasher = Hasher(session.algorithm)
    async with prefix.open() as pieces:
        while hasher.size < held:
            piece = await anext(pieces, None)
            if piece is None:
                raise SizeMismatch(f"the prefix has {hasher.size} bytes, and the registry holds {held}")
            known = max(0, session.size - hasher.size)
            for part in (piece[:known], piece[known:]):
                hasher.update(part[: held - hasher.size])
                if hasher.size == session.size:
                    _check_prefix(hasher, session)
    return hasher


def _check_prefix(hasher: Hasher, session: UploadSession) -> None:
    if session.digest is not None and hasher.digest() != session.digest:
        raise DigestMismatch(f"the first {session.size} bytes of the prefix are not those of the upload")
