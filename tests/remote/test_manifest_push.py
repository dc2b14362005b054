"""Manifests under several tags, under tags that must not move, and by other digests than sha256."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

import oci_distribution as oci
from oci_distribution.testing import Fault, RunningRegistry, serve_registry
from tests.images import push_image


@pytest.fixture
async def image(repo: oci.Repository, registry: RunningRegistry) -> oci.Manifest:
    pushed = await push_image(repo)
    registry.requests.clear()
    return pushed


@pytest.fixture
async def old(client: oci.Client) -> AsyncGenerator[tuple[oci.Repository, RunningRegistry]]:
    """A registry that knows nothing of tags in the query."""
    async with serve_registry(profile="distribution-2.8") as registry:
        yield client.registry(registry.url).repository("team/app"), registry


def sent(registry: RunningRegistry) -> list[str]:
    """Return what was asked of manifests, and forget it."""
    found = [
        f"{request.method} {request.path.rpartition('/')[2][:12]}{'?' * bool(request.query)}{request.query}"
        for request in registry.requests
    ]
    registry.requests.clear()
    return found


async def tags(repo: oci.Repository) -> dict[str, str]:
    return {tag: (await repo.manifests.stat(tag)).digest async for tag in repo.tags.list()}


async def test_one_tag_is_one_put(
    repo: oci.Repository, registry: RunningRegistry, image: oci.Manifest
) -> None:
    """By that tag, as every registry takes it."""
    await repo.manifests.push(image, tags=["v1"])
    assert sent(registry) == ["PUT v1"]


async def test_several_tags_are_one_put(
    repo: oci.Repository, registry: RunningRegistry, image: oci.Manifest
) -> None:
    """By digest, with the tags in the query; one that is named twice goes once."""
    await repo.manifests.push(image, tags=["v1", "latest", "v1"])

    assert sent(registry) == [f"PUT {image.digest[:12]}?tag=v1&tag=latest"]
    assert await tags(repo) == {"v1": image.digest, "latest": image.digest}


async def test_many_tags_go_in_tens(
    repo: oci.Repository, registry: RunningRegistry, image: oci.Manifest
) -> None:
    """More need not be taken at once."""
    names = [f"v{number}" for number in range(25)]
    await repo.manifests.push(image, tags=names)

    assert [request.query.count("tag=") for request in registry.requests] == [10, 10, 5]
    assert await tags(repo) == dict.fromkeys(sorted(names), image.digest)


async def test_registry_that_ignores_tags(old: tuple[oci.Repository, RunningRegistry]) -> None:
    """It names none in its answer: they are pushed one by one, the next time at once."""
    repo, registry = old
    image = await push_image(repo)
    registry.requests.clear()
    await repo.manifests.push(image, tags=["v1", "v2"])
    assert sent(registry) == [f"PUT {image.digest[:12]}?tag=v1&tag=v2", "PUT v1", "PUT v2"]

    await repo.manifests.push(image, tags=["v3", "v4"])

    assert sent(registry) == ["PUT v3", "PUT v4"]
    assert await tags(repo) == dict.fromkeys(["v1", "v2", "v3", "v4"], image.digest)


async def test_registry_that_takes_some_tags(
    repo: oci.Repository, registry: RunningRegistry, image: oci.Manifest
) -> None:
    """Those that its answer does not name are pushed by themselves."""
    registry.faults.add(Fault(method="PUT", nth=1, headers={"OCI-Tag": "v2"}))

    await repo.manifests.push(image, tags=["v1", "v2", "v3"])

    assert sent(registry)[1:] == ["PUT v1", "PUT v3"]


@pytest.mark.parametrize("status", [414, 431])
async def test_request_line_that_is_too_long(
    repo: oci.Repository, registry: RunningRegistry, image: oci.Manifest, status: int
) -> None:
    """Half of the tags at a time is tried, and then a quarter."""
    for number in (1, 2):
        registry.faults.add(Fault(method="PUT", nth=number, status=status))
    names = [f"v{number}" for number in range(8)]

    await repo.manifests.push(image, tags=names)

    assert [request.query.count("tag=") for request in registry.requests] == [8, 4, 2, 2, 4]
    assert await tags(repo) == dict.fromkeys(names, image.digest)


async def test_registry_that_refuses_the_query(
    repo: oci.Repository, registry: RunningRegistry, image: oci.Manifest
) -> None:
    """Its reason may be the query: without it, the tags are pushed, or the real reason comes out."""
    registry.faults.add(Fault(method="PUT", nth=1, status=400))

    await repo.manifests.push(image, tags=["v1", "v2"])

    assert sent(registry)[1:] == ["PUT v1", "PUT v2"]
    missing = oci.Descriptor(media_type=oci.MediaType.IMAGE_CONFIG, digest=oci.Digest.of(b"no"), size=2)
    with pytest.raises(oci.ManifestBlobUnknown):
        await repo.manifests.push(oci.Manifest.of(oci.ImageManifest(config=missing)), tags=["v1", "v2"])


async def test_sha512_is_tagged_by_digest(
    repo: oci.Repository, registry: RunningRegistry, image: oci.Manifest
) -> None:
    """By tag, the registry would choose sha256; what the tag names in the end is looked at."""
    digest = oci.Digest.of(image.raw, "sha512")
    manifest = oci.Manifest.parse(image.raw, digest=digest)

    await repo.manifests.push(manifest, tags=["v1"])

    assert sent(registry) == [f"PUT {digest[:12]}?tag=v1", "HEAD v1"]
    assert (await repo.manifests.get("v1")).digest == digest


async def test_sha512_where_tags_are_ignored(old: tuple[oci.Repository, RunningRegistry]) -> None:
    """It is there by digest, and no tag is moved to another one."""
    repo, registry = old
    image = await push_image(repo, tag="v1")
    manifest = oci.Manifest.parse(image.raw, digest=oci.Digest.of(image.raw, "sha512"))

    for _ in range(2):
        with pytest.raises(oci.UnsupportedError, match="sha256"):
            await repo.manifests.push(manifest, tags=["v1"])

    assert (await repo.manifests.get(manifest.digest)).raw == image.raw
    assert await tags(repo) == {"v1": image.digest}
    registry.requests.clear()
    await repo.manifests.push(manifest)
    assert len(registry.requests) == 1


async def test_new_tag(repo: oci.Repository, registry: RunningRegistry, image: oci.Manifest) -> None:
    """It is asked for, and the registry is told to store only what is not there; again it is fine."""
    await repo.manifests.push(image, tags=["v1"], if_absent=True)
    assert registry.requests[-1].headers["if-none-match"] == "*"
    assert sent(registry) == ["HEAD v1", "PUT v1"]

    await repo.manifests.push(image, tags=["v1"], if_absent=True)
    assert sent(registry) == ["HEAD v1"]


async def test_tag_that_must_not_move(
    repo: oci.Repository, registry: RunningRegistry, image: oci.Manifest
) -> None:
    """It is an error that says what is there."""
    other = await push_image(repo, [b"other"], tag="v1")

    with pytest.raises(oci.TagExists, match=other.digest):
        await repo.manifests.push(image, tags=["v1"], if_absent=True)

    assert await tags(repo) == {"v1": other.digest}
    with pytest.raises(oci.InvalidArgument, match="name one"):
        await repo.manifests.push(image, if_absent=True)


async def test_one_of_several_tags_that_must_not_move(
    repo: oci.Repository, registry: RunningRegistry, image: oci.Manifest
) -> None:
    """No tag is pushed then, not even one that is free."""
    await repo.manifests.push(image, tags=["taken"])
    other = await push_image(repo, [b"another"])

    with pytest.raises(oci.TagExists, match="taken"):
        await repo.manifests.push(other, tags=["free", "taken"], if_absent=True)

    assert await tags(repo) == {"taken": image.digest}


async def test_tags_that_can_be_iterated_once(repo: oci.Repository, image: oci.Manifest) -> None:
    """To check them does not use them up."""
    names = ("v1", "v2")
    await repo.manifests.push(image, tags=(tag for tag in names))  # type: ignore[arg-type]
    assert await tags(repo) == dict.fromkeys(names, image.digest)


async def test_manifest_that_was_tampered_with(
    repo: oci.Repository, registry: RunningRegistry, image: oci.Manifest
) -> None:
    """Bytes that are not those of the descriptor move no tag."""
    with pytest.raises(oci.DigestMismatch):
        await repo.manifests.push(replace(image, raw=image.raw + b" "), tags=["v1"])
    assert sent(registry) == []


async def test_somebody_is_faster(
    repo: oci.Repository, registry: RunningRegistry, image: oci.Manifest
) -> None:
    """The registry refuses what came between question and push; what is the same is fine."""
    other = await push_image(repo, [b"other"], tag="v1")
    registry.faults.add(Fault(method="HEAD", path="*/manifests/v1", nth=1, status=404))
    with pytest.raises(oci.TagExists, match=other.digest):
        await repo.manifests.push(image, tags=["v1"], if_absent=True)

    registry.faults.clear()
    registry.faults.add(Fault(method="HEAD", path="*/manifests/v1", nth=1, status=404))
    await repo.manifests.push(other, tags=["v1"], if_absent=True)
    assert await tags(repo) == {"v1": other.digest}


async def test_new_tag_whose_answer_is_lost(
    repo: oci.Repository, registry: RunningRegistry, image: oci.Manifest
) -> None:
    """The second try is refused, since the first one did it."""
    registry.faults.add(Fault(method="PUT", nth=1, answer_lost=True))

    await repo.manifests.push(image, tags=["v1"], if_absent=True)

    assert await tags(repo) == {"v1": image.digest}


async def test_manifest_that_is_too_long(registry: RunningRegistry) -> None:
    """Ours is said before any request, the registry's is its own."""
    content = oci.ImageIndex(annotations={"text": "x" * (5 << 20)})
    long = oci.Manifest.of(content)
    async with oci.Client() as client:
        with pytest.raises(oci.LimitExceeded, match="max_manifest"):
            await client.registry(registry.url).repository("a").manifests.push(long)
    assert not registry.requests
    async with oci.Client(max_manifest=10 << 20) as client:
        with pytest.raises(oci.SizeInvalid):
            await client.registry(registry.url).repository("a").manifests.push(long)
