"""Mirrors: asked before the registry for what they are trusted with, and left when they fail."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import oci_distribution as oci
from oci_distribution.testing import BasicAuth, Fault, RunningRegistry, serve_registry
from tests.images import push_image

DATA = bytes(range(256)) * 8000
HALF = len(DATA) // 2
BLOB = oci.Descriptor(media_type=oci.MediaType.OCTET_STREAM, digest=oci.Digest.of(DATA), size=len(DATA))


@dataclass
class Scene:
    """A registry, a mirror of it that has the same, and a client that knows of both."""

    home: RunningRegistry
    mirror: RunningRegistry
    repo: oci.Repository
    image: oci.Manifest
    events: list[oci.Event]

    def asked(self) -> tuple[list[str], list[str]]:
        """Return what the mirror was asked, and what the registry."""
        return tuple(  # type: ignore[return-value]
            [f"{request.method} {request.path.split('/')[-2]}" for request in registry.requests]
            for registry in (self.mirror, self.home)
        )

    def failures(self) -> list[tuple[str, bool]]:
        """Return which mirrors failed, and whether they were excluded."""
        failed = [event for event in self.events if isinstance(event, oci.MirrorFailed)]
        return [(event.mirror, event.excluded) for event in failed]


@asynccontextmanager
async def scene(*, tags: bool = False, prefix: str = "", **options: Any) -> AsyncGenerator[Scene]:
    async with serve_registry() as home, serve_registry(**options) as mirror:
        async with oci.Client() as client:
            name = "team/app"
            for registry, path in ((home, name), (mirror, f"{prefix}/{name}" if prefix else name)):
                repo = client.registry(registry.url).repository(path)
                image = await push_image(repo, [DATA], tag="v1")
                registry.requests.clear()
        config = oci.HostConfig(mirrors=(oci.Mirror(registry=mirror.host, tags=tags, prefix=prefix),))
        events: list[oci.Event] = []
        retry = oci.RetryPolicy(base_delay=0.001)
        async with oci.Client(hosts={home.host: config}, retry=retry) as client:
            repo = client.registry(home.url).repository(name)
            with oci.observe(events.append):
                yield Scene(home, mirror, repo, image, events)


async def test_content_by_digest_comes_from_the_mirror() -> None:
    """What can be verified is asked there, and nothing of the registry."""
    async with scene() as it:
        assert await it.repo.manifests.get(it.image.digest) == it.image
        assert (await it.repo.manifests.stat(it.image.digest)).digest == it.image.digest
        assert await it.repo.blobs.read(BLOB) == DATA
        assert (await it.repo.blobs.stat(BLOB.digest)).size == len(DATA)
        mirror, home = it.asked()
        assert mirror == ["GET manifests", "HEAD manifests", "GET blobs", "HEAD blobs"]
        assert home == []


@pytest.mark.parametrize("trusted", [True, False])
async def test_tags_come_from_where_they_are_trusted(trusted: bool) -> None:
    """A mirror says what a tag points at only when it may."""
    async with scene(tags=trusted) as it:
        assert await it.repo.manifests.get("v1") == it.image
        await it.repo.manifests.stat("v1")
        asked = ["GET manifests", "HEAD manifests"]
        assert it.asked() == ((asked, []) if trusted else ([], asked))


async def test_repositories_below_a_prefix() -> None:
    """The mirror may call them otherwise."""
    async with scene(prefix="cache/home") as it:
        assert await it.repo.blobs.read(BLOB) == DATA
        assert it.mirror.requests[0].path.startswith("/v2/cache/home/team/app/blobs/")
        assert it.asked()[1] == []


async def test_writing_listing_and_deleting_know_no_mirror() -> None:
    """What is there counts, and not what somebody else has."""
    async with scene(tags=True) as it:
        await push_image(it.repo, [b"other"], tag="v2")
        assert [tag async for tag in it.repo.tags.list()] == ["v1", "v2"]
        assert await it.repo.referrers.get(it.image.digest) == []
        assert (await it.repo.resolve("v1")).digest == it.image.digest
        assert await it.repo.exists(BLOB)
        await it.repo.tags.delete("v2")
        assert it.asked()[0] == []


async def test_a_copy_reads_from_the_mirror_and_resolves_at_home() -> None:
    """Tags of a copy are the registry's own."""
    async with scene(tags=True) as it:
        memory = oci.MemoryStore()
        await oci.copy(it.repo, "v1", memory)
        mirror, home = it.asked()
        assert "GET blobs" in mirror
        assert "GET blobs" not in home
        assert (await memory.resolve("v1")).digest == it.image.digest


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=404),
        Fault(status=403),
        Fault(status=500),
        Fault(status=429, retry_after=7200),
        Fault(reset=True),
        Fault(status=200, body=b"<html>", headers={"Content-Type": "text/html"}),
    ],
)
async def test_a_mirror_that_does_not_help_is_passed_over(fault: Fault) -> None:
    """The registry is asked instead, and the mirror the next time again."""
    async with scene() as it:
        it.mirror.faults.add(fault)
        assert await it.repo.manifests.get(it.image.digest) == it.image
        assert await it.repo.blobs.read(BLOB) == DATA
        assert "GET blobs" in it.asked()[1]
        assert {mirror for mirror, _ in it.failures()} == {it.mirror.host}


