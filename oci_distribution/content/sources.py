"""Sources: bytes that can be opened again, from memory, from a file, from another store."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

from oci_distribution.content.files import mapped_os_errors, open_file, read_pieces
from oci_distribution.content.protocols import ReadableStore, Source
from oci_distribution.errors import DigestMismatch, SizeMismatch, StoreError
from oci_distribution.iterating import iterating
from oci_distribution.spec.digest import Digest, Hasher
from oci_distribution.spec.models import Descriptor

__all__ = [
    "BlobSource",
    "BytesSource",
    "CallableSource",
    "FileSource",
    "PartSource",
    "SourceLike",
    "as_source",
    "describe",
    "held_data",
    "read_all",
    "verified",
]

SourceLike: TypeAlias = (
    bytes | bytearray | memoryview | os.PathLike[str] | Source | Callable[[], AsyncIterable[bytes]]
)
"""What a user may hand over that can be read again: bytes, a path, a source, or a function that returns an
async iterable of the bytes, a new one with each call."""


def as_source(data: SourceLike, *, size: int | None = None) -> Source:
    """Return `data` as a source; of a path only the size is asked for now.

    Args:
        data: The bytes, or where they come from.
        size: Length in bytes, of what a function returns.

    Raises:
        StoreError: There is no such file.
        TypeError: It is nothing that can be read again.
    """
    if isinstance(data, bytes | bytearray | memoryview):
        return BytesSource(bytes(data))
    if isinstance(data, os.PathLike):
        return FileSource(Path(data))  # pyright: ignore[reportUnknownArgumentType] - anything callable may be a path
    if isinstance(data, Source):
        return data
    if size is not None and callable(data):
        return CallableSource(data, size)
    ways = "a source, or a function that returns an async iterable of bytes; to push, also such an iterable"
    # A text could be the content as well as a path: nobody is to guess.
    msg = f"cannot read a {type(data).__name__}: give bytes, a pathlib.Path, {ways}"
    raise TypeError(msg)


class BytesSource:
    """A source over bytes in memory."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data: bytes = data
        """All of it."""

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self.data)

    @asynccontextmanager
    async def open(self, offset: int = 0) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Open from `offset`; the rest comes as one piece."""

        async def pieces() -> AsyncGenerator[bytes]:
            if offset < len(self.data):
                yield self.data[offset:] if offset else self.data

        async with aclosing(pieces()) as stream:
            yield stream


class FileSource:
    """A source over a file, whose size is taken once, when the source is made.

    Args:
        path: The file.

    Raises:
        StoreError: There is no such file, or it is a directory, a pipe or a device.
    """

    __slots__ = ("_path", "_size")

    def __init__(self, path: Path) -> None:
        self._path = path
        with mapped_os_errors(path):
            # On the event loop: a source has a size from the start, and asking for it takes microseconds.
            status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            # To open a pipe waits for a writer, in a thread that nobody can stop.
            raise StoreError(f"{path} is no regular file")
        self._size = status.st_size

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self._size

    @asynccontextmanager
    async def open(self, offset: int = 0) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Open from `offset`.

        Raises:
            StoreError: The file cannot be read.
            SizeMismatch: While reading, when the file has become shorter or longer.
        """
        async with open_file(self._path, "rb") as file:
            pieces = read_pieces(self._path, file, offset)
            async with aclosing(self._measured(pieces, offset)) as stream:
                yield stream

    async def _measured(self, pieces: AsyncGenerator[bytes], position: int) -> AsyncGenerator[bytes]:
        async with aclosing(pieces):
            async for piece in pieces:
                position += len(piece)
                if position > self._size:
                    break
                yield piece
        if position != self._size:
            raise SizeMismatch(f"{self._path} changed while it was read: it is not {self._size} bytes long")

    def __repr__(self) -> str:
        return f"FileSource({str(self._path)!r})"


