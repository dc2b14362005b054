"""Sources can be opened again, at any offset, and say when they are not what they were."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import anyio
import pytest

import oci_distribution as oci
from oci_distribution.content.sources import BlobSource, as_source, describe, read_all, verified
from tests.disk import open_below
from tests.images import push_blob

DATA = bytes(range(256)) * (10 << 10)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.write_bytes(DATA)
    return path


async def read(source: oci.Source, offset: int = 0, *, seen: list[bytes] | None = None) -> bytes:
    pieces = seen if seen is not None else []
    async with source.open(offset) as stream:
        await collect(stream, pieces)
    return b"".join(pieces)


async def collect(stream: AsyncIterator[bytes], pieces: list[bytes]) -> None:
    async for piece in stream:
        pieces.append(piece)  # noqa: PERF401 - what was seen counts, even before an error


@pytest.mark.parametrize("kind", ["bytes", "bytearray", "memoryview", "path", "blob"])
@pytest.mark.parametrize("offset", [0, 1, 1 << 20, (1 << 20) + 1, len(DATA) - 1, len(DATA)])
async def test_a_source_opens_again_at_any_offset(kind: str, offset: int, path: Path) -> None:
    """From there to the end, as often as one likes."""
    store = oci.MemoryStore()
    made = {
        "bytes": lambda: as_source(DATA),
        "bytearray": lambda: as_source(bytearray(DATA)),
        "memoryview": lambda: as_source(memoryview(DATA)),
        "path": lambda: as_source(path),
    }
    source = made[kind]() if kind in made else BlobSource(store, await push_blob(store, DATA))

    assert source.size == len(DATA)
    assert await read(source, offset) == DATA[offset:]
    assert await read(source, offset) == DATA[offset:]


def test_a_source_is_taken_as_it_is() -> None:
    """What is one already is not wrapped."""
    source = oci.BytesSource(b"x")

    assert as_source(source) is source


async def test_a_later_change_of_a_buffer_does_not_matter() -> None:
    """A retry sends what the caller handed over."""
    buffer = bytearray(b"before")
    source = as_source(buffer)
    buffer[:] = b"after!"

    assert await read(source) == b"before"


@pytest.mark.parametrize("change", [b"", b"x", DATA[:-1], DATA + b"x", DATA * 2])
async def test_a_file_that_changed_its_length_is_found(change: bytes, path: Path) -> None:
    """The length that was announced is sent, or nothing is taken for whole."""
    source = oci.FileSource(path)
    await anyio.Path(path).write_bytes(change)
    seen: list[bytes] = []

    with pytest.raises(oci.SizeMismatch, match="changed while it was read"):
        await read(source, seen=seen)

    assert len(b"".join(seen)) <= len(DATA)


async def test_leaving_a_file_early_closes_it(path: Path) -> None:
    """No handle stays open behind the one who left."""
    async with oci.FileSource(path).open() as stream:
        async for piece in stream:
            assert len(piece) == 1 << 20
            break

    assert not open_below(path)


def test_a_missing_file_is_an_error_at_once(tmp_path: Path) -> None:
    """Before anything is sent, and in our tree."""
    with pytest.raises(oci.StoreError, match="missing"):
        as_source(tmp_path / "missing")


def test_what_is_no_file_is_an_error_at_once(tmp_path: Path) -> None:
    """A directory cannot be read, and a pipe would be waited for in a thread that nobody can stop."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(oci.StoreError, match="no regular file"):
            as_source(path)


async def test_an_exception_of_the_reader_stays_what_it_is(path: Path) -> None:
    """Errors of the file are ours; what the reader raises is his."""
    with pytest.raises(FileNotFoundError):
        async with oci.FileSource(path).open():
            raise FileNotFoundError


def test_a_file_source_names_its_file(path: Path) -> None:
    """In its repr, for messages."""
    assert repr(oci.FileSource(path)) == f"FileSource({str(path)!r})"


async def test_a_source_is_described_by_reading_it() -> None:
    """Digest and size of what it holds."""
    descriptor = await describe(oci.BytesSource(DATA), "a/b", algorithm="sha512")

    assert descriptor == oci.Descriptor(
        media_type="a/b", digest=oci.Digest.of(DATA, "sha512"), size=len(DATA)
    )


async def test_the_last_piece_is_held_back_until_all_is_right() -> None:
    """Who writes pieces as they come cannot end up with the whole of what is wrong."""
    descriptor = oci.Descriptor(media_type="a/b", digest=oci.Digest.of(b"abcdef"), size=6)
    seen: list[bytes] = []

    async with oci.BytesSource(b"").open() as empty:
        assert await read_all(empty) == b""
    with pytest.raises(oci.DigestMismatch):
        await collect(verified(_pieces(b"ab", b"", b"cd", b"eX"), descriptor), seen)

    assert seen == [b"ab", b"cd"]
    assert await read_all(verified(_pieces(b"ab", b"", b"cd", b"ef"), descriptor)) == b"abcdef"


async def _pieces(*pieces: bytes) -> AsyncGenerator[bytes]:
    for piece in pieces:
        yield piece
