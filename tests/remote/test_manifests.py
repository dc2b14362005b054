"""Stat, get and push of manifests."""

from __future__ import annotations

import json

import pytest

import oci_distribution as oci
from oci_distribution.spec.platform import parse_platform
from oci_distribution.testing import RunningRegistry
from tests.hostile import Exchange, hostile
from tests.images import push_blob, push_image, push_index

RAW = b'{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}'
DIGEST = oci.Digest.of(RAW)
OTHER = oci.Digest.of(b"other")
INDEX = oci.MediaType.IMAGE_INDEX


async def test_what_is_pushed_is_got_byte_for_byte(repo: oci.Repository) -> None:
    """White space and all: a manifest is its bytes."""
    manifest = oci.Manifest.parse(RAW)

    descriptor = await repo.manifests.push(manifest, tags=["v1", "latest"])

    assert descriptor == manifest.descriptor
    for reference in ("v1", "latest", DIGEST):
        assert (await repo.manifests.get(reference)).raw == RAW
        assert await repo.manifests.stat(reference) == descriptor


async def test_without_tags_it_is_there_by_digest(repo: oci.Repository, registry: RunningRegistry) -> None:
    """One PUT, to the digest."""
    await repo.manifests.push(oci.Manifest.parse(RAW))

    assert [(request.method, request.path) for request in registry.requests] == [
        ("PUT", f"/v2/team/app/manifests/{DIGEST}")
    ]


async def test_a_descriptor_will_do(repo: oci.Repository) -> None:
    """Wherever a digest does; and what is got is checked against all that it says."""
    descriptor = await repo.manifests.push(oci.Manifest.parse(RAW))
    blob = await repo.blobs.push(b"x")

    assert await repo.manifests.stat(descriptor) == descriptor
    assert (await repo.manifests.get(descriptor)).raw == RAW
    with pytest.raises(oci.SizeMismatch):
        await repo.manifests.get(descriptor.model_copy(update={"size": 1}))
    assert await repo.manifests.delete(descriptor)
    assert await repo.blobs.stat(blob) == blob
    assert await repo.registry.repository("other").blobs.mount(blob, repo.name)
    assert await repo.blobs.delete(blob)


async def test_stat_asks_by_head(repo: oci.Repository, registry: RunningRegistry) -> None:
    """Docker Hub counts GETs of manifests, and not HEADs."""
    await repo.manifests.push(oci.Manifest.parse(RAW), tags=["v1"])
    registry.requests.clear()

    await repo.manifests.stat("v1")

    assert [request.method for request in registry.requests] == ["HEAD"]


async def test_every_known_type_is_accepted(repo: oci.Repository, registry: RunningRegistry) -> None:
    """With a short list Quay converts, and the digest is another; HEAD and GET ask alike."""
    await repo.manifests.push(oci.Manifest.parse(RAW), tags=["v1"])

    await repo.manifests.stat("v1")
    await repo.manifests.get("v1")

    head, get = [request.headers["accept"] for request in registry.requests if request.method != "PUT"]
    assert head == get == oci.manifest_accept_header()


async def test_an_index_and_its_images(repo: oci.Repository) -> None:
    """The typed view leads from an index to its images."""
    image = await push_image(repo)
    await push_index(repo, [image], tag="v1")

    index = await repo.manifests.get("v1")

    assert isinstance(index.content, oci.ImageIndex)
    child = await repo.manifests.get(index.children[0].digest)
    assert isinstance(child.content, oci.ImageManifest)
    assert child.verify(index.children[0]) is child


@pytest.mark.parametrize(
    "told", [{oci.DOCKER_CONTENT_DIGEST: ""}, {"Content-Type": ""}, {"Content-Type": "not a type"}]
)
async def test_a_head_that_does_not_tell_is_followed_by_a_get(
    client: oci.Client, told: dict[str, str]
) -> None:
    """Old registries leave the digest out of a HEAD; the body has it, and what kind of manifest it is."""

    async def script(exchange: Exchange) -> None:
        headers = {oci.DOCKER_CONTENT_DIGEST: DIGEST, "Content-Type": INDEX}
        if exchange.method == "HEAD":
            headers |= told
        await exchange.answer(200, RAW, headers.items())

    async with hostile(script) as server:
        descriptor = await client.registry(server.url).stat_manifest("a/b", "v1")

    assert [request.method for request in server.requests] == ["HEAD", "GET"]
    assert descriptor == oci.Descriptor(media_type=INDEX, digest=DIGEST, size=len(RAW))


