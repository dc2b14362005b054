"""The main job on real parts: an image of another tool's, between two real registries and a layout."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest

import oci_distribution as oci
from tests.images import holdings

Tool = Callable[..., str]


@pytest.fixture
async def client() -> AsyncGenerator[oci.Client]:
    async with oci.Client() as client:
        yield client


async def copied(client: oci.Client, source: str, target: str) -> oci.CopyReport:
    return await oci.copy(*client.locate(source), *client.locate(target))


async def test_registry_to_registry_to_layout_to_registry(
    client: oci.Client,
    image: str,
    registry_3: str,
    registry_2: str,
    crane: Tool,
    skopeo: Tool,
    tmp_path: Path,
) -> None:
    """Every copy has the digest of the original, and other people's tools accept each."""
    digest = crane("digest", "--insecure", image)
    second, layout, back = f"{registry_3}/copy/one:v1", tmp_path / "layout", f"{registry_2}/copy/back:v1"

    report = await copied(client, image, second)
    await copied(client, second, f"oci:{layout}:v1")
    await copied(client, f"oci:{layout}:v1", back)

    assert report.root.digest == digest
    assert crane("digest", "--insecure", second) == digest
    assert crane("digest", "--insecure", back) == digest
    for copy in (second, back):
        crane("validate", "--insecure", "--remote", copy)
        for architecture in ("amd64", "arm64"):
            shown = json.loads(
                skopeo("inspect", "--tls-verify=false", "--override-arch", architecture, f"docker://{copy}")
            )
            assert shown["Architecture"] == architecture
    assert json.loads(skopeo("inspect", "--raw", f"oci:{layout}:v1"))["manifests"]
    everything = await holdings(*client.locate(image))
    for place in (second, f"oci:{layout}:v1", back):
        assert await holdings(*client.locate(place)) == everything


async def test_a_second_copy_sends_nothing(client: oci.Client, image: str, registry_3: str) -> None:
    """What is there is found so, by one request to each side."""
    target = f"{registry_3}/copy/twice:v1"
    await copied(client, image, target)
    sent: list[oci.Event] = []

    with oci.observe(sent.append):
        report = await copied(client, image, target)

    assert report.was_there
    assert sum(isinstance(event, oci.RequestSent) for event in sent) == 2


async def test_within_one_registry_everything_is_mounted(
    client: oci.Client, image: str, registry_2: str
) -> None:
    """Real registries mount what we ask them to."""
    report = await copied(client, image, f"{registry_2}/copy/mounted:v1")

    assert set(report.blobs) == {oci.CopyOutcome.MOUNTED}


async def test_layouts_of_other_tools_are_read(
    client: oci.Client, image: str, registry_3: str, crane: Tool, tmp_path: Path
) -> None:
    """crane names no tag in its layouts; what it wrote is copied all the same."""
    crane("pull", "--insecure", "--format", "oci", image, tmp_path / "layout")

    await copied(client, f"oci:{tmp_path / 'layout'}", f"{registry_3}/from/layout:v1")

    assert crane("digest", "--insecure", f"{registry_3}/from/layout:v1") == crane(
        "digest", "--insecure", image
    )


async def test_layouts_of_ours_are_read_by_others(
    client: oci.Client, image: str, skopeo: Tool, tmp_path: Path
) -> None:
    """skopeo copies from a layout of ours, and we read what it made of it."""
    await copied(client, image, f"oci:{tmp_path / 'ours'}:v1")

    skopeo("copy", "--all", f"oci:{tmp_path / 'ours'}:v1", f"oci:{tmp_path / 'theirs'}:v1")

    # It turns Docker's manifests into OCI's, so the count is the same and the digests are not.
    ours = await holdings(oci.Layout(tmp_path / "ours"), "v1")
    theirs = await holdings(oci.Layout(tmp_path / "theirs"), "v1")
    assert len(theirs) == len(ours)


@pytest.mark.parametrize("size", [0, 1, 5 << 20])
async def test_blobs_of_every_size(client: oci.Client, registry_2: str, registry_3: str, size: int) -> None:
    """The empty blob, too, goes to real registries and comes back."""
    for registry in (registry_2, registry_3):
        blobs = client.repository(f"{registry}/blobs/sizes").blobs
        descriptor = await blobs.push(b"x" * size)

        assert await blobs.read(descriptor, limit=size) == b"x" * size
        assert (await blobs.stat(descriptor.digest)).size == size


async def test_tags_and_errors(client: oci.Client, image: str, registry_2: str) -> None:
    """Listings and refusals of a real registry are understood."""
    repository, _ = client.locate(image)
    assert isinstance(repository, oci.Repository)

    assert {tag async for tag in repository.tags.list()} >= {"v1", "linux-amd64", "linux-arm64"}
    assert await client.registry(registry_2).version() == "registry/2.0"
    with pytest.raises(oci.ManifestUnknown):
        await repository.manifests.get("none")
    with pytest.raises(oci.BlobUnknown):
        await repository.blobs.read(oci.Digest.of(b"none"))
    with pytest.raises(oci.NameUnknown):
        assert [tag async for tag in client.repository(f"{registry_2}/no/such").tags.list()]
