"""Blobs as files: whole and verified under their name, or not there."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from filelock import FileLock

from oci_distribution.content.files import mapped_os_errors, open_file, read_pieces, try_lock
from oci_distribution.content.ingest import ingest_verified, write_pieces
from oci_distribution.content.sources import check
from oci_distribution.errors import ContentError, StoreError
from oci_distribution.events import Event, emit
from oci_distribution.remote.blob_reader import BlobReader
from oci_distribution.spec.digest import Hasher
from oci_distribution.spec.models import Descriptor
from oci_distribution.waiting import in_thread

__all__ = ["Downloaded", "download", "resume"]

_KEPT_NAME = 200
"""Bytes of a file's name that are in its part's, too: most file systems allow 255 in all."""


@dataclass(frozen=True, slots=True)
class Downloaded(Event):
    """`position` bytes of a blob that is downloaded to a file are here."""

    descriptor: Descriptor
    position: int


async def download(open_reader: Callable[[], BlobReader], path: Path) -> Descriptor:
    """Read a blob into a file, which appears when it is whole and verified."""
    await _make_directory(path.parent)
    while True:
        reader = open_reader()
        try:
            return await _read_into(reader, path)
        except ContentError:
            if not reader.is_mirror_to_blame:
                raise


async def _make_directory(path: Path) -> None:
    with mapped_os_errors(path):
        await in_thread(partial(path.mkdir, parents=True, exist_ok=True))


async def _read_into(reader: BlobReader, path: Path) -> Descriptor:
    async with reader:
        async with aclosing(_told(reader, reader.descriptor, 0)) as pieces:
            await ingest_verified(pieces, path, aside=path.parent)
        return reader.descriptor


async def _told(pieces: AsyncIterator[bytes], blob: Descriptor, position: int) -> AsyncGenerator[bytes]:
    async for piece in pieces:
        position += len(piece)
        yield piece
        emit(Downloaded(blob, position))


async def resume(open_at: Callable[[int], BlobReader], blob: Descriptor, path: Path) -> None:
    """Go on with a download where it was broken off, by this process or another.

    Args:
        open_at: Returns a reader of the blob from a position on.
        blob: What it must be.
        path: The file. Beside it lies `<name>.<digest>.part`, until it is whole.
    """
    name = path.name.encode(errors="ignore")[:_KEPT_NAME].decode(errors="ignore")
    part = path.with_name(f"{name}.{blob.digest.encoded[:16]}.part")
    await _make_directory(path.parent)
    async with _locked(part):
        if await _is_there(path, blob):
            return
        hasher = await _rehashed(part, blob)
        if not hasher.size or not await _completed(open_at, blob, part, hasher):
            # Nothing was there, or it was damaged meanwhile: from the start.
            await _fill(open_at, blob, part, blob.digest.hasher())
        with mapped_os_errors(path):
            await in_thread(partial(_publish, part, path, blob.size))


def _publish(part: Path, path: Path, size: int) -> None:
    # What was hashed is what we wrote. Where somebody removed our lock, another has written to it, too.
    if part.stat().st_size != size:
        raise StoreError(f"{part} was changed by somebody else while it was downloaded")
    part.replace(path)


async def _is_there(path: Path, blob: Descriptor) -> bool:
    """Say whether the file is what it shall be; who asks again after a crash need not fetch it again."""
    with mapped_os_errors(path):
        if await _size(path) != blob.size:
            return False
    return (await _hashed_file(path, blob)).digest() == blob.digest


async def _size(path: Path) -> int | None:
    """Return the length of a file in bytes; None where there is none."""
    return await in_thread(lambda: path.stat().st_size if path.is_file() else None)


async def _hashed_file(path: Path, blob: Descriptor) -> Hasher:
    hasher = blob.digest.hasher()
    async with open_file(path, "rb") as file, aclosing(read_pieces(path, file)) as pieces:
        async for piece in pieces:
            hasher.update(piece)
    return hasher


async def _rehashed(part: Path, blob: Descriptor) -> Hasher:
    """Hash what is there already; more than the blob has is no part of it, and is removed."""
    with mapped_os_errors(part):
        size = await _size(part)
        if size is not None and size > blob.size:
            await in_thread(part.unlink)
            size = None
    return blob.digest.hasher() if size is None else await _hashed_file(part, blob)


async def _completed(
    open_at: Callable[[int], BlobReader], blob: Descriptor, part: Path, hasher: Hasher
) -> bool:
    """Add what is missing to what was kept; False when that turns out not to be the blob's beginning."""
    try:
        await _fill(open_at, blob, part, hasher)
    except ContentError:
        return False
    return True


async def _fill(open_at: Callable[[int], BlobReader], blob: Descriptor, part: Path, hasher: Hasher) -> None:
    """Add what is missing, and check the whole; when it is wrong, nothing of it is kept."""
    position = hasher.size
    try:
        async with (
            open_at(position) as reader,
            open_file(part, "ab") as file,
            aclosing(_hashed(reader, hasher)) as hashed,
            aclosing(_told(hashed, blob, position)) as pieces,
        ):
            await write_pieces(part, file, pieces)
        check(hasher, blob)
    except ContentError:
        with mapped_os_errors(part):
            await in_thread(partial(part.unlink, missing_ok=True))
        raise


async def _hashed(pieces: AsyncIterator[bytes], hasher: Hasher) -> AsyncGenerator[bytes]:
    async for piece in pieces:
        hasher.update(piece)
        yield piece


@asynccontextmanager
async def _locked(part: Path) -> AsyncGenerator[None]:
    """Keep other processes off a file that is not whole yet."""
    locked = part.with_name(f"{part.name}.lock")
    lock = FileLock(locked)
    with mapped_os_errors(part):
        if not try_lock(lock):
            raise StoreError(f"{part} is being downloaded by somebody else")
    try:
        yield
    finally:
        with mapped_os_errors(part):
            # First gone, then let go: who comes next makes a lock of their own.
            locked.unlink(missing_ok=True)
            lock.release()
