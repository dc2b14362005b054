"""What every store of this room does: the one in memory, and the one on disk."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest

import oci_distribution as oci
from tests.disk import names_below
from tests.images import holdings, push_blob, push_image, push_index

DATA = bytes(range(256)) * 5000
BLOB = oci.Descriptor(media_type=oci.MediaType.OCTET_STREAM, digest=oci.Digest.of(DATA), size=len(DATA))

AnyStore: TypeAlias = oci.MemoryStore | oci.Layout


@pytest.fixture(params=["memory", "layout"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> AnyStore:
    return oci.MemoryStore() if request.param == "memory" else oci.Layout(tmp_path / "new" / "layout")


class Pieces:
    """A source of pieces, which counts how often it was opened."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces
        self.opened = 0
        self.closed = 0

    @property
    def size(self) -> int:
        return sum(len(piece) for piece in self.pieces)

    @asynccontextmanager
    async def open(self, offset: int = 0) -> AsyncGenerator[AsyncIterator[bytes]]:
        async def stream() -> AsyncGenerator[bytes]:
            for piece in self.pieces:
                yield piece

        self.opened += 1
        try:
            yield stream()
        finally:
            self.closed += 1


async def read(store: AnyStore, descriptor: oci.Descriptor) -> bytes:
    async with store.open_blob(descriptor) as stream:
        return b"".join([piece async for piece in stream])


async def test_a_blob_comes_back_as_it_was(store: AnyStore) -> None:
    """Whatever pieces it came in, empty ones included."""
    pieces = Pieces(DATA[:1], b"", DATA[1:70_000], DATA[70_000:])

    assert await store.push_blob(BLOB, pieces) is oci.PushOutcome.COPIED

    assert await store.exists(BLOB)
    assert await read(store, BLOB) == DATA


async def test_an_empty_blob_is_a_blob(store: AnyStore) -> None:
    """Nothing at all has a digest, too."""
    empty = await push_blob(store, b"")

    assert await store.exists(empty)
    assert await read(store, empty) == b""


async def test_sha512_is_a_digest_like_the_other(store: AnyStore) -> None:
    """Both of the image specification's algorithms are stored and verified."""
    blob = oci.Descriptor(media_type="a/b", digest=oci.Digest.of(b"x", "sha512"), size=1)

    await store.push_blob(blob, oci.BytesSource(b"x"))

    assert await read(store, blob) == b"x"


@pytest.mark.parametrize("start", [0, 2])
async def test_content_may_be_in_its_descriptor(store: AnyStore, start: int) -> None:
    """Then nobody has to have it; what the descriptor holds and is something else does not count."""
    blob = oci.Descriptor(media_type="a/b", digest=oci.Digest.of(b"inline"), size=6, data="aW5saW5l")

    async with store.open_blob(blob, start=start) as stream:
        assert b"".join([piece async for piece in stream]) == b"inline"[start:]
    for wrong in ("b3RoZXI=", "b3RoZXJz", "no base64"):
        with pytest.raises(oci.NotFound):
            await read(store, blob.model_copy(update={"data": wrong}))


async def test_what_is_there_is_not_opened(store: AnyStore) -> None:
    """A second push costs a look, and no read."""
    await store.push_blob(BLOB, Pieces(DATA))
    again = Pieces(DATA)

    assert await store.push_blob(BLOB, again) is oci.PushOutcome.EXISTED
    assert again.opened == 0


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (DATA[:-1], oci.SizeMismatch),
        (DATA + b"x", oci.SizeMismatch),
        (DATA[:-1] + b"x", oci.DigestMismatch),
        (b"", oci.SizeMismatch),
    ],
    ids=["short", "long", "other", "nothing"],
)
async def test_what_is_something_else_is_not_stored(
    store: AnyStore, data: bytes, error: type[Exception]
) -> None:
    """Bytes are stored whole and verified, or not at all, and the source is closed."""
    pieces = Pieces(data[:1000], data[1000:])

    with pytest.raises(error):
        await store.push_blob(BLOB, pieces)

    assert not await store.exists(BLOB)
    assert pieces.closed == 1
    with pytest.raises(oci.NotFound):
        await read(store, BLOB)


async def test_a_source_that_fails_leaves_nothing(store: AnyStore) -> None:
    """Its own exception comes through, even one that a disk might raise."""

    class Failing(Pieces):
        @asynccontextmanager
        async def open(self, offset: int = 0) -> AsyncGenerator[AsyncIterator[bytes]]:
            async def stream() -> AsyncGenerator[bytes]:
                yield DATA[:10]
                raise OSError("the source broke")

            yield stream()

    with pytest.raises(OSError, match="the source broke"):
        await store.push_blob(BLOB, Failing(DATA))

    assert not await store.exists(BLOB)


async def test_a_lie_about_the_size_is_found(store: AnyStore) -> None:
    """A descriptor with the right digest and a wrong size is not what the store holds."""
    await store.push_blob(BLOB, Pieces(DATA))
    liar = oci.Descriptor(media_type=BLOB.media_type, digest=BLOB.digest, size=BLOB.size + 1)

    with pytest.raises(oci.SizeMismatch):
        await read(store, liar)


