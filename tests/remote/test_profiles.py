"""Our client against every registry: it works, or says with a typed error what the registry refuses."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

import oci_distribution as oci
from oci_distribution.testing import PROFILES, MemoryStorage, RunningRegistry, TokenAuth, User, serve_registry
from tests.images import holdings, push_image, push_index

LAYER = b"layer one"
LONG = bytes(21 << 20)


@dataclass
class World:
    """A registry with an image and an index in it, and our client."""

    client: oci.Client
    registry: RunningRegistry
    image: oci.Manifest
    index: oci.Manifest

    def repository(self, name: str = "team/app") -> oci.Repository:
        return self.client.registry(self.registry.url).repository(name)


async def ann(host: str, repository: str | None) -> oci.Credential:
    del host, repository
    return oci.Credential(username="ann", password="secret")


def stocked() -> tuple[MemoryStorage, oci.Manifest, oci.Manifest]:
    """Return a storage with an index of two images, and one of these; no request is spent on it."""
    storage = MemoryStorage()
    repository = storage.open("team/app")

    def blob(data: bytes, media_type: str) -> oci.Descriptor:
        descriptor = oci.Descriptor(media_type=media_type, digest=oci.Digest.of(data), size=len(data))
        repository.put_content(descriptor.digest, data)
        return descriptor

    def image(*layers: bytes) -> oci.Manifest:
        config = blob(b'{"os":"linux","architecture":"amd64"}', oci.MediaType.IMAGE_CONFIG)
        pushed = tuple(blob(layer, oci.MediaType.IMAGE_LAYER) for layer in layers)
        return oci.Manifest.of(oci.ImageManifest(config=config, layers=pushed))

    images = image(LAYER), image(LAYER, b"more")
    index = oci.Manifest.of(oci.ImageIndex(manifests=tuple(image.descriptor for image in images)))
    repository.put_manifest(images[0], ["image"])
    repository.put_manifest(images[1])
    repository.put_manifest(index, ["v1"])
    return storage, images[0], index


@asynccontextmanager
async def world(profile: str) -> AsyncGenerator[World]:
    storage, image, index = stocked()
    auth = TokenAuth(users={"ann": "secret"})
    async with (
        serve_registry(profile=profile, auth=auth, storage=storage) as registry,
        oci.Client(auth_provider=ann, retry=oci.RetryPolicy(base_delay=0.001)) as client,
    ):
        yield World(client, registry, image, index)


async def ping(world: World) -> None:
    await world.client.registry(world.registry.url).ping()


async def stat(world: World) -> None:
    assert await world.repository().manifests.stat("v1") == world.index.descriptor


async def get_by_tag(world: World) -> None:
    assert (await world.repository().manifests.get("v1")).raw == world.index.raw


async def get_by_digest(world: World) -> None:
    assert (await world.repository().manifests.get(world.image.digest)).raw == world.image.raw


async def get_missing_tag(world: World) -> None:
    with pytest.raises(oci.ManifestUnknown):
        await world.repository().manifests.get("v2")


async def stat_blob(world: World) -> None:
    assert (await world.repository().blobs.stat(oci.Digest.of(LAYER))).size == len(LAYER)


async def read_blob(world: World) -> None:
    assert await world.repository().blobs.read(oci.Digest.of(LAYER)) == LAYER


async def open_blob(world: World) -> None:
    async with world.repository().blobs.open(oci.Digest.of(LAYER)) as reader:
        assert b"".join([piece async for piece in reader]) == LAYER
    assert reader.verified


async def read_missing_blob(world: World) -> None:
    with pytest.raises(oci.BlobUnknown):
        await world.repository().blobs.read(oci.Digest.of(b"never pushed"))


async def push_bytes(world: World) -> None:
    descriptor = await world.repository().blobs.push(b"new")
    assert await world.repository().blobs.read(descriptor) == b"new"


async def push_nothing(world: World) -> None:
    descriptor = await world.repository().blobs.push(b"")
    assert await world.repository().blobs.read(descriptor) == b""


async def push_file(world: World) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "layer"
        path.write_bytes(b"from a file")
        descriptor = await world.repository().blobs.push(path)
    assert await world.repository().blobs.read(descriptor) == b"from a file"


async def push_long_blob(world: World) -> None:
    descriptor = await world.repository().blobs.push(LONG)
    assert (await world.repository().blobs.stat(descriptor.digest)).size == len(LONG)


async def push_in_chunks(world: World) -> None:
    descriptor = await world.repository().blobs.push(LONG[:250_000], chunk_size=100_000)
    assert (await world.repository().blobs.stat(descriptor.digest)).size == 250_000


async def push_stream(world: World) -> None:
    """Nobody knows its length before its end."""

    async def pieces() -> AsyncGenerator[bytes]:
        for _ in range(25):
            yield LONG[:10_000]

    descriptor = await world.repository().blobs.push(pieces(), chunk_size=100_000)
    assert (await world.repository().blobs.stat(descriptor.digest)).size == 250_000


async def suspend_and_resume(world: World) -> None:
    """One writer begins, another one ends it."""
    blobs = world.repository().blobs
    async with blobs.writer(chunk_size=100_000) as writer:
        await writer.write(LONG[:150_000])
        session = await writer.suspend()
    if world.registry.app.profile.name == "ecr-public":
        world.registry.app.uploads.clear()  # it stays where it cannot be asked for
    async with blobs.resume(session, prefix=lambda: _once(LONG[:150_000])) as writer:
        await writer.write(LONG[writer.size : 250_000])
        descriptor = await writer.commit()
    assert (await blobs.stat(descriptor.digest)).size == 250_000


async def _once(data: bytes) -> AsyncGenerator[bytes]:
    yield data


async def push_with_known_rules(world: World) -> None:
    """A user who says that a registry takes no chunks need not know more."""
    host = world.registry.host
    hosts = {host: oci.HostConfig(profile=oci.RegistryProfile(chunks=False))}
    async with oci.Client(auth_provider=ann, hosts=hosts) as client:
        blobs = client.registry(world.registry.url).repository("team/app").blobs
        async with blobs.writer(chunk_size=100_000) as writer:
            await writer.write(LONG[:250_000])
            descriptor = await writer.commit()
        assert (await blobs.stat(descriptor.digest)).size == 250_000


async def mount(world: World) -> None:
    """Mounted or sent again, it is there; from another account, too."""
    layer = world.image.children[1]
    for name in ("team/other", "foreign/app"):
        target = world.repository(name)
        await target.push_blob(layer, oci.BytesSource(LAYER), mount_from=world.repository().mount_point)
        assert await target.blobs.read(layer) == LAYER


async def push_with_tags(world: World) -> None:
    await world.repository().manifests.push(world.image, tags=["v2", "v3"])
    assert await world.repository().manifests.stat("v3") == world.image.descriptor


async def push_by_digest(world: World) -> None:
    image = await push_image(world.repository(), [LAYER], os="plan9")
    assert (await world.repository().manifests.get(image.digest)).raw == image.raw


async def retag_as_image(world: World) -> None:
    await world.repository().manifests.push(world.image, tags=["v1"])
    assert await world.repository().manifests.stat("v1") == world.image.descriptor


async def push_docker_image(world: World) -> None:
    docker = oci.DockerManifest(config=world.image.children[0], layers=world.image.children[1:])
    await world.repository().manifests.push(oci.Manifest.of(docker), tags=["docker"])
    assert (await world.repository().manifests.get("docker")).media_type == oci.MediaType.DOCKER_MANIFEST


async def list_tags(world: World) -> None:
    assert [tag async for tag in world.repository().tags.list()] == ["image", "v1"]


async def list_tags_one_by_one(world: World) -> None:
    assert [tag async for tag in world.repository().tags.list(page_size=1)] == ["image", "v1"]


async def list_tags_in_long_pages(world: World) -> None:
    assert [tag async for tag in world.repository().tags.list(page_size=1001)] == ["image", "v1"]


async def list_repositories(world: World) -> None:
    registry = world.client.registry(world.registry.url)
    assert [name async for name in registry.list_repositories()] == ["team/app"]


async def copy_out(world: World) -> None:
    memory = oci.MemoryStore()
    await oci.copy(world.repository(), "v1", memory)
    assert await holdings(memory, "v1") == await holdings(world.repository(), "v1")


async def copy_in(world: World) -> None:
    memory = oci.MemoryStore()
    images = [await push_image(memory, [LAYER, name.encode()], os=name) for name in ("linux", "windows")]
    await push_index(memory, images, tag="v1")
    await oci.copy(memory, "v1", world.repository("team/mirror"))
    assert await holdings(world.repository("team/mirror"), "v1") == await holdings(memory, "v1")


async def copy_within(world: World) -> None:
    await oci.copy(world.repository(), "v1", world.repository("foreign/mirror"))
    mirrored = await holdings(world.repository("foreign/mirror"), "v1")
    assert mirrored == await holdings(world.repository(), "v1")


async def list_no_referrers(world: World) -> None:
    assert await world.repository().referrers.get(world.index.digest) == []


async def push_referrer(world: World) -> None:
    """A signature is found again, by the API or by the list that its pusher keeps under a tag."""
    repository = world.repository()
    config = await repository.blobs.push(b"{}", media_type="application/vnd.example.signature")
    signature = oci.Manifest.of(oci.ImageManifest(config=config, subject=world.image.descriptor))
    await repository.manifests.push(signature)
    found = await repository.referrers.get(world.image.digest)
    assert [descriptor.digest for descriptor in found] == [signature.digest]


async def push_under_new_tag(world: World) -> None:
    """Once it is there, it stays where it is."""
    manifests = world.repository().manifests
    await manifests.push(world.image, tags=["new"], if_absent=True)
    with pytest.raises(oci.TagExists):
        await manifests.push(world.index, tags=["new"], if_absent=True)
    assert await manifests.stat("new") == world.image.descriptor


async def get_by_platform(world: World) -> None:
    assert (await world.repository().manifests.get("image", platform="linux/amd64")).raw == world.image.raw


async def get_unchanged(world: World) -> None:
    assert await world.repository().manifests.get_if_changed("v1", world.index.digest) is None
    assert not await world.repository().tags.has_moved("v1", world.index.digest)


async def delete_tag(world: World) -> None:
    await world.repository().tags.delete("v1")
    assert [tag async for tag in world.repository().tags.list()] == ["image"]


async def delete_manifest(world: World) -> None:
    await world.repository().manifests.delete(world.index.digest)
    with pytest.raises(oci.ManifestUnknown):
        await world.repository().manifests.stat(world.index.digest)


async def delete_blob(world: World) -> None:
    await world.repository().blobs.delete(oci.Digest.of(LAYER))
    with pytest.raises(oci.BlobUnknown):
        await world.repository().blobs.stat(oci.Digest.of(LAYER))


# What may be done, and the requests that it takes at most: a challenge, tokens, redirects and reading back.
OPERATIONS: dict[Callable[[World], Awaitable[None]], int] = {
    ping: 3,
    stat: 3,
    get_by_tag: 3,
    get_by_digest: 3,
    get_missing_tag: 3,
    stat_blob: 4,
    read_blob: 4,
    open_blob: 4,
    read_missing_blob: 3,
    push_bytes: 8,
    push_nothing: 8,
    push_file: 8,
    push_long_blob: 22,
    push_in_chunks: 14,
    push_stream: 12,
    suspend_and_resume: 14,
    push_with_known_rules: 8,
    mount: 15,
    push_with_tags: 7,
    push_under_new_tag: 8,
    push_by_digest: 10,
    retag_as_image: 4,
    push_docker_image: 4,
    list_tags: 3,
    list_tags_one_by_one: 4,
    list_tags_in_long_pages: 5,
    list_repositories: 3,
    list_no_referrers: 4,
    push_referrer: 16,
    get_by_platform: 5,
    get_unchanged: 4,
    delete_tag: 5,
    delete_manifest: 6,
    delete_blob: 5,
    copy_out: 24,
    copy_in: 40,
    copy_within: 60,
}

NO_DELETES = ("distribution-2.8", "distribution-3", "docker-hub", "ghcr")

# What a registry refuses, and the error that says so. Everything else works.
REFUSED: dict[tuple[str, Callable[[World], Awaitable[None]]], type[oci.OCIError]] = {
    **{
        (profile, operation): oci.Unsupported
        for profile in NO_DELETES
        for operation in (delete_tag, delete_manifest, delete_blob)
    },
    ("docker-hub", list_repositories): oci.Unauthorized,
    ("gar", delete_manifest): oci.Unsupported,
    # It takes the tag of the list for the subject itself.
    ("gitlab", push_referrer): oci.UnsupportedError,
    # What cannot be sent again from its start needs chunks, unless the registry is known to have none.
    ("gar", push_stream): oci.Unsupported,
    ("gar", suspend_and_resume): oci.Unsupported,
    ("ecr-public", suspend_and_resume): oci.BlobUploadUnknown,
    ("artifactory", push_in_chunks): oci.SizeMismatch,
    ("artifactory", push_stream): oci.SizeMismatch,
    ("artifactory", suspend_and_resume): oci.SizeMismatch,
    ("zot", push_docker_image): oci.ManifestInvalid,
    ("zot", retag_as_image): oci.ManifestInvalid,
}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
@pytest.mark.parametrize("profile", PROFILES)
async def test_every_operation_at_every_registry(
    profile: str, operation: Callable[[World], Awaitable[None]]
) -> None:
    """It works or raises the error of the table, after few requests, and leaves no upload behind."""
    async with world(profile) as here:
        error = REFUSED.get((profile, operation))
        if error is None:
            await operation(here)
        else:
            with pytest.raises(error) as caught:
                await operation(here)
            assert type(caught.value) is error
        assert len(here.registry.requests) <= OPERATIONS[operation], here.registry.requests
        assert not here.registry.app.uploads


async def test_mount_from_where_we_may_not_read() -> None:
    """GitLab answers 401 to such a mount: the blob is sent, and the push goes on."""
    rights = {"mine": {"pull", "push"}}
    auth = TokenAuth(users={"ann": User("secret", rights)})
    async with (
        serve_registry(profile="gitlab", auth=auth) as registry,
        oci.Client(auth_provider=ann) as client,
    ):
        mine, secret = (client.registry(registry.url).repository(name) for name in ("mine", "secret"))
        layer = oci.Descriptor(
            media_type=oci.MediaType.IMAGE_LAYER, digest=oci.Digest.of(LAYER), size=len(LAYER)
        )
        outcome = await mine.push_blob(layer, oci.BytesSource(LAYER), mount_from=secret.mount_point)
        assert outcome is oci.PushOutcome.COPIED
        posts = [(request.query, request.status) for request in registry.requests if request.method == "POST"]
        refused = f"mount={layer.digest}&from=secret"
        assert [status for query, status in posts if query == refused][-1] == 401
        assert posts[-1] == (f"digest={layer.digest}", 201)
        assert len(posts) <= 4


async def test_pulls_beyond_the_limit() -> None:
    """Docker Hub's 429 is an error that says so, at once, since it is for hours; HEAD goes on working."""
    async with world("docker-hub") as here:
        for _ in range(100):
            await here.repository().manifests.get("v1")
        with pytest.raises(oci.TooManyRequests) as caught:
            await here.repository().manifests.get("v1")
        assert caught.value.attempts == ()
        assert caught.value.retry_after == 21600
        statuses = [request.status for request in here.registry.requests if request.method == "GET"]
        assert (statuses.count(200), statuses.count(429)) == (101, 1)  # the token is one of them
        assert await here.repository().manifests.stat("v1") == here.index.descriptor


async def test_cookies_of_harbor_with_a_client_that_keeps_them() -> None:
    """A user's own HTTP client has a cookie jar: what we send does not come from it."""
    async with (
        serve_registry(profile="harbor") as registry,
        httpx.AsyncClient() as http,
        oci.Client(http=http) as client,
    ):
        repository = client.registry(registry.url).repository("team/app")
        await push_image(repository, [LAYER], tag="v1")
        assert not any("cookie" in request.headers for request in registry.requests)
