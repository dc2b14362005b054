"""Writing a blob piece by piece, when nobody knows yet how long it will be or what it will be called."""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self, TypeAlias

import anyio

from oci_distribution.content.ingest import temporary_file
from oci_distribution.content.protocols import Source
from oci_distribution.errors import DigestMismatch, InvalidArgument, SizeMismatch, UnsupportedError
from oci_distribution.remote.blob_sinks import ChunkSink, Sink, SpoolSink, resumed
from oci_distribution.remote.open_upload import UploadTarget
from oci_distribution.remote.upload_session import UploadSession
from oci_distribution.remote.uploads import check_chunk_size
from oci_distribution.spec import endpoints
from oci_distribution.spec.digest import Digest, Hasher
from oci_distribution.spec.mediatypes import MediaType, check_media_type
from oci_distribution.spec.models import Descriptor

__all__ = ["BlobWriter"]

Bytes: TypeAlias = bytes | bytearray | memoryview


class BlobWriter:
    """A blob that is written piece by piece; made by `Blobs.writer` and `Blobs.resume`.

    `async with` opens it. Left without a `commit` or `suspend`, for whatever reason, it cancels the upload.
    Each `write` waits until there is room again: a fast producer is slowed down to what the registry takes.

    Args:
        target: The repository.
        chunk_size: Bytes of each chunk, as far as the registry takes such.
        algorithm: Of the digest: `sha256` or `sha512`.
        session: An upload to go on with.
        prefix: What was written to it before.
    """

    def __init__(
        self,
        target: UploadTarget,
        *,
        chunk_size: int,
        algorithm: str = "sha256",
        session: UploadSession | None = None,
        prefix: Source | None = None,
    ) -> None:
        self._target = target
        self._wanted = check_chunk_size(chunk_size)
        self._hasher = Hasher(algorithm)
        self._session = session
        self._prefix = prefix
        self._stack = AsyncExitStack()
        self._guard = anyio.ResourceGuard("writing to")
        self._sink: Sink | None = None
        self._state = "not open"

    async def __aenter__(self) -> Self:
        if self._state != "not open":
            msg = "this writer was opened before: ask for a new one"
            raise RuntimeError(msg)
        self._state = "failed"
        self._sink = await self._opened()
        self._state = "open"
        return self

    async def _opened(self) -> Sink:
        target, algorithm = self._target, self._hasher.algorithm
        if self._session is not None:
            return await resumed(target, self._session, self._prefix, self._wanted)
        if not target.learned.chunks:
            path, file = await self._stack.enter_async_context(temporary_file())
            return SpoolSink(target, path, file, self._hasher)
        upload = await target.start(endpoints.start_upload(target.name, digest_algorithm=algorithm))
        assert upload is not None  # its only status is 202
        return ChunkSink(upload, upload.chunk_size(self._wanted), self._hasher)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.cancel()
        finally:
            await self._stack.aclose()

    @property
    def size(self) -> int:
        """Bytes written so far, in this process and before: where to go on."""
        return self._known_sink.size

    @property
    def chunk_size(self) -> int:
        """Bytes of each chunk: what was wanted, as far as the registry's limits allow."""
        sink = self._known_sink
        return sink.chunk_size if isinstance(sink, ChunkSink) else self._wanted

    @property
    def id(self) -> str:
        """What the registry calls the upload: its newest location, query and all. Treat it as a secret.

        Raises:
            UnsupportedError: The registry takes no chunks, and there is no upload before `commit`.
        """
        return self.session.location

    @property
    def session(self) -> UploadSession:
        """Where the upload stands, to be kept in case that this process dies: another may go on from there.

        Bytes that do not fill a chunk yet are not part of it.

        Raises:
            UnsupportedError: The registry takes no chunks, and there is no upload before `commit`.
        """
        sink = self._open_sink
        if not isinstance(sink, ChunkSink):
            raise UnsupportedError(f"{self._target.host.registry} takes no chunks: nothing can be resumed")
        return sink.session()

    async def write(self, data: Bytes) -> None:
        """Take in more bytes, and send what fills a chunk.

        After an error the upload is where `session` says: `suspend` keeps it, leaving the writer does not.

        Raises:
            RequestError: A chunk could not be sent; what could pass was tried again.
        """
        sink = self._open_sink
        with self._guard, memoryview(data).cast("B") as view:
            await sink.write(view)

    async def commit(
        self, expected: Descriptor | str | None = None, *, media_type: str = MediaType.OCTET_STREAM
    ) -> Descriptor:
        """Send what is left, and let all of it be a blob of the repository (end-6).

        Args:
            expected: What it must be, a descriptor or digest; needed only when the upload was resumed without
                a prefix. Without it, it is what was written.
            media_type: Goes into the descriptor; registries do not keep it for blobs.

        Raises:
            DigestMismatch: It is something else, or the registry stored something else.
            SizeMismatch: It has another length.
            InvalidMediaType: The media type breaks the grammar.
            InvalidArgument: The upload was resumed without a prefix, and no digest is given; or it is one of
                another algorithm than the writer's, so that nobody could tell whether it is right.
        """
        sink = self._open_sink
        check_media_type(media_type)
        wanted = expected.digest if isinstance(expected, Descriptor) else expected and Digest(expected)
        actual = sink.digest()
        digest = wanted or actual
        if digest is None:
            raise InvalidArgument("an upload that was resumed without a prefix needs the digest to commit")
        if actual is not None and actual.algorithm != digest.algorithm:
            raise InvalidArgument(
                f"{digest} cannot be verified by a writer whose algorithm is {actual.algorithm}"
            )
        if actual is not None and actual != digest:
            raise DigestMismatch(f"what was written hashes to {actual}, not to {digest}")
        if isinstance(expected, Descriptor) and expected.size != sink.size:
            raise SizeMismatch(f"{sink.size} bytes were written, not the {expected.size} of {digest}")
        blob = Descriptor(media_type=media_type, digest=Digest(digest), size=sink.size)
        with self._guard:
            await sink.commit(blob)
        self._state = "committed"
        return expected if isinstance(expected, Descriptor) else blob

    async def suspend(self) -> UploadSession:
        """Close the writer, leave the upload open, and return what it takes to go on: see `Blobs.resume`.

        Bytes after `session.size` have not been sent: write them again.

        Raises:
            UnsupportedError: The registry takes no chunks, and there is no upload before `commit`.
        """
        session = self.session
        self._state = "suspended"
        return session

    async def cancel(self) -> None:
        """Give the upload up (end-14); again, or after `commit` or `suspend`, it does nothing."""
        if self._state == "open" and self._sink is not None:
            self._state = "cancelled"
            await self._sink.cancel()

    @property
    def _known_sink(self) -> Sink:
        if self._sink is None:
            msg = "this writer is not open: use it in `async with`"
            raise RuntimeError(msg)
        return self._sink

    @property
    def _open_sink(self) -> Sink:
        if self._state != "open":
            msg = f"this writer is {self._state}"
            raise RuntimeError(msg)
        return self._known_sink

    def __repr__(self) -> str:
        size = f", {self._sink.size} bytes" if self._sink is not None else ""
        return f"<BlobWriter of {self._target.host.registry}/{self._target.name}, {self._state}{size}>"
