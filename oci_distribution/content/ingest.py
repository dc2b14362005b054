"""Files appear under their final name only whole and verified: write aside, verify, rename.

Nothing is flushed to the platter: after a power cut a file may be damaged, and is found so by its digest.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import aiofiles
import anyio
from aiofiles.threadpool.binary import AsyncBufferedIOBase

from oci_distribution.content.sources import FILE_PIECE, check
from oci_distribution.errors import OCIError, SizeMismatch, StoreError
from oci_distribution.spec.models import Descriptor

__all__ = ["ingest", "mapped_os_errors", "replace_file"]

TEMPORARY_PREFIX = ".ingest-"
"""Begins the name of a file that is not whole yet; no digest looks like it."""


@contextmanager
def mapped_os_errors(path: Path) -> Generator[None]:
    """Turn what the operating system says about `path` into an error of our tree."""
    try:
        yield
    except OSError as error:
        # Our own timeout is an OSError, too, since Python's is.
        if isinstance(error, OCIError):
            raise
        raise StoreError(f"{path}: {error.strerror or error}") from error


async def ingest(stream: AsyncIterator[bytes], descriptor: Descriptor, path: Path) -> None:
    """Write a stream to `path`, which has the content that `descriptor` says or does not come to be.

    Raises:
        DigestMismatch: The bytes hash to something else.
        SizeMismatch: There are more or fewer bytes.
        StoreError: The disk refuses.
    """
    hasher = descriptor.digest.hasher()
    with mapped_os_errors(path):
        async with _temporary(path) as file:
            async for piece in _coalesced(stream):
                hasher.update(piece)
                if hasher.size > descriptor.size:
                    raise SizeMismatch(f"{descriptor.digest} is longer than its {descriptor.size} bytes")
                with anyio.CancelScope(shield=True):
                    # A cancelled write would go on in its thread, into a file that is gone.
                    await file.write(piece)
            check(hasher, descriptor)


@asynccontextmanager
async def _temporary(path: Path) -> AsyncGenerator[AsyncBufferedIOBase]:
    """Open a file beside `path` that takes its name in the end, and disappears if anything goes wrong."""
    with anyio.CancelScope(shield=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=path.parent)
        file = await aiofiles.open(handle, "wb")
    try:
        yield file
        with anyio.CancelScope(shield=True):
            await file.close()
        _publish(name, path)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await file.close()
        Path(name).unlink(missing_ok=True)
        raise


async def _coalesced(stream: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """Join pieces to some that are worth a thread hop."""
    pieces: list[bytes] = []
    size = 0
    async for piece in stream:
        pieces.append(piece)
        size += len(piece)
        if size >= FILE_PIECE:
            yield b"".join(pieces)
            pieces, size = [], 0
    if pieces:
        yield b"".join(pieces)


def replace_file(path: Path, data: bytes) -> None:
    """Replace a small file at once: a reader sees the old one or the new one, whole."""
    handle, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=path.parent)
    try:
        with open(handle, "wb") as file:
            file.write(data)
        _publish(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _publish(name: str, path: Path) -> None:
    # mkstemp makes files that only we can read; a layout is for others, too.
    mask = os.umask(0)
    os.umask(mask)
    os.chmod(name, 0o666 & ~mask)
    os.replace(name, path)
