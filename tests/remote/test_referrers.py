"""Referrers: by the API, and by the tag that stands for it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator

import pytest

import oci_distribution as oci
from oci_distribution.remote.referrers import fallback_tag
from oci_distribution.testing import Fault, RunningRegistry, serve_registry
from tests.hostile import Exchange, hostile
from tests.images import push_blob, push_image

SUBJECT = oci.Digest.of(b"subject")
INDEX = [("Content-Type", oci.MediaType.IMAGE_INDEX)]


async def push_referrers(repo: oci.Repository, subject: oci.Digest, kinds: list[str]) -> list[oci.Descriptor]:
    """Push a referrer for each artifact type."""
    config = await push_blob(repo, b"{}", oci.MediaType.EMPTY_JSON)
    described = oci.Descriptor(media_type=oci.MediaType.IMAGE_MANIFEST, digest=subject, size=1)
    pushed = []
    for number, kind in enumerate(kinds):
        notes = {"number": str(number)}
        content = oci.ImageManifest(
            config=config, subject=described, artifact_type=kind, annotations=notes, layers=(config,)
        )
        manifest = oci.Manifest.of(content)
        await repo.manifests.push(manifest)
        pushed.append(manifest.descriptor.model_copy(update={"artifact_type": kind, "annotations": notes}))
    return pushed


def sorted_by_digest(descriptors: list[oci.Descriptor]) -> list[oci.Descriptor]:
    return sorted(descriptors, key=lambda descriptor: descriptor.digest)


async def test_referrers_come_from_the_api(repo: oci.Repository, registry: RunningRegistry) -> None:
    """One request, with artifact types and annotations."""
    pushed = await push_referrers(repo, SUBJECT, ["text/a", "text/b"])
    registry.requests.clear()

    assert await repo.referrers.get(SUBJECT) == sorted_by_digest(pushed)
    assert [request.path for request in registry.requests] == [f"/v2/team/app/referrers/{SUBJECT}"]


async def test_referrers_of_one_type(repo: oci.Repository, registry: RunningRegistry) -> None:
    """The registry is told the type, and what it sends all the same is left out."""
    pushed = await push_referrers(repo, SUBJECT, ["text/a", "text/b+json"])

    assert await repo.referrers.get(SUBJECT, artifact_type="text/b+json") == pushed[1:]
    assert registry.requests[-1].query == "artifactType=text%2Fb%2Bjson"


async def test_a_registry_that_does_not_filter(client: oci.Client) -> None:
    """What it says of filters is not trusted."""
    entries = [
        {"mediaType": oci.MediaType.IMAGE_MANIFEST, "digest": SUBJECT, "size": 1, "artifactType": kind}
        for kind in ("text/a", "text/b")
    ]

    async def script(exchange: Exchange) -> None:
        body = json.dumps({"schemaVersion": 2, "mediaType": oci.MediaType.IMAGE_INDEX, "manifests": entries})
        await exchange.answer(200, body.encode(), [*INDEX, ("OCI-Filters-Applied", "artifactType")])

    async with hostile(script) as server:
        found = await client.registry(server.url).get_referrers("a", SUBJECT, artifact_type="text/b")

    assert [descriptor.artifact_type for descriptor in found] == ["text/b"]


async def test_referrers_in_pages(client: oci.Client) -> None:
    """Every page comes, and only when it is asked for."""
    async with serve_registry(page_size=2) as registry:
        repo = client.registry(registry.url).repository("team/app")
        pushed = await push_referrers(repo, SUBJECT, ["text/a"] * 5)
        registry.requests.clear()

        first = await anext(repo.referrers.list(SUBJECT))
        assert (first, len(registry.requests)) == (sorted_by_digest(pushed)[0], 1)
        assert await repo.referrers.get(SUBJECT) == sorted_by_digest(pushed)
        assert len(registry.requests) == 4


@pytest.fixture
async def old(client: oci.Client) -> AsyncGenerator[tuple[oci.Repository, RunningRegistry]]:
    """A registry without the API."""
    async with serve_registry(referrers=False) as registry:
        yield client.registry(registry.url).repository("team/app"), registry


async def test_referrers_come_from_the_tag(old: tuple[oci.Repository, RunningRegistry]) -> None:
    """Without an API the tag is read, and the next time nothing else is asked for."""
    repo, registry = old
    pushed = await push_referrers(repo, SUBJECT, ["text/a", "text/b"])
    registry.requests.clear()
    repo.registry.learned.referrers_api = None

    assert await repo.referrers.get(SUBJECT) == pushed
    assert await repo.referrers.get(SUBJECT, artifact_type="text/b") == pushed[1:]
    assert [request.path.split("/")[-2] for request in registry.requests] == [
        "referrers",
        "manifests",
        "manifests",
    ]


async def test_no_tag_is_no_referrers(old: tuple[oci.Repository, RunningRegistry]) -> None:
    """Neither API nor tag: nothing refers to it."""
    repo, _ = old
    await push_image(repo)

    assert await repo.referrers.get(SUBJECT) == []


async def test_a_tag_that_is_no_index_is_no_list(old: tuple[oci.Repository, RunningRegistry]) -> None:
    """Somebody's image under that tag is not taken for referrers (oras-go#1396)."""
    repo, _ = old
    await push_image(repo, tag=fallback_tag(SUBJECT))

    assert await repo.referrers.get(SUBJECT) == []