async def read_and_fail(store: AnyStore) -> None:
    async with store.open_blob(BLOB) as stream:
        async for _ in stream:
            raise OSError("mine")


async def test_leaving_a_blob_early_is_no_error(store: AnyStore) -> None:
    """Who has seen enough may go, and what he raises is his own."""
    await store.push_blob(BLOB, Pieces(DATA))

    async with store.open_blob(BLOB):
        pass
    with pytest.raises(OSError, match="mine"):
        await read_and_fail(store)


async def test_a_manifest_is_its_bytes(store: AnyStore) -> None:
    """Found by tag and by digest, byte for byte."""
    config = await push_blob(store, b"{}", oci.MediaType.IMAGE_CONFIG)
    raw = oci.Manifest.of(oci.ImageManifest(config=config)).raw.replace(b'":', b'" :  ')
    manifest = oci.Manifest.parse(raw)

    await store.push_manifest(manifest, tags=["v1", "latest"])

    for reference in ("v1", "latest", manifest.digest):
        assert await store.resolve(reference) == manifest.descriptor
        assert (await store.fetch_manifest(reference)).raw == raw
    assert await store.exists(manifest.descriptor)
    assert [tag async for tag in store.tags()] == ["latest", "v1"]


async def test_tags_may_be_an_iterator(store: AnyStore) -> None:
    """All are set, and none is lost to a check."""
    manifest = oci.Manifest.of(oci.ImageIndex())

    await store.push_manifest(manifest, tags=(tag for tag in ("v1", "v2")))  # type: ignore[arg-type]

    assert [tag async for tag in store.tags()] == ["v1", "v2"]


async def test_a_tag_moves(store: AnyStore) -> None:
    """The tag names the new manifest; the old one is still there for those who have its digest."""
    old = await push_image(store, [b"old"], tag="v1")
    new = await push_image(store, [b"new"], tag="v1")

    assert (await store.resolve("v1")).digest == new.digest
    assert (await store.fetch_manifest(old.digest)).raw == old.raw
    assert [tag async for tag in store.tags()] == ["v1"]


async def test_the_images_of_an_index_are_found_by_digest(store: AnyStore) -> None:
    """What has no tag of its own is content all the same."""
    image = await push_image(store)
    index = await push_index(store, [image], tag="v1")

    assert (await store.resolve(image.digest)) == image.descriptor
    assert await holdings(store, "v1") >= {index.digest, image.digest}


async def test_an_index_may_be_sparse(store: AnyStore) -> None:
    """A store at rest takes an index before, or without, its images."""
    gone = oci.Descriptor(media_type=oci.MediaType.IMAGE_MANIFEST, digest=oci.Digest.of(b"gone"), size=4)
    index = oci.Manifest.of(oci.ImageIndex(manifests=(gone,)))

    await store.push_manifest(index, tags=["v1"])

    assert (await store.resolve("v1")).digest == index.digest
    with pytest.raises(oci.NotFound):
        await store.fetch_manifest(gone.digest)


async def test_what_was_never_there_is_not_found(store: AnyStore) -> None:
    """An empty store, or one that does not exist yet, holds nothing."""
    assert not await store.exists(BLOB)
    for reference in ("v1", "latest", BLOB.digest):
        with pytest.raises(oci.NotFound):
            await store.resolve(reference)
        with pytest.raises(oci.NotFound):
            await store.fetch_manifest(reference)
    with pytest.raises(oci.NotFound):
        await read(store, BLOB)


@pytest.mark.parametrize(
    "reference", ["", "a b", "../v1", "v1/..", "sha256:../../x", "sha256:" + "A" * 64, "md5:" + "a" * 32]
)
async def test_a_bad_reference_is_refused_before_anything_happens(
    store: AnyStore, reference: str, tmp_path: Path
) -> None:
    """Neither reads nor writes happen for what cannot be a reference."""
    manifest = oci.Manifest.of(oci.ImageIndex())

    with pytest.raises(oci.InvalidArgument):
        await store.resolve(reference)
    with pytest.raises(oci.InvalidArgument):
        await store.fetch_manifest(reference)
    with pytest.raises(oci.InvalidArgument):
        await store.push_manifest(manifest, tags=["good", reference])

    assert not await store.exists(manifest.descriptor)
    assert names_below(tmp_path) == []


async def test_nobody_can_mount_from_it(store: AnyStore) -> None:
    """Only registries can."""
    assert store.mount_point is None


async def test_a_manifest_that_was_tampered_with_is_refused(store: AnyStore) -> None:
    """Bytes that are not those of the descriptor are not stored under its digest."""
    image = await push_image(store)
    with pytest.raises(oci.DigestMismatch):
        await store.push_manifest(replace(image, raw=image.raw + b" "), tags=["v1"])
    with pytest.raises(oci.NotFound):
        await store.resolve("v1")


async def test_tags_that_can_be_iterated_once(store: AnyStore) -> None:
    """To check them does not use them up."""
    image = await push_image(store)
    await store.push_manifest(image, tags=(tag for tag in ("v1", "v2")))  # type: ignore[arg-type]
    assert [tag async for tag in store.tags()] == ["v1", "v2"]
