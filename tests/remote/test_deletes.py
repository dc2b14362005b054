"""Deleting: a manifest, a tag, a blob, and never more than that."""

from __future__ import annotations

import json

import pytest

import oci_distribution as oci
from oci_distribution.testing import Fault, RunningRegistry, serve_registry
from tests.images import push_blob, push_image


def sent(registry: RunningRegistry) -> list[str]:
    return [f"{request.method} {request.path.partition('/v2/team/app/')[2]}" for request in registry.requests]


async def test_a_deleted_tag_leaves_its_manifest(repo: oci.Repository, registry: RunningRegistry) -> None:
    """One request, and the digest and the other tags stay."""
    image = await push_image(repo, tag="v1")
    await repo.manifests.push(image, tags=["v2"])
    registry.requests.clear()

    assert await repo.tags.delete("v1")

    assert sent(registry) == ["DELETE manifests/v1"]
    assert [tag async for tag in repo.tags.list()] == ["v2"]
    assert (await repo.manifests.stat(image.digest)).digest == image.digest


async def test_a_deleted_manifest_takes_its_tags_along(repo: oci.Repository) -> None:
    """By digest, everything that points at it goes."""
    image = await push_image(repo, tag="v1")

    assert await repo.manifests.delete(image.digest)

    with pytest.raises(oci.ManifestUnknown):
        await repo.manifests.stat("v1")


async def test_a_deleted_blob_is_gone(repo: oci.Repository) -> None:
    """It is unknown from then on."""
    blob = await push_blob(repo, b"layer")

    assert await repo.blobs.delete(blob.digest)

    with pytest.raises(oci.BlobUnknown):
        await repo.blobs.stat(blob.digest)


async def test_what_is_not_there(repo: oci.Repository) -> None:
    """It is an error, unless it may be missing; then the answer says that it was."""
    await push_image(repo, tag="v1")
    digest = oci.Digest.of(b"nobody")
    for delete, what, error in (
        (repo.tags.delete, "nobody", oci.ManifestUnknown),
        (repo.manifests.delete, digest, oci.ManifestUnknown),
        (repo.blobs.delete, digest, oci.BlobUnknown),
    ):
        with pytest.raises(error):
            await delete(what)
        assert await delete(what, missing_ok=True) is False


async def test_a_delete_whose_answer_is_lost_is_done(repo: oci.Repository, registry: RunningRegistry) -> None:
    """The second try finds nothing, because the first one did it."""
    blob = await push_blob(repo, b"layer")
    registry.faults.add(Fault(method="DELETE", answer_lost=True, nth=1))

    assert await repo.blobs.delete(blob.digest) is False


@pytest.mark.parametrize("bad", ["v1", "sha256:xyz", "../v1", ""])
async def test_a_manifest_is_deleted_by_digest_only(
    repo: oci.Repository, registry: RunningRegistry, bad: str
) -> None:
    """A tag here could cost its siblings: it is refused before any request."""
    with pytest.raises(oci.InvalidDigest):
        await repo.manifests.delete(bad)

    assert len(registry.requests) == 0


@pytest.mark.parametrize("bad", ["", "a/b", "sha256:" + "0" * 64, "x" * 129])
async def test_a_tag_is_deleted_by_tag_only(
    repo: oci.Repository, registry: RunningRegistry, bad: str
) -> None:
    """A digest here would take every tag along: it is refused before any request."""
    with pytest.raises(oci.InvalidReference):
        await repo.tags.delete(bad)

    assert len(registry.requests) == 0


@pytest.mark.parametrize(
    "fault",
    [
        Fault(method="DELETE", status=405),
        Fault(method="DELETE", status=400, body=b'{"errors": [{"code": "GOOGLE_MANIFEST_DANGLING_TAG"}]}'),
        Fault(method="DELETE", status=400, body=b'{"errors": [{"code": "DIGEST_INVALID"}]}'),
    ],
)
async def test_a_registry_that_does_not_delete(
    repo: oci.Repository, registry: RunningRegistry, fault: Fault
) -> None:
    """405 and 400 are both how a registry says so, and nothing else is tried."""
    await push_image(repo, tag="v1")
    registry.faults.add(fault)
    registry.requests.clear()

    with pytest.raises(oci.UnsupportedError) as caught:
        await repo.tags.delete("v1")

    assert isinstance(caught.value, oci.Unsupported)
    assert caught.value.status == fault.status
    assert str(caught.value).count("DELETE") == 1, "the request is named once"
    assert sent(registry) == ["DELETE manifests/v1"]


async def _push_referrer(repo: oci.Repository, subject: oci.Manifest, kind: str) -> oci.Manifest:
    config = await push_blob(repo, b"{}", oci.MediaType.EMPTY_JSON)
    manifest = oci.Manifest.of(
        oci.ImageManifest(config=config, layers=(config,), subject=subject.descriptor, artifact_type=kind)
    )
    await repo.manifests.push(manifest)
    return manifest


async def test_a_referrer_that_goes_leaves_the_list_of_a_tag(client: oci.Client) -> None:
    """Where there is no referrers API, the tag's index loses the entry, and keeps the rest as it is."""
    async with serve_registry(referrers=False) as registry:
        repo = client.registry(registry.url).repository("team/app")
        image = await push_image(repo)
        gone, stays = [await _push_referrer(repo, image, f"text/{kind}") for kind in ("gone", "stays")]
        index = oci.ImageIndex(
            manifests=(gone.descriptor, stays.descriptor), annotations={"kept": "yes"}, artifact_type="x/y"
        )
        tag = str(image.digest).replace(":", "-")
        await repo.manifests.push(oci.Manifest.of(index), tags=[tag])

        await repo.manifests.delete(gone.digest)

        left = json.loads((await repo.manifests.get(tag)).raw)
        assert [entry["digest"] for entry in left["manifests"]] == [stays.digest]
        assert (left["annotations"], left["artifactType"]) == ({"kept": "yes"}, "x/y")


async def test_where_there_is_a_referrers_api_nothing_is_put_right(
    repo: oci.Repository, registry: RunningRegistry
) -> None:
    """Once that is known, a delete is one request."""
    image = await push_image(repo)
    first, second = [await _push_referrer(repo, image, f"text/{n}") for n in range(2)]
    await repo.manifests.delete(first.digest)
    registry.requests.clear()

    await repo.manifests.delete(second.digest)

    assert sent(registry) == [f"DELETE manifests/{second.digest}"]
    assert await repo.referrers.get(image.descriptor) == []
