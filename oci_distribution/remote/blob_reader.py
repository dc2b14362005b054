"""Reading a blob: a stream that is verified on the way."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing
from types import TracebackType
from typing import Self

from oci_distribution.content.sources import verified
from oci_distribution.errors import ContentError, LimitExceeded, SizeMismatch
from oci_distribution.remote.blob_body import BlobBody
from oci_distribution.spec.digest import Digest
from oci_distribution.spec.headers import parse_content_length
from oci_distribution.spec.mediatypes import MediaType
from oci_distribution.spec.models import Descriptor
from oci_distribution.transport.answers import OpenAnswer

__all__ = ["DEFAULT_READ_LIMIT", "BlobReader"]

DEFAULT_READ_LIMIT = 4 << 20
"""Bytes that `read` takes in without being told more: configs are far smaller, and layers want a stream."""


class BlobReader:
    """A blob on its way: an async context manager and an async iterator of bytes.

    Opened by `async with reader:` or by `reader = await reader`, which leaves closing to the caller.
    Reading to the end verifies size and digest before the last piece is handed out; `verified` says so.
    A connection that breaks is replaced by one that goes on from there. Leaving early is not an error.
    """

    def __init__(self, body: BlobBody, blob: Descriptor | Digest) -> None:
        self._body = body
        self._blob = blob
        self._opened = False
        self._pieces: AsyncGenerator[bytes] | None = None
        self._verified = False
        self._closed = False
        self._read = False

    @property
    def descriptor(self) -> Descriptor:
        """What is read; its media type is `application/octet-stream` when only a digest was given.

        Raises:
            RuntimeError: The reader is not open, and only a digest was given.
        """
        if isinstance(self._blob, Descriptor):
            return self._blob
        msg = "the size of this blob is known once the reader is open"
        raise RuntimeError(msg)

    @property
    def verified(self) -> bool:
        """Whether the whole blob was read, and is what its digest says."""
        return self._verified

    async def __aenter__(self) -> Self:
        if self._opened:
            msg = "this reader was opened before: ask for a new one"
            raise RuntimeError(msg)
        self._opened = True
        answer = await self._body.open()
        try:
            self._blob = _described(self._blob, answer)
        except BaseException:
            await self.aclose()
            raise
        self._pieces = self._verify(answer, self._blob)
        return self

    def __await__(self) -> Generator[None, None, Self]:
        return self.__aenter__().__await__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection; again does nothing."""
        self._closed = True
        try:
            # First: with another task still reading, the rest is a RuntimeError.
            await self._body.aclose()
        finally:
            if self._pieces is not None:
                await self._pieces.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._pieces is None:
            msg = "the reader is not open: use `async with`"
            raise RuntimeError(msg)
        try:
            return await anext(self._pieces)
        except StopAsyncIteration:
            if self._verified and not self._closed:
                raise
        # An end here would look like the end of the blob.
        msg = "the reader is closed, or has failed before: ask for a new one"
        raise RuntimeError(msg)

    async def read(self, *, limit: int = DEFAULT_READ_LIMIT) -> bytes:
        """Return what is left of the blob.

        Args:
            limit: Bytes that we are willing to hold.

        Raises:
            LimitExceeded: The blob is longer.
            RuntimeError: The reader was read to its end, is closed, or has failed before.
        """
        if self._read:
            msg = "this blob was read to its end: ask for a new reader"
            raise RuntimeError(msg)
        if self.descriptor.size > limit:
            raise LimitExceeded(
                f"blob {self.descriptor.digest} has {self.descriptor.size} bytes, more than {limit}"
            )
        content = b"".join([piece async for piece in self])
        self._read = True
        return content

    async def _verify(self, answer: OpenAnswer, blob: Descriptor) -> AsyncGenerator[bytes]:
        left = blob.size
        try:
            async with (
                aclosing(self._body.pieces(answer, blob.size)) as body,
                aclosing(verified(body, blob)) as pieces,
            ):
                async for piece in pieces:
                    left -= len(piece)
                    self._verified = not left
                    yield piece
        except ContentError as error:
            error.about((self._body.answer or answer).context)
            raise
        self._verified = True

    def __repr__(self) -> str:
        return f"<BlobReader of {self._blob if isinstance(self._blob, Digest) else self._blob.digest}>"


def _described(blob: Descriptor | Digest, answer: OpenAnswer) -> Descriptor:
    """Return the descriptor, completed or checked by the length that the registry announces."""
    length = parse_content_length(answer.headers.get("Content-Length"))
    if isinstance(blob, Digest):
        if length is None:
            reason = "the registry does not say how long the blob is; ask by descriptor"
            raise SizeMismatch(reason).about(answer.context)
        return Descriptor(media_type=MediaType.OCTET_STREAM, digest=blob, size=length)
    if length is not None and length != blob.size:
        raise SizeMismatch(f"{blob.digest} is announced with {length} bytes, not {blob.size}").about(
            answer.context
        )
    return blob