async def test_a_tag_that_answers_the_subject_is_no_list(old: tuple[oci.Repository, RunningRegistry]) -> None:
    """GitLab takes the tag for the digest, and an index would be its own referrers (oras-go#1396)."""
    repo, _ = old
    image = await push_image(repo)
    index = oci.Manifest.of(oci.ImageIndex(manifests=(image.descriptor,)))
    await repo.manifests.push(index, tags=[fallback_tag(index.digest)])

    assert await repo.referrers.get(index.digest) == []


@pytest.mark.parametrize("status", [400, 404, 405, 406, 501])
async def test_statuses_that_mean_no_api(
    repo: oci.Repository, registry: RunningRegistry, status: int
) -> None:
    """What registries without the API answer leads to the tag."""
    registry.faults.add(Fault(path="*/referrers/*", status=status, body=b"404 page not found"))
    await push_image(repo)

    assert await repo.referrers.get(SUBJECT) == []
    assert registry.requests[-1].path.endswith(fallback_tag(SUBJECT))


@pytest.mark.parametrize(
    "fault",
    [
        Fault(path="*/referrers/*", status=404, body=b"404 page not found", times=1),
        Fault(
            path="*/referrers/*", status=200, body=b"<html>", headers={"Content-Type": "text/html"}, times=1
        ),
    ],
)
async def test_an_api_that_was_there_is_not_forgotten(
    repo: oci.Repository, registry: RunningRegistry, fault: Fault
) -> None:
    """Then such an answer is an error, and no word of there being no signatures; the next time it is asked."""
    pushed = await push_referrers(repo, SUBJECT, ["text/a"])
    registry.faults.add(fault)

    with pytest.raises(oci.ProtocolError):
        await repo.referrers.get(SUBJECT)
    assert await repo.referrers.get(SUBJECT) == pushed


async def test_a_web_page_means_no_api(repo: oci.Repository, registry: RunningRegistry) -> None:
    """Old proxies answer 200 with HTML to whatever they do not know."""
    page = {"Content-Type": "text/html; charset=utf-8"}
    registry.faults.add(Fault(path="*/referrers/*", status=200, body=b"<html>", headers=page))
    await push_image(repo)

    assert await repo.referrers.get(SUBJECT) == []


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, oci.Unauthorized), (403, oci.Denied), (429, oci.TooManyRequests), (500, oci.ResponseError)],
)
async def test_statuses_that_mean_something_else(
    repo: oci.Repository, registry: RunningRegistry, status: int, error: type[Exception]
) -> None:
    """A refusal or a failure is an error, and not an empty list."""
    registry.faults.add(Fault(path="*/referrers/*", status=status))

    with pytest.raises(error):
        await repo.referrers.get(SUBJECT)


async def test_an_unknown_repository_has_no_referrers(
    repo: oci.Repository, registry: RunningRegistry
) -> None:
    """A 404 that says so teaches nothing about the API."""
    registry.faults.add(Fault(path="*/referrers/*", status=404, times=1))

    assert await repo.referrers.get(SUBJECT) == []
    await push_referrers(repo, SUBJECT, ["text/a"])
    assert len(await repo.referrers.get(SUBJECT)) == 1


async def test_bad_subjects_never_leave(repo: oci.Repository, registry: RunningRegistry) -> None:
    """They are refused before any request."""
    with pytest.raises(oci.InvalidDigest):
        await repo.referrers.get("sha256:x")

    assert len(registry.requests) == 0


@pytest.mark.parametrize(
    ("digest", "tag"),
    [
        ("sha256:" + "a" * 64, "sha256-" + "a" * 64),
        ("sha512:" + "b" * 128, "sha512-" + "b" * 64),
    ],
)
def test_fallback_tag(digest: str, tag: str) -> None:
    """At most 32 characters of the algorithm, and 64 of the rest."""
    assert fallback_tag(oci.Digest(digest)) == tag
