"""Sources: bytes that can be opened again, from memory, from a file, from another store."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

from oci_distribution.content.files import mapped_os_errors, open_file, read_pieces, to_its_end
from oci_distribution.content.protocols import ReadableStore, Source
from oci_distribution.errors import DigestMismatch, SizeMismatch
from oci_distribution.spec.digest import Digest, Hasher
from oci_distribution.spec.models import Descriptor

__all__ = ["BlobSource", "BytesSource", "FileSource", "SourceLike", "as_source", "read_all", "verified"]

SourceLike: TypeAlias = bytes | bytearray | memoryview | os.PathLike[str] | Source
"""What a user may hand over to be pushed."""


def as_source(data: SourceLike) -> Source:
    """Return `data` as a source; of a path only the size is asked for now.

    Raises:
        StoreError: There is no such file.
    """
    if isinstance(data, bytes | bytearray | memoryview):
        return BytesSource(bytes(data))
    if isinstance(data, os.PathLike):
        return FileSource(Path(data))
    if not isinstance(data, Source):  # pyright: ignore[reportUnnecessaryIsInstance] - not everybody has types
        msg = f"cannot read a {type(data).__name__}: give bytes, a pathlib.Path, or a source that opens again"
        raise TypeError(msg)
    return data


class BytesSource:
    """A source over bytes in memory."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self._data)

    @asynccontextmanager
    async def open(self, offset: int = 0) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Open from `offset`; the rest comes as one piece."""

        async def pieces() -> AsyncGenerator[bytes]:
            if offset < len(self._data):
                yield self._data[offset:] if offset else self._data

        async with aclosing(pieces()) as stream:
            yield stream


class FileSource:
    """A source over a file, whose size is taken once, when the source is made.

    Args:
        path: The file.

    Raises:
        StoreError: There is no such file, or it may not be read.
    """

    __slots__ = ("_path", "_size")

    def __init__(self, path: Path) -> None:
        self._path = path
        with mapped_os_errors(path):
            # On the event loop: a source has a size from the start, and asking for it takes microseconds.
            self._size = path.stat().st_size

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
            if offset:
                with mapped_os_errors(self._path):
                    await to_its_end(file.seek(offset))
            async with aclosing(self._measured(read_pieces(self._path, file), offset)) as stream:
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
        """Open the blob; what is before `offset` is read all the same: only the whole can be verified."""
        async with self._store.open_blob(self._descriptor) as stream:
            if not offset:
                yield stream
                return
            async with aclosing(_skip(stream, offset)) as rest:
                yield rest


async def _skip(stream: AsyncIterator[bytes], count: int) -> AsyncGenerator[bytes]:
    async for piece in stream:
        if rest := piece[count:]:
            yield rest
        count = max(0, count - len(piece))


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


async def read_all(stream: AsyncIterator[bytes]) -> bytes:
    """Return a whole stream; for what is known to be small."""
    return b"".join([piece async for piece in stream])


async def describe(source: Source, media_type: str, *, algorithm: str = "sha256") -> Descriptor:
    """Return the descriptor of a source, reading it once."""
    hasher = Hasher(algorithm)
    async with source.open() as stream:
        async for piece in stream:
            hasher.update(piece)
    return Descriptor(media_type=media_type, digest=Digest(hasher.digest()), size=hasher.size)