class BlobSource:
    """A source over a blob of another store: each opening fetches it anew, verified.

    Args:
        store: Where the blob is.
        descriptor: Which blob.
    """

    __slots__ = ("_descriptor", "_store")

    def __init__(self, store: ReadableStore, descriptor: Descriptor) -> None:
        self._store = store
        self._descriptor = descriptor

    @property
    def size(self) -> int:
        """Length in bytes, by the descriptor."""
        return self._descriptor.size

    @asynccontextmanager
    async def open(self, offset: int = 0) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Open the blob; from an offset it is only as good as the store: only the whole can be verified."""
        async with self._store.open_blob(self._descriptor, start=offset) as stream:
            yield stream


class CallableSource:
    """A source over a function that opens the bytes anew with each call.

    Args:
        function: Returns the bytes from the start, as pieces.
        size: Length in bytes.
    """

    __slots__ = ("_function", "_size")

    def __init__(self, function: Callable[[], AsyncIterable[bytes]], size: int) -> None:
        self._function = function
        self._size = size

    @property
    def size(self) -> int:
        """Length in bytes."""
        return self._size

    @asynccontextmanager
    async def open(self, offset: int = 0) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Call the function; what is before `offset` is read all the same."""
        async with aclosing(_from(self._function(), offset)) as pieces:
            yield pieces


class PartSource:
    """A part of another source.

    Args:
        source: The other.
        start: Position of the part's first byte there.
        size: Length of the part in bytes.
    """

    __slots__ = ("_source", "_start", "size")

    def __init__(self, source: Source, start: int, size: int) -> None:
        self._source = source
        self._start = start
        self.size: int = size

    @asynccontextmanager
    async def open(self, offset: int = 0) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Open the part from `offset`, of its own."""
        async with self._source.open(self._start + offset) as pieces:
            if self._start + self.size == self._source.size:
                yield pieces  # to its end, which may find fault with it
                return
            async with aclosing(_until(pieces, self.size - offset)) as part:
                yield part


async def _from(pieces: AsyncIterable[bytes], offset: int) -> AsyncGenerator[bytes]:
    async with iterating(pieces) as stream:
        async for piece in stream:
            if rest := piece[offset:]:
                yield rest
            offset = max(0, offset - len(piece))


async def _until(pieces: AsyncIterator[bytes], size: int) -> AsyncGenerator[bytes]:
    while size > 0:
        piece = await anext(pieces, None)
        if piece is None:
            return
        yield piece[:size]
        size -= len(piece)


async def verified(stream: AsyncIterator[bytes], descriptor: Descriptor) -> AsyncGenerator[bytes]:
    """Pass `stream` on, and hold its last piece back until size and digest are known to be right.

    Raises:
        DigestMismatch: The bytes hash to something else.
        SizeMismatch: There are more or fewer bytes than the descriptor says; more are never passed on.
    """
    hasher = descriptor.digest.hasher()
    held = b""
    async for piece in stream:
        if not piece:
            continue
        hasher.update(piece)
        if hasher.size > descriptor.size:
            raise SizeMismatch(f"{descriptor.digest} is longer than its {descriptor.size} bytes")
        if held:
            yield held
        held = piece
    check(hasher, descriptor)
    if held:
        yield held


def check(hasher: Hasher, descriptor: Descriptor) -> None:
    """Compare what was hashed with what it must be.

    Raises:
        DigestMismatch: The digest differs.
        SizeMismatch: The size differs.
    """
    if hasher.size != descriptor.size:
        raise SizeMismatch(f"{descriptor.digest} has {hasher.size} bytes, not {descriptor.size}")
    if (actual := hasher.digest()) != descriptor.digest:
        raise DigestMismatch(f"content hashes to {actual}, not to {descriptor.digest}")


def held_data(descriptor: Descriptor) -> bytes | None:
    """Return content that a descriptor holds itself, if it is what the descriptor says."""
    data = descriptor.inline_data
    if data is None or len(data) != descriptor.size:
        return None
    return data if Digest.of(data, descriptor.digest.algorithm) == descriptor.digest else None


async def read_all(stream: AsyncIterator[bytes]) -> bytes:
    """Return a whole stream; for what is known to be small."""
    return b"".join([piece async for piece in stream])


async def describe(data: SourceLike, media_type: str, *, algorithm: str = "sha256") -> Descriptor:
    """Return the descriptor of some bytes, reading them once."""
    hasher = Hasher(algorithm)
    async with _opened(data) as stream:
        async for piece in stream:
            hasher.update(piece)
    return Descriptor(media_type=media_type, digest=Digest(hasher.digest()), size=hasher.size)


def _opened(data: SourceLike) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
    if callable(data) and not isinstance(data, Source):
        return iterating(data())
    return as_source(data).open()
