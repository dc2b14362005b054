"""Files, touched in threads that nobody lets go of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Literal, TypeAlias

import aiofiles
import anyio.lowlevel
from aiofiles.threadpool.binary import AsyncBufferedIOBase
from filelock import FileLock, Timeout

from oci_distribution.errors import LimitExceeded, StoreError
from oci_distribution.waiting import to_its_end

__all__ = [
    "FILE_PIECE",
    "mapped_os_errors",
    "open_file",
    "read_bounded",
    "read_pieces",
    "try_lock",
]

FILE_PIECE = 1 << 20
"""Bytes of one read or write of a file: each costs a thread hop, and smaller ones cost more than the disk."""

Mode: TypeAlias = Literal["rb", "xb", "ab"]


@contextmanager
def mapped_os_errors(what: object) -> Generator[None]:
    """Turn what the operating system says about `what` into an error of our tree."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{what}: {error.strerror or error}") from error


@asynccontextmanager
async def open_file(path: Path, mode: Mode) -> AsyncGenerator[AsyncBufferedIOBase]:
    """Open a file to read, make one to write, or go on with one; all is with the operating system at the end.

    Raises:
        StoreError: The operating system refuses; its error is the cause.
    """
    opening = asyncio.ensure_future(_open(path, mode))
    try:
        with mapped_os_errors(path):
            file = await to_its_end(opening)
        yield file
    finally:
        # Asked of the future: a cancelled opening has opened the file all the same.
        if not opening.cancelled() and opening.exception() is None:
            with mapped_os_errors(path):
                await to_its_end(opening.result().close())


async def _open(path: Path, mode: Mode) -> AsyncBufferedIOBase:
    match mode:
        case "rb":
            return await aiofiles.open(path, "rb")
        case "xb":
            return await aiofiles.open(path, "xb")
        case "ab":
            return await aiofiles.open(path, "ab")


async def read_pieces(path: Path, file: AsyncBufferedIOBase, start: int = 0) -> AsyncGenerator[bytes]:
    """Read a file that was just opened, from the byte at `start` on."""
    if start:
        with mapped_os_errors(path):
            await to_its_end(file.seek(start))
    while True:
        await anyio.lowlevel.checkpoint_if_cancelled()
        with mapped_os_errors(path):
            piece = await to_its_end(file.read(FILE_PIECE))
        if not piece:
            return
        yield piece


def read_bounded(path: Path, limit: int) -> bytes:
    """Read a small file, in this thread.

    Raises:
        LimitExceeded: It has more than `limit` bytes.
    """
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise LimitExceeded(f"{path} is longer than {limit} bytes")
    return data


def try_lock(lock: FileLock) -> bool:
    """Take a lock if nobody has it, in this thread, and say so.

    It takes microseconds, and no cancellation comes between the lock and us.
    """
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    return True