@pytest.mark.parametrize("status", [400, 403, 405, 406, 501])
async def test_a_refused_head_is_followed_by_a_get(client: oci.Client, status: int) -> None:
    """Some proxies refuse HEAD alone; when the GET is refused, too, it says why."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(status if exchange.method == "HEAD" else 200, RAW, [("Content-Type", INDEX)])

    async with hostile(script) as server:
        descriptor = await client.registry(server.url).stat_manifest("a/b", "v1")

    assert descriptor.digest == DIGEST


async def test_a_lie_about_the_digest_is_found_out(client: oci.Client) -> None:
    """By tag, the header must name what the bytes hash to."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, RAW, [("Content-Type", INDEX), (oci.DOCKER_CONTENT_DIGEST, OTHER)])

    async with hostile(script) as server:
        registry = client.registry(server.url)
        with pytest.raises(oci.DigestMismatch) as got:
            await registry.get_manifest("a/b", "v1")
        with pytest.raises(oci.DigestMismatch):
            await registry.stat_manifest("a/b", DIGEST)

    assert (got.value.method, got.value.status, got.value.registry) == ("GET", 200, registry.name)
    assert server.url in str(got.value)


async def test_other_bytes_than_the_digest_says_are_found_out(client: oci.Client) -> None:
    """A pinned digest decides, whatever the header says (GHSA-qv35-3gw6-8q4j)."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, RAW, [("Content-Type", INDEX), (oci.DOCKER_CONTENT_DIGEST, OTHER)])

    async with hostile(script) as server:
        with pytest.raises(oci.DigestMismatch):
            await client.registry(server.url).get_manifest("a/b", OTHER)


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("text/html; charset=utf-8", b"<html>sign in</html>", oci.ProtocolError),
        (INDEX, b"<html>sign in</html>", oci.InvalidManifest),
        (INDEX, b"", oci.InvalidManifest),
        (oci.MediaType.IMAGE_MANIFEST, RAW, oci.InvalidManifest),
        (INDEX, b'{"schemaVersion": 2, "manifests": [], "layers": []}', oci.InvalidManifest),
        (INDEX, b"[]", oci.InvalidManifest),
        (INDEX, b" " * (4 << 20) + RAW, oci.LimitExceeded),
    ],
)
async def test_what_is_no_manifest_is_refused(
    client: oci.Client, content_type: str, body: bytes, expected: type[oci.OCIError]
) -> None:
    """A web page, another kind, an ambiguous document or too much of it: a typed error about the request."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, body, [("Content-Type", content_type)])

    async with hostile(script) as server:
        with pytest.raises(expected) as caught:
            await client.registry(server.url).get_manifest("a/b", "v1")

    assert server.url in str(caught.value)


@pytest.mark.parametrize("digest", ["sha256:../../x", "sha256:ABC", "md5:0", "no"])
async def test_a_header_that_is_no_digest_is_a_protocol_error(client: oci.Client, digest: str) -> None:
    """What a registry says is checked like what a user says."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, RAW, [("Content-Type", INDEX), (oci.DOCKER_CONTENT_DIGEST, digest)])

    async with hostile(script) as server:
        with pytest.raises(oci.ProtocolError):
            await client.registry(server.url).get_manifest("a/b", "v1")


async def test_a_push_that_was_stored_as_something_else_is_found_out(client: oci.Client) -> None:
    """A registry that rewrites manifests says so by its digest."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.answer(201, headers=[(oci.DOCKER_CONTENT_DIGEST, OTHER)])

    async with hostile(script) as server:
        with pytest.raises(oci.DigestMismatch):
            await client.registry(server.url).push_manifest("a/b", oci.Manifest.parse(RAW), ["v1"])


async def test_a_manifest_whose_parts_are_missing_is_refused(repo: oci.Repository) -> None:
    """The registry's own word, as its class."""
    missing = oci.Descriptor(media_type=oci.MediaType.IMAGE_CONFIG, digest=OTHER, size=5)

    with pytest.raises(oci.ManifestBlobUnknown):
        await repo.manifests.push(oci.Manifest.of(oci.ImageManifest(config=missing)), tags=["v1"])


