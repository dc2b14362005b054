"""Reading a blob: a stream that is verified on the way."""

from __future__ import annotations

import warnings
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import aclosing
from types import TracebackType
from typing import Protocol, Self

from oci_distribution.content.sources import verified
from oci_distribution.errors import ContentError, InvalidArgument, LimitExceeded, SizeMismatch
from oci_distribution.remote.blob_body import whole_length
from oci_distribution.spec.digest import Digest
from oci_distribution.spec.mediatypes import MediaType
from oci_distribution.spec.models import Descriptor
from oci_distribution.transport.answers import OpenAnswer

__all__ = ["DEFAULT_READ_LIMIT", "BlobReader", "Body"]

DEFAULT_READ_LIMIT = 4 << 20
"""Bytes that `read` takes in without being told more: configs are far smaller, and layers want a stream."""


class Body(Protocol):
    """Where the bytes come from."""

    @property
    def answer(self) -> OpenAnswer | None:
        """The newest answer, if there is one."""
        ...

    async def open(self) -> OpenAnswer | None:
        """Ask, and return the answer; None where nobody has to be asked."""
        ...

    def pieces(self, size: int) -> AsyncGenerator[bytes]:
        """Hand out the bytes; `size` is that of the whole blob."""
        ...

    def blame(self, error: ContentError) -> bool:
        """Do not ask a mirror again whose bytes were wrong; False when none is to blame."""
        ...

    async def aclose(self) -> None:
        """Close it; again does nothing."""
        ...


class BlobReader:
    """A blob, or a part of one, on its way: an async context manager and an async iterator of bytes.

    Opened by `async with reader:` or by `reader = await reader`, which leaves closing to the caller.
    Reading the whole to its end verifies size and digest before the last piece is handed out; `verified`
    says so. A part, and what is read after a `seek`, cannot be verified. A connection that breaks is
    replaced by one that goes on from there. Leaving early is not an error.
    """

    def __init__(
        self,
        bodies: Callable[[int, int | None], Body],
        blob: Descriptor | Digest,
        *,
        start: int = 0,
        stop: int | None = None,
    ) -> None:
        self._bodies = bodies
        self._blob = blob
        self._stop = stop
        self._position = start
        self._body: Body | None = None
        self._pieces: AsyncGenerator[bytes] | None = None
        self._verified = False
        self._ended = False
        self._closed = False
        self._read = False
        self.is_mirror_to_blame: bool = False
        """Whether wrong bytes came from a mirror, which is not asked any more: another reader may succeed."""
        _check_range(start, stop, blob.size if isinstance(blob, Descriptor) else None)

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
        """Whether the whole blob was read in one go, and is what its digest says."""
        return self._verified

    def tell(self) -> int:
        """Return the position of the byte that comes next."""
        return self._position

    async def seek(self, position: int) -> None:
        """Go on reading at another position; the next piece comes from there.

        Args:
            position: First byte wanted, from the beginning of the blob.

        Raises:
            InvalidArgument: The blob has no such position.
            RuntimeError: The reader is not open.
        """
        self._check_open()
        stop = self.descriptor.size if self._stop is None else self._stop
        _check_range(position, stop, stop)
        await self._leave()
        self._position = position
        self._verified = self._ended = self._read = False
        self._start_at(position)

    async def __aenter__(self) -> Self:
        if self._body is not None:
            msg = "this reader was opened before: ask for a new one"
            raise RuntimeError(msg)
        body = self._body = self._bodies(self._position, self._stop)
        size = self._size_if_known()
        is_empty = self._position == (size if self._stop is None else self._stop)
        try:
            # An empty part of a blob whose size is known needs no request; an empty blob does, since it could
            # not be there.
            if not (is_empty and size):
                answer = await body.open()
                self._blob = _described(self._blob, answer)
                _check_range(self._position, self._stop, self._blob.size)
        except BaseException:
            await self.aclose()
            raise
        self._pieces = self._passed_on(body)
        return self

    def _size_if_known(self) -> int | None:
        return self._blob.size if isinstance(self._blob, Descriptor) else None

    def __await__(self) -> Generator[None, None, Self]:
        return self.__aenter__().__await__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection; again does nothing."""
        self._closed = True
        await self._leave()

    async def _leave(self) -> None:
        try:
            # First: with another task still reading, the rest is a RuntimeError.
            if self._body is not None:
                await self._body.aclose()
        finally:
            if self._pieces is not None:
                await self._pieces.aclose()

    def _start_at(self, position: int) -> None:
        self._body = self._bodies(position, self._stop)
        self._pieces = self._passed_on(self._body)

    def _check_open(self) -> None:
        if self._pieces is None or self._closed:
            msg = "the reader is closed" if self._closed else "the reader is not open: use `async with`"
            raise RuntimeError(msg)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._pieces is None:
            msg = "the reader is not open: use `async with`"
            raise RuntimeError(msg)
        try:
            piece = await anext(self._pieces)
        except StopAsyncIteration:
            if self._ended and not self._closed:
                raise
        else:
            self._position += len(piece)
            return piece
        # An end here would look like the end of the blob.
        msg = "the reader is closed, or has failed before: ask for a new one"
        raise RuntimeError(msg)

    async def read(self, *, limit: int = DEFAULT_READ_LIMIT) -> bytes:
        """Return what is left.

        Args:
            limit: Bytes that we are willing to hold.

        Raises:
            LimitExceeded: There is more.
            RuntimeError: The reader was read to its end, is closed, or has failed before.
        """
        if self._read:
            msg = "this blob was read to its end: ask for a new reader"
            raise RuntimeError(msg)
        left = (self.descriptor.size if self._stop is None else self._stop) - self._position
        if left > limit:
            raise LimitExceeded(f"there are {left} bytes of {self.descriptor.digest}, more than {limit}")
        content = b"".join([piece async for piece in self])
        self._read = True
        return content

    async def _passed_on(self, body: Body) -> AsyncGenerator[bytes]:
        blob = self.descriptor
        whole = self._position == 0 and self._stop in {None, blob.size}
        if not whole and self._position >= (blob.size if self._stop is None else self._stop):
            self._ended = True
            return
        left = blob.size
        try:
            async with (
                aclosing(body.pieces(blob.size)) as raw,
                aclosing(verified(raw, blob) if whole else raw) as pieces,
            ):
                async for piece in pieces:
                    left -= len(piece)
                    self._verified = self._ended = whole and not left
                    yield piece
        except ContentError as error:
            if body.answer is not None:
                error.about(body.answer.context)
            self.is_mirror_to_blame = body.blame(error)
            raise
        self._verified = whole
        self._ended = True

    def __del__(self) -> None:
        # Its connection and its slot are not free before the client is closed.
        if self._body is not None and not (self._closed or self._ended):
            warnings.warn(f"{self!r} was not closed", ResourceWarning, stacklevel=2, source=self)

    def __repr__(self) -> str:
        return f"<BlobReader of {self._blob if isinstance(self._blob, Digest) else self._blob.digest}>"


def _check_range(start: int, stop: int | None, size: int | None) -> None:
    end = stop if stop is not None else size
    if (
        start < 0
        or (end is not None and start > end)
        or (size is not None and end is not None and end > size)
    ):
        of = "" if size is None else f" of {size} bytes"
        raise InvalidArgument(f"there is no range {start}:{'' if stop is None else stop} in a blob{of}")


def _described(blob: Descriptor | Digest, answer: OpenAnswer | None) -> Descriptor:
    """Return the descriptor, completed or checked by the length that the registry announces."""
    if answer is None:
        assert isinstance(blob, Descriptor)
        return blob
    length = whole_length(answer)
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
