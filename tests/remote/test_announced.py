"""What a registry says of the digest, where it is more, or other, than the specification wants."""

from __future__ import annotations

import pytest

import oci_distribution as oci
from oci_distribution.testing import Fault, RunningRegistry
from tests.images import push_image

DATA = b"by sha512" * 100_000
BY_SHA512 = oci.Descriptor(
    media_type=oci.MediaType.OCTET_STREAM, digest=oci.Digest.of(DATA, "sha512"), size=len(DATA)
)


def announce(registry: RunningRegistry, digest: str) -> None:
    registry.faults.clear()
    registry.faults.add(Fault.model_validate({"headers": {oci.DOCKER_CONTENT_DIGEST: digest}}))


@pytest.mark.parametrize("chunk_size", [None, 400_000])
async def test_blob_that_is_called_by_another_algorithm(
    repo: oci.Repository, registry: RunningRegistry, chunk_size: int | None
) -> None:
    """distribution names the sha256 of every blob that it stores: that says nothing of a sha512."""
    announce(registry, oci.Digest.of(DATA))

    await repo.registry.push_blob("team/app", DATA, descriptor=BY_SHA512, chunk_size=chunk_size)

    assert await repo.blobs.read(BY_SHA512) == DATA


async def test_manifest_that_is_called_by_another_algorithm(
    repo: oci.Repository, registry: RunningRegistry
) -> None:
    """Its bytes are at hand when it is pushed, so that the digest can be compared."""
    image = await push_image(repo)
    manifest = oci.Manifest.parse(image.raw, digest=oci.Digest.of(image.raw, "sha512"))

    announce(registry, image.digest)
    await repo.manifests.push(manifest)
    assert (await repo.manifests.stat(manifest.digest)).digest == manifest.digest

    announce(registry, oci.Digest.of(b"another"))
    with pytest.raises(oci.DigestMismatch):
        await repo.manifests.push(manifest)


async def test_digest_that_comes_twice(repo: oci.Repository, registry: RunningRegistry) -> None:
    """Some proxies add a header that is there already; two digests that differ are none."""
    image, blob = await push_image(repo, tag="v1"), oci.Digest.of(DATA)

    announce(registry, f"{blob}, {blob}")
    await repo.blobs.push(DATA)
    announce(registry, f"{image.digest}, {image.digest}")
    assert (await repo.manifests.stat("v1")).digest == image.digest

    announce(registry, f"{image.digest}, {blob}")
    with pytest.raises(oci.ProtocolError):
        await repo.manifests.stat("v1")