@pytest.mark.parametrize("reference", ["", "a/b", "-x", "sha256:abc", "v1?x=y", "../blobs", "a" * 129])
async def test_bad_references_never_leave(
    repo: oci.Repository, registry: RunningRegistry, reference: str
) -> None:
    """A reference is checked before a URL is built from it."""
    manifest = oci.Manifest.parse(RAW)
    with pytest.raises(oci.InvalidArgument):
        await repo.manifests.get(reference)
    with pytest.raises(oci.InvalidArgument):
        await repo.manifests.stat(reference)
    with pytest.raises(oci.InvalidArgument):
        await repo.manifests.push(manifest, tags=["good", reference])
    with pytest.raises(oci.InvalidReference):
        await repo.registry.get_manifest("Bad/../Name", "v1")

    assert len(registry.requests) == 0


async def test_one_string_is_no_sequence_of_tags(repo: oci.Repository, registry: RunningRegistry) -> None:
    """Its letters would become the tags."""
    with pytest.raises(TypeError, match="latest"):
        await repo.manifests.push(oci.Manifest.parse(RAW), tags="latest")

    assert len(registry.requests) == 0


async def test_a_long_manifest_is_taken_when_the_user_says_so(registry: RunningRegistry) -> None:
    """The limit is an option."""
    content = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "annotations": {"x": "y" * 2000}}
    manifest = oci.Manifest.parse(json.dumps(content).encode())
    async with oci.Client(max_manifest=1000) as strict, oci.Client() as usual:
        await usual.registry(registry.url).push_manifest("a/b", manifest, ["v1"])

        assert (await usual.registry(registry.url).get_manifest("a/b", "v1")).digest == manifest.digest
        with pytest.raises(oci.LimitExceeded):
            await strict.registry(registry.url).get_manifest("a/b", "v1")


async def push_platforms(repo: oci.Repository, *platforms: str) -> dict[str, oci.Manifest]:
    """Push an image for each platform and an index of them, `v1`."""
    images = {}
    for platform in platforms:
        os, architecture = platform.split("/")
        config = await push_blob(
            repo, json.dumps({"os": os, "architecture": architecture}).encode(), oci.MediaType.IMAGE_CONFIG
        )
        images[platform] = oci.Manifest.of(oci.ImageManifest(config=config))
        await repo.manifests.push(images[platform], tags=[platform.replace("/", "-")])
    entries = [
        image.descriptor.model_copy(update={"platform": parse_platform(platform)})
        for platform, image in images.items()
    ]
    await repo.manifests.push(oci.Manifest.of(oci.ImageIndex(manifests=tuple(entries))), tags=["v1"])
    return images


async def test_an_image_for_a_platform(repo: oci.Repository, registry: RunningRegistry) -> None:
    """The index is fetched, then the one image, and both are verified."""
    images = await push_platforms(repo, "linux/amd64", "linux/arm64")
    registry.requests.clear()

    assert await repo.manifests.get("v1", platform="linux/arm64") == images["linux/arm64"]
    assert [request.method for request in registry.requests] == ["GET", "GET"]
    index = await repo.manifests.get("v1")
    assert [str(platform) for platform in index.platforms] == ["linux/amd64", "linux/arm64"]


async def test_no_image_for_a_platform(repo: oci.Repository) -> None:
    """The error says which platforms there are."""
    await push_platforms(repo, "linux/amd64", "linux/arm64")

    with pytest.raises(oci.NotFound, match=r"linux/s390x .* its platforms: linux/amd64, linux/arm64"):
        await repo.manifests.get("v1", platform="linux/s390x")


async def test_an_image_alone_has_to_be_for_the_platform(repo: oci.Repository) -> None:
    """Without an index its config tells."""
    images = await push_platforms(repo, "linux/amd64")

    assert await repo.manifests.get("linux-amd64", platform="linux/amd64") == images["linux/amd64"]
    with pytest.raises(oci.NotFound, match="is for linux/amd64, not for linux/arm64"):
        await repo.manifests.get("linux-amd64", platform="linux/arm64")


