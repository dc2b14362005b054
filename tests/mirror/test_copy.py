"""Copying graphs between stores; registries are real ones, over sockets."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

import oci_distribution as oci
from oci_distribution.testing import RunningRegistry, serve_registry
from tests.images import holdings, push_blob, push_image, push_index

BIG = bytes(range(256)) * (20 << 10)


@pytest.fixture
async def registry() -> AsyncGenerator[RunningRegistry]:
    async with serve_registry(strict=True) as registry:
        yield registry


@pytest.fixture
async def client() -> AsyncGenerator[oci.Client]:
    async with oci.Client() as client:
        yield client


@pytest.fixture
def source(client: oci.Client, registry: RunningRegistry) -> oci.Repository:
    return client.registry(registry.url).repository("team/source")


@pytest.fixture
async def target(client: oci.Client) -> AsyncGenerator[oci.Repository]:
    async with serve_registry(strict=True) as registry:
        yield client.registry(registry.url).repository("team/target")


@pytest.fixture
async def index(source: oci.Repository) -> oci.Manifest:
    """An index of two images, tagged v1, that share a large layer."""
    images = [await push_image(source, [BIG, name.encode()], os=name) for name in ("linux", "windows")]
    return await push_index(source, images, tag="v1")


async def test_everything_arrives_and_is_the_same(
    index: oci.Manifest, source: oci.Repository, target: oci.Repository
) -> None:
    """All platforms come over, and every digest is the one of the source."""
    report = await oci.copy(source, "v1", target)

    assert report.root.digest == index.digest
    assert await holdings(target, "v1") == await holdings(source, "v1")
    assert report.manifests == {oci.CopyOutcome.COPIED: 3}
    assert report.blobs == {oci.CopyOutcome.COPIED: 5}


async def test_registry_to_layout_to_registry(
    index: oci.Manifest, source: oci.Repository, target: oci.Repository, tmp_path: Path
) -> None:
    """A layout in between changes nothing, not even a byte of a manifest."""
    layout = oci.Layout(tmp_path / "layout")

    await oci.copy(source, "v1", layout)
    await oci.copy(layout, "v1", target, "v2")

    assert (await target.fetch_manifest("v2")).raw == index.raw
    assert await holdings(target, "v2") == await holdings(source, "v1")


async def test_memory_is_a_store_like_the_others(index: oci.Manifest, source: oci.Repository) -> None:
    """A copy needs the Protocols and nothing else."""
    memory = oci.MemoryStore()

    await oci.copy(source, "v1", memory)

    assert await holdings(memory, "v1") == await holdings(source, "v1")


@pytest.mark.usefixtures("index")
async def test_what_is_there_costs_a_handful_of_requests(
    source: oci.Repository, target: oci.Repository, registry: RunningRegistry
) -> None:
    """A second copy asks each side once."""
    await oci.copy(source, "v1", target)
    registry.requests.clear()
    sent: list[oci.Event] = []

    with oci.observe(sent.append):
        report = await oci.copy(source, "v1", target)

    assert report.was_there
    assert sum(isinstance(event, oci.RequestSent) for event in sent) == 2
    assert [request.method for request in registry.requests] == ["HEAD"]


@pytest.mark.usefixtures("index")
async def test_everything_is_fetched_once(
    source: oci.Repository, target: oci.Repository, registry: RunningRegistry
) -> None:
    """The layer that both images share is read once, and so is every manifest."""
    registry.requests.clear()

    await oci.copy(source, "v1", target)

    gets = [request.path for request in registry.requests if request.method == "GET"]
    assert len(gets) == len(set(gets)) == 8


@pytest.mark.usefixtures("index")
async def test_within_one_registry_blobs_are_mounted(client: oci.Client, source: oci.Repository) -> None:
    """No byte of a blob travels when the target can mount it."""
    other = source.registry.repository("team/other")

    report = await oci.copy(source, "v1", other)

    assert report.blobs == {oci.CopyOutcome.MOUNTED: 5}
    assert await holdings(other, "v1") == await holdings(source, "v1")


@pytest.mark.usefixtures("index")
async def test_one_slot_of_each_is_enough_within_one_host(registry: RunningRegistry) -> None:
    """Nobody holds a slot that another needs, so nothing hangs, even without mounts."""
    async with oci.Client(slots=oci.Slots(requests=1, downloads=1, uploads=1)) as client:
        repository = client.registry(registry.url).repository("team/source")
        unmountable = _Unmountable(repository)
        with anyio.fail_after(20):
            await oci.copy(
                unmountable, "v1", repository.registry.repository("team/other"), concurrency=1, streams=1
            )

            report = await oci.copy(repository, "v1", repository.registry.repository("team/other"))

    assert report.was_there


class _Unmountable:
    """A store that nobody can mount from."""

    mount_point = None

    def __init__(self, store: oci.Repository) -> None:
        self._store = store

    async def resolve(self, reference: str) -> oci.Descriptor:
        return await self._store.resolve(reference)

    async def fetch_manifest(self, reference: str) -> oci.Manifest:
        return await self._store.fetch_manifest(reference)

    def open_blob(
        self, descriptor: oci.Descriptor, *, start: int = 0
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self._store.open_blob(descriptor, start=start)


async def test_the_tag_comes_last(
    index: oci.Manifest, source: oci.Repository, client: oci.Client, registry: RunningRegistry
) -> None:
    """Nobody finds a tag, or an index, whose content is still on its way."""
    registry.requests.clear()

    await oci.copy(_Unmountable(source), "v1", source.registry.repository("team/other"))

    puts = [request.path for request in registry.requests if request.method == "PUT"]
    assert puts[-1] == "/v2/team/other/manifests/v1"
    assert [("/uploads/" in path) for path in puts].index(False) >= 3


@pytest.mark.usefixtures("index")
async def test_only_what_is_missing_is_sent(source: oci.Repository, target: oci.Repository) -> None:
    """A new tag over old content sends what is new."""
    await oci.copy(source, "v1", target)
    image = await push_image(source, [BIG, b"new"], tag="v2")

    report = await oci.copy(source, "v2", target)

    assert report.blobs == {oci.CopyOutcome.COPIED: 1, oci.CopyOutcome.EXISTED: 2}
    assert report.bytes_copied == len(b"new") + len(image.raw)


async def test_by_digest_no_tag_is_set(
    index: oci.Manifest, source: oci.Repository, target: oci.Repository
) -> None:
    """A digest names content, and so does the copy."""
    await oci.copy(source, index.digest, target)

    assert (await target.resolve(index.digest)).digest == index.digest
    assert [tag async for tag in target.tags.list()] == []


async def test_a_pinned_target_must_be_the_content(source: oci.Repository, target: oci.Repository) -> None:
    """Asked to be another digest, a copy refuses before it writes."""
    await push_image(source, tag="v1")
    other = oci.Digest.of(b"other")

    with pytest.raises(oci.CopyError) as caught:
        await oci.copy(source, "v1", target, other)

    assert [type(error) for error in caught.value.errors] == [oci.InvalidReference]
    with pytest.raises(oci.NotFound):
        await target.resolve(other)


@pytest.mark.parametrize("reference", ["", "a b", "sha256:abc", "-x", "a" * 129])
async def test_bad_references_are_refused_before_any_request(
    reference: str, source: oci.Repository, target: oci.Repository, registry: RunningRegistry
) -> None:
    """Nothing is sent for what cannot be a reference."""
    with pytest.raises(oci.InvalidArgument):
        await oci.copy(source, reference, target)
    with pytest.raises(oci.InvalidArgument):
        await oci.copy(source, "v1", target, reference)

    assert len(registry.requests) == 0


async def test_numbers_below_one_are_refused(source: oci.Repository, target: oci.Repository) -> None:
    """A copy that may do nothing at a time would hang."""
    with pytest.raises(ValueError, match="at least 1"):
        await oci.copy(source, "v1", target, concurrency=0)


async def test_what_is_missing_at_the_source_is_one_copy_error(
    source: oci.Repository, target: oci.Repository
) -> None:
    """A fan-out raises one type always, and `errors` says which request met it."""
    with pytest.raises(oci.CopyError) as caught:
        await oci.copy(source, "v1", target)

    (error,) = caught.value.errors
    assert isinstance(error, oci.NotFound)
    assert source.registry.name in str(error)


async def test_a_missing_child_leaves_no_tag(source: oci.Repository, target: oci.Repository) -> None:
    """When a blob cannot be had, neither the image nor its tag appears."""
    memory = oci.MemoryStore()
    config = await push_blob(memory, b"{}", oci.MediaType.IMAGE_CONFIG)
    missing = oci.Descriptor(media_type=oci.MediaType.IMAGE_LAYER, digest=oci.Digest.of(b"gone"), size=4)
    broken = oci.Manifest.of(oci.ImageManifest(config=config, layers=(missing,)))

    class Sparse(oci.MemoryStore):
        async def fetch_manifest(self, reference: str) -> oci.Manifest:
            return broken

        async def open_blob_missing(self) -> None: ...

    store = Sparse()
    await push_blob(store, b"{}", oci.MediaType.IMAGE_CONFIG)
    with pytest.raises(oci.CopyError) as caught:
        await oci.copy(store, "v1", target)

    assert any(isinstance(error, oci.NotFound) for error in caught.value.errors)
    with pytest.raises(oci.NotFound):
        await target.resolve("v1")


async def test_foreign_layers_stay_where_they_are(target: oci.Repository) -> None:
    """A layer that may not be distributed is not asked for, and its image is copied all the same."""
    foreign = oci.Descriptor(
        media_type="application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        digest=oci.Digest.of(b"licensed"),
        size=8,
        urls=("https://owner.example/layer",),
    )
    memory, copy = oci.MemoryStore(), oci.MemoryStore()
    config = await push_blob(memory, b"{}", oci.MediaType.IMAGE_CONFIG)
    manifest = oci.Manifest.of(oci.ImageManifest(config=config, layers=(foreign,)))
    await memory.push_manifest(manifest, tags=["v1"])

    report = await oci.copy(memory, "v1", copy)

    assert report.blobs == {oci.CopyOutcome.COPIED: 1, oci.CopyOutcome.FOREIGN: 1}


async def test_a_manifest_of_unknown_kind_is_refused() -> None:
    """What it needs is not known, so a copy of it could not be whole."""
    memory = oci.MemoryStore()
    raw = b'{"schemaVersion": 2, "mediaType": "application/vnd.example.thing.v1+json"}'
    await memory.push_manifest(oci.Manifest.parse(raw), tags=["v1"])

    with pytest.raises(oci.CopyError) as caught:
        await oci.copy(memory, "v1", oci.MemoryStore())

    assert [type(error) for error in caught.value.errors] == [oci.UnsupportedError]


async def test_indexes_too_deep_are_refused() -> None:
    """A hostile registry may nest indexes without end."""
    memory = oci.MemoryStore()
    manifest = await push_image(memory)
    for number in range(10):
        manifest = await push_index(memory, [manifest], tag=f"v{number}")

    await oci.copy(memory, "v3", oci.MemoryStore())
    with pytest.raises(oci.CopyError) as caught:
        await oci.copy(memory, "v9", oci.MemoryStore())

    assert "indexes deep" in str(caught.value)


async def test_indexes_are_not_held_all_at_once() -> None:
    """An index may list any number of others, each of up to 4 MiB."""
    memory = oci.MemoryStore()
    shared = await push_image(memory)
    others = []
    for number in range(20):
        own = await push_image(memory, [f"layer {number}".encode()])
        others.append(await push_index(memory, [shared, own]))
    # The first of all again, further down: what is done is not waited for.
    top = await push_index(memory, [*others, await push_index(memory, [others[0], own])], tag="v1")
    held: set[oci.Digest] = set()
    most = 0

    class Source(oci.MemoryStore):
        async def fetch_manifest(self, reference: str) -> oci.Manifest:
            nonlocal most
            manifest = await memory.fetch_manifest(reference)
            if manifest.media_type == oci.MediaType.IMAGE_INDEX:
                held.add(manifest.digest)
                most = max(most, len(held))
            return manifest

        open_blob = memory.open_blob

    class Target(oci.MemoryStore):
        async def push_manifest(self, manifest: oci.Manifest, *, tags: Sequence[str] = ()) -> None:
            await anyio.lowlevel.checkpoint()
            await super().push_manifest(manifest, tags=tags)
            held.discard(manifest.digest)

    target = Target()
    report = await oci.copy(Source(), "v1", target)

    assert report.root.digest == top.digest
    assert await holdings(target, "v1") == await holdings(memory, "v1")
    assert most == 2


async def test_an_index_in_the_place_of_an_image_is_refused() -> None:
    """Children that are announced as images and are indexes would take every slot, and wait for ever."""
    memory = oci.MemoryStore()
    children = []
    for number in range(20):
        image = await push_image(memory, os=f"os{number}")
        disguised = (await push_index(memory, [image])).descriptor
        children.append(disguised.model_copy(update={"media_type": oci.MediaType.IMAGE_MANIFEST}))
    top = oci.Manifest.of(oci.ImageIndex(manifests=tuple(children)))
    await memory.push_manifest(top, tags=["v1"])

    with anyio.fail_after(20), pytest.raises(oci.CopyError) as caught:
        await oci.copy(memory, "v1", oci.MemoryStore())

    assert {type(error) for error in caught.value.errors} == {oci.InvalidManifest}


async def test_a_child_that_is_no_manifest_is_refused() -> None:
    """Whether the target holds a blob of that digest makes no difference."""
    memory = oci.MemoryStore()
    blob = await push_blob(memory, b"{}", "application/foo")
    await memory.push_manifest(oci.Manifest.of(oci.ImageIndex(manifests=(blob,))), tags=["v1"])

    with pytest.raises(oci.CopyError, match="cannot copy") as caught:
        await oci.copy(memory, "v1", oci.MemoryStore())

    assert [type(error) for error in caught.value.errors] == [oci.UnsupportedError]


async def test_a_config_is_never_foreign(target: oci.Repository) -> None:
    """Only layers may stay with their owner: an image without its config is none."""
    memory = oci.MemoryStore()
    config = await push_blob(memory, b"{}", "application/vnd.oci.image.layer.nondistributable.v1.tar")
    await memory.push_manifest(oci.Manifest.of(oci.ImageManifest(config=config)), tags=["v1"])

    report = await oci.copy(memory, "v1", target)

    assert report.blobs == {oci.CopyOutcome.COPIED: 1}


async def test_progress_adds_up(index: oci.Manifest, source: oci.Repository, target: oci.Repository) -> None:
    """All that is discovered is finished, and each blob is transferred to its last byte."""
    seen: list[oci.Event] = []

    with oci.observe(seen.append):
        await oci.copy(source, "v1", target)

    discovered = {event.descriptor.digest for event in seen if isinstance(event, oci.Discovered)}
    finished = {event.descriptor.digest for event in seen if isinstance(event, oci.Finished)}
    positions = {e.descriptor.digest: e.position for e in seen if isinstance(e, oci.Transferred)}
    sizes = {e.descriptor.digest: e.descriptor.size for e in seen if isinstance(e, oci.Transferred)}
    assert discovered == finished
    assert len(finished) == 8
    assert positions == sizes


@pytest.mark.usefixtures("index")
async def test_a_cancelled_copy_leaves_nothing_behind(source: oci.Repository, client: oci.Client) -> None:
    """No upload session, no tag, and the client goes on working."""
    async with serve_registry() as there:
        target = client.registry(there.url).repository("team/target")
        held = _HeldBack(source)
        async with anyio.create_task_group() as group:
            group.start_soon(oci.copy, held, "v1", target)
            await held.reached.wait()
            assert there.app.uploads
            group.cancel_scope.cancel()

        assert not there.app.uploads
        with pytest.raises(oci.NotFound):
            await target.resolve("v1")
        report = await oci.copy(source, "v1", target)
        assert report.root.digest in await holdings(target, "v1")


class _HeldBack(_Unmountable):
    """A store whose large blobs stop in the middle, for ever."""

    def __init__(self, store: oci.Repository) -> None:
        super().__init__(store)
        self.reached = anyio.Event()

    @asynccontextmanager
    async def open_blob(
        self, descriptor: oci.Descriptor, *, start: int = 0
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        async def pieces(stream: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
            async for piece in stream:
                yield piece
                if descriptor.size > 1000:
                    self.reached.set()
                    await anyio.sleep_forever()

        async with self._store.open_blob(descriptor, start=start) as stream:
            yield pieces(stream)
