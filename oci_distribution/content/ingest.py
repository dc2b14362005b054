"""Files appear under their final name only whole and verified: write aside, verify, rename.

Nothing is flushed to the platter, as most tools do it: after a power cut a file may be damaged. One that
is too short counts as missing, and what is read is always verified.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import anyio.lowlevel
from aiofiles.threadpool.binary import AsyncBufferedIOBase

from oci_distribution.content.files import FILE_PIECE, mapped_os_errors, open_file
from oci_distribution.content.sources import verified
from oci_distribution.spec.models import Descriptor
from oci_distribution.waiting import in_thread, to_its_end

__all__ = [
    "TEMPORARY_PREFIX",
    "ingest",
    "ingest_verified",
    "replace_file",
    "temporary_directory",
    "temporary_file",
    "write_pieces",
]

TEMPORARY_PREFIX = ".ingest-"
"""Begins the name of a file that is not whole yet; one that a killed process left may be deleted."""


async def ingest(stream: AsyncIterator[bytes], descriptor: Descriptor, path: Path, *, aside: Path) -> None:
    """Write a stream to `path`, which has the content that `descriptor` says or does not come to be.

    Args:
        stream: The bytes.
        descriptor: What they must be.
        path: The file; its directories are made.
        aside: Directory in the same file system, to write in until all is known to be right.

    Raises:
        DigestMismatch: The bytes hash to something else.
        SizeMismatch: There are more or fewer bytes.
        StoreError: The operating system refuses.
    """
    async with aclosing(verified(stream, descriptor)) as pieces:
        await ingest_verified(pieces, path, aside=aside)


async def ingest_verified(pieces: AsyncIterator[bytes], path: Path, *, aside: Path) -> None:
    """Write to `path` a stream that raises before its end when it is not what it must be; see `ingest`."""
    temporary = _temporary_name(aside)
    async with _removed_on_failure(temporary):
        async with open_file(temporary, "xb") as file:
            await write_pieces(path, file, pieces)
        with mapped_os_errors(path):
            await in_thread(partial(_publish, temporary, path))


def _temporary_name(directory: Path) -> Path:
    return directory / f"{TEMPORARY_PREFIX}{secrets.token_hex(16)}"


@asynccontextmanager
async def temporary_directory(inside: Path | None = None) -> AsyncGenerator[Path]:
    """Make a directory that only this user can enter, and that is gone in the end with all that is in it.

    Args:
        inside: Where; None for where the system has temporary files.
    """
    # Its name is known before it is made: a cancelled thread makes it all the same.
    made = _temporary_name(inside if inside is not None else Path(tempfile.gettempdir()))
    try:
        with mapped_os_errors(made):
            await in_thread(partial(made.mkdir, mode=0o700))
        yield made
    finally:
        await in_thread(partial(shutil.rmtree, made, ignore_errors=True))


@asynccontextmanager
async def temporary_file() -> AsyncGenerator[tuple[Path, AsyncBufferedIOBase]]:
    """Make a file that is gone in the end."""
    async with temporary_directory() as directory, open_file(directory / "blob", "xb") as file:
        yield directory / "blob", file


@asynccontextmanager
async def _removed_on_failure(temporary: Path) -> AsyncGenerator[None]:
    try:
        yield
    except BaseException:
        # That it cannot be removed is no news beside what went wrong before.
        with suppress(OSError):
            await in_thread(partial(temporary.unlink, missing_ok=True))
        raise


async def write_pieces(path: Path, file: AsyncBufferedIOBase, pieces: AsyncIterator[bytes]) -> None:
    """Write pieces, as many at a time as are worth a thread hop; when they break off, all that came before.

    Args:
        path: Named in errors.
        file: Where to.
        pieces: The bytes.
    """
    batch: list[bytes] = []
    size = 0
    try:
        async for piece in pieces:
            batch.append(piece)
            size += len(piece)
            if size >= FILE_PIECE:
                full, batch, size = batch, [], 0
                await _write(path, file, full)
                await anyio.lowlevel.checkpoint_if_cancelled()
    finally:
        await _write(path, file, batch)


async def _write(path: Path, file: AsyncBufferedIOBase, batch: list[bytes]) -> None:
    if batch:
        with mapped_os_errors(path):
            await to_its_end(file.writelines(batch))


def _publish(temporary: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary.replace(path)


def replace_file(path: Path, data: bytes, *, aside: Path) -> None:
    """Write a small file at once, in this thread: a reader sees the old one or the new one, whole."""
    temporary = _temporary_name(aside)
    try:
        temporary.write_bytes(data)
        _publish(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