async def test_an_artifact_has_no_platform(repo: oci.Repository) -> None:
    """What is no image is for every platform."""
    config = await push_blob(repo, b"{}", oci.MediaType.EMPTY_JSON)
    artifact = oci.Manifest.of(oci.ImageManifest(config=config, artifact_type="text/x"))
    await repo.manifests.push(artifact, tags=["v1"])

    assert await repo.manifests.get("v1", platform="linux/arm64") == artifact


async def test_an_index_in_an_index(repo: oci.Repository) -> None:
    """Indexes are followed as far as they go, within reason, whether they say what they are for or not."""
    images = await push_platforms(repo, "linux/arm64")
    for depth in range(1, 17):
        entry = (await repo.manifests.get(f"v{depth}")).descriptor
        if depth % 2:
            entry = entry.model_copy(update={"platform": parse_platform("linux/arm64")})
        outer = oci.Manifest.of(oci.ImageIndex(manifests=(entry,)))
        await repo.manifests.push(outer, tags=[f"v{depth + 1}"])

    assert await repo.manifests.get("v16", platform="linux/arm64") == images["linux/arm64"]
    with pytest.raises(oci.InvalidManifest, match="more than 16 indexes"):
        await repo.manifests.get("v17", platform="linux/arm64")


async def test_several_indexes_in_an_index(repo: oci.Repository, registry: RunningRegistry) -> None:
    """They are looked into in order, until one has an image; where the index has one itself, that is it."""
    image = (await push_platforms(repo, "windows/amd64"))["windows/amd64"]
    inner = [(await repo.manifests.get("v1")).descriptor]
    wanted = (await push_platforms(repo, "linux/arm64"))["linux/arm64"]
    inner.append((await repo.manifests.get("v1")).descriptor)
    entry = image.descriptor.model_copy(update={"platform": parse_platform("windows/amd64")})
    await repo.manifests.push(oci.Manifest.of(oci.ImageIndex(manifests=(*inner, entry))), tags=["v2"])
    registry.requests.clear()

    assert await repo.manifests.get("v2", platform="linux/arm64") == wanted
    assert len(registry.requests) == 4
    assert await repo.manifests.get("v2", platform="windows/amd64") == image
    assert len(registry.requests) == 6
    with pytest.raises(oci.NotFound, match="nothing for linux/s390x"):
        await repo.manifests.get("v2", platform="linux/s390x")


async def test_a_bad_platform_never_leaves(repo: oci.Repository, registry: RunningRegistry) -> None:
    """It is refused before any request."""
    with pytest.raises(oci.InvalidArgument, match="os/architecture"):
        await repo.manifests.get("v1", platform="arm64")

    assert len(registry.requests) == 0


async def test_a_manifest_that_has_not_changed(repo: oci.Repository, registry: RunningRegistry) -> None:
    """The registry is told what we have, and sends nothing."""
    image = await push_image(repo, tag="v1")
    registry.requests.clear()

    assert await repo.manifests.get_if_changed("v1", image.descriptor) is None
    assert [(request.method, request.status) for request in registry.requests] == [("GET", 304)]

    other = await push_image(repo, [b"other"], tag="v1")
    assert await repo.manifests.get_if_changed("v1", image.digest) == other


async def test_a_registry_that_knows_no_conditions(client: oci.Client) -> None:
    """What it sends again is compared."""
    raw = json.dumps({"schemaVersion": 2, "mediaType": oci.MediaType.IMAGE_INDEX, "manifests": []}).encode()

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, raw, [("Content-Type", oci.MediaType.IMAGE_INDEX)])

    async with hostile(script) as server:
        manifests = client.registry(server.url).repository("a").manifests
        for algorithm in ("sha256", "sha512"):
            assert await manifests.get_if_changed("v1", oci.Digest.of(raw, algorithm)) is None


async def test_a_tag_that_moved(repo: oci.Repository, registry: RunningRegistry) -> None:
    """One HEAD tells; a tag that is gone has moved, too."""
    image = await push_image(repo, tag="v1")
    registry.requests.clear()

    assert not await repo.tags.has_moved("v1", image.descriptor)
    assert [request.method for request in registry.requests] == ["HEAD"]
    await push_image(repo, [b"other"], tag="v1")
    assert await repo.tags.has_moved("v1", image.digest)
    assert await repo.tags.has_moved("gone", image.digest)