async def test_a_mirror_that_is_down_is_passed_over() -> None:
    """Nobody listens there."""
    config = oci.HostConfig(mirrors=(oci.Mirror(registry="127.0.0.1:9"),))
    retry = oci.RetryPolicy(attempts=2, base_delay=0.001)
    async with (
        serve_registry() as home,
        oci.Client(hosts={home.host: config}, retry=retry) as client,
    ):
        repo = client.registry(home.url).repository("team/app")
        await repo.blobs.push(DATA)
        assert await repo.blobs.read(BLOB) == DATA


async def test_a_body_that_breaks_goes_on_at_home() -> None:
    """The same blob is continued, from the byte where the mirror left off."""
    async with scene() as it:
        it.mirror.faults.add(Fault(method="GET", reset_answer_after=HALF))
        async with it.repo.blobs.open(BLOB) as reader:
            assert await reader.read() == DATA
            assert reader.verified
        (request,) = it.home.requests
        assert request.headers["range"] == f"bytes={HALF}-"


async def test_wrong_bytes_exclude_a_mirror(tmp_path: Path) -> None:
    """It is reported and not asked again; who reads the whole gets the right bytes all the same."""
    async with scene() as it:
        it.mirror.faults.add(Fault(method="GET", path="*/blobs/*", corrupt_at=HALF))
        assert await it.repo.blobs.read(BLOB) == DATA
        assert it.failures() == [(it.mirror.host, True)]
        assert it.repo.registry.learned.excluded_mirrors == {it.mirror.host}
        it.mirror.requests.clear()
        await it.repo.blobs.download(BLOB, tmp_path / "layer")
        await it.repo.manifests.get(it.image.digest)
        assert it.asked()[0] == []


@pytest.mark.parametrize("connections", [1, 3])
async def test_wrong_bytes_in_a_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, connections: int
) -> None:
    """A download begins again without the mirror, which is excluded once, however many parts came from it."""
    monkeypatch.setattr("oci_distribution.remote.blob_sources.PART", 300_000)
    async with scene() as it:
        it.mirror.faults.add(Fault(method="GET", path="*/blobs/*", corrupt_at=HALF % 300_000))
        await it.repo.blobs.download(BLOB, tmp_path / "layer", connections=connections)
        assert (tmp_path / "layer").read_bytes() == DATA
        assert it.failures().count((it.mirror.host, True)) == 1


async def test_wrong_bytes_in_a_stream_are_an_error() -> None:
    """What was handed out cannot be taken back; but the next reader succeeds."""
    async with scene() as it:
        it.mirror.faults.add(Fault(method="GET", path="*/blobs/*", corrupt_at=0))
        with pytest.raises(oci.DigestMismatch):
            async with it.repo.blobs.open(BLOB) as reader:
                async for _ in reader:
                    pass
        assert reader.is_mirror_to_blame
        async with it.repo.blobs.open(BLOB) as reader:
            assert await reader.read() == DATA


async def test_another_length_excludes_a_mirror() -> None:
    """Before a byte is read."""
    async with scene() as it:
        it.mirror.faults.add(Fault(method="GET", path="*/blobs/*", truncate_after=10))
        assert await it.repo.blobs.read(BLOB) == DATA
        assert it.failures() == [(it.mirror.host, True)]


async def test_a_wrong_manifest_excludes_a_mirror() -> None:
    """It is verified before it is believed."""
    async with scene() as it:
        it.mirror.faults.add(Fault(method="GET", corrupt_at=30))
        assert await it.repo.manifests.get(it.image.digest) == it.image
        assert it.failures() == [(it.mirror.host, True)]


async def test_credentials_of_the_registry_stay_there() -> None:
    """A mirror is another registry: it gets what is kept for its own name."""
    asked: list[str] = []

    async def provider(host: str, repository: str | None) -> oci.Credential:
        asked.append(host)
        return oci.Credential(username="ann", password="secret") if host == home.host else oci.Credential()

    async with (
        serve_registry(auth=BasicAuth({"ann": "secret"})) as home,
        serve_registry(auth=BasicAuth({"bob": "other"})) as mirror,
    ):
        config = oci.HostConfig(mirrors=(oci.Mirror(registry=mirror.host),))
        async with oci.Client(hosts={home.host: config}, auth_provider=provider) as client:
            repo = client.registry(home.url).repository("team/app")
            await repo.blobs.push(DATA)
            assert await repo.blobs.read(BLOB) == DATA
        assert mirror.host in asked
        assert all("authorization" not in request.headers for request in mirror.requests)


@pytest.mark.parametrize(
    "options",
    [{"registry": "a b"}, {"registry": ""}, {"registry": "a", "prefix": "../x"}, {"registry": "a", "x": 1}],
)
def test_mirrors_that_cannot_be(options: dict[str, Any]) -> None:
    """They are refused when they are configured."""
    with pytest.raises((ValidationError, oci.InvalidReference)):
        oci.Mirror(**options)
