"""Registries whose profile the client knows: the first request goes the right way at once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest

import oci_distribution as oci
from oci_distribution.testing import PROFILES, RunningRegistry, serve_registry
from oci_distribution.transport.profiles import PROFILES as KNOWN, profile_of
from tests.images import push_image

LONG = bytes(9 << 20)
MOST = 101
"""More tags than fit on a page of Quay."""


async def push_small(repo: oci.Repository) -> None:
    await repo.blobs.push(b"small")


async def push_long(repo: oci.Repository) -> None:
    await repo.blobs.push(LONG)


async def push_in_chunks(repo: oci.Repository) -> None:
    await repo.blobs.push(LONG, chunk_size=8 << 20)


async def push_stream(repo: oci.Repository) -> None:
    async def pieces() -> AsyncGenerator[bytes]:
        for start in range(0, len(LONG), 1 << 20):
            yield LONG[start : start + (1 << 20)]

    blob = await repo.blobs.push(pieces())
    assert (await repo.blobs.stat(blob.digest)).size == len(LONG)


async def mount(repo: oci.Repository) -> None:
    blob = await repo.blobs.push(b"a layer", media_type=oci.MediaType.IMAGE_LAYER)
    other = repo.registry.repository("team/other")
    await other.push_blob(blob, oci.BytesSource(b"a layer"), mount_from=repo.mount_point)
    assert await other.blobs.read(blob) == b"a layer"


async def push_with_tags(repo: oci.Repository) -> None:
    manifest = await push_image(repo)
    await repo.manifests.push(manifest, tags=["v1", "v2", "v3"])


async def push_referrer(repo: oci.Repository) -> None:
    image = await push_image(repo)
    await repo.blobs.push(oci.EMPTY_JSON, media_type=oci.MediaType.EMPTY_JSON)
    signature = oci.pack_manifest(artifact_type="application/vnd.example", subject=image.descriptor)
    await repo.manifests.push(signature)
    found = await repo.referrers.get(image.digest)
    assert [descriptor.digest for descriptor in found] == [signature.digest]


async def list_long_pages(repo: oci.Repository) -> None:
    tags = [f"v{number:04}" for number in range(MOST)]
    await repo.manifests.push(await push_image(repo), tags=tags)
    assert [tag async for tag in repo.tags.list(page_size=2000)] == tags


OPERATIONS = (
    push_small,
    push_long,
    push_in_chunks,
    push_stream,
    mount,
    push_with_tags,
    push_referrer,
    list_long_pages,
)


def refused(registry: RunningRegistry) -> list[str]:
    """Return the requests that a client which knows the registry would not have sent."""
    in_vain = {400, 405, 413, 415, 416, 501}
    return [
        f"{request.method} {request.path}: {request.status}"
        for request in registry.requests
        if request.status in in_vain or (request.status == 404 and "/referrers/" in request.path)
    ]


# What no profile knows, and is found out: by one request that is refused.
FOUND_OUT: dict[tuple[str, Callable[[oci.Repository], Awaitable[None]]], type[oci.OCIError] | None] = {
    # Whether a hosted registry has an API for referrers, a profile does not say: it may have one tomorrow.
    ("ghcr", push_referrer): None,
    ("quay", push_referrer): None,
    ("gitlab", push_referrer): oci.UnsupportedError,
}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
@pytest.mark.parametrize("profile", PROFILES)
async def test_nothing_is_sent_in_vain(
    profile: str, operation: Callable[[oci.Repository], Awaitable[None]]
) -> None:
    """With the profile of the same name, no request is refused."""
    async with serve_registry(profile=profile) as registry:
        hosts = {registry.host: oci.HostConfig(profile=profile)}
        async with oci.Client(hosts=hosts) as client:
            repo = client.registry(registry.url).repository("team/app")
            if (profile, operation) in FOUND_OUT:
                error = FOUND_OUT[profile, operation]
                if error is None:
                    await operation(repo)
                else:
                    with pytest.raises(error):
                        await operation(repo)
                assert len(refused(registry)) == 1
            else:
                await operation(repo)
                assert refused(registry) == []


async def test_chunks_that_are_not_known_to_be_refused_are_found_out_once() -> None:
    """Without a profile one is refused; after that, what has no known length waits in a file at once."""
    async with serve_registry(profile="gar") as registry, oci.Client() as client:
        repo = client.registry(registry.url).repository("team/app")
        with pytest.raises(oci.Unsupported):
            await push_stream(repo)
        assert not repo.registry.learned.chunks
        registry.requests.clear()

        await push_stream(repo)

        assert [request.method for request in registry.requests] == ["HEAD", "POST", "PUT", "HEAD"]


async def test_a_writer_where_there_are_no_chunks() -> None:
    """It cannot be suspended, and says so; everything else works."""
    async with serve_registry(profile="gar") as registry:
        hosts = {registry.host: oci.HostConfig(profile="gar")}
        async with oci.Client(hosts=hosts) as client:
            repo = client.registry(registry.url).repository("team/app")
            async with repo.blobs.writer() as writer:
                await writer.write(b"data")
                with pytest.raises(oci.UnsupportedError):
                    _ = writer.session
                await writer.commit()


async def test_a_body_that_is_known_to_be_too_large() -> None:
    """It goes in chunks at once; what fits goes whole."""
    async with serve_registry() as registry:
        profile = oci.RegistryProfile(max_body=200_000)
        async with oci.Client(hosts={registry.host: oci.HostConfig(profile=profile)}) as client:
            blobs = client.registry(registry.url).repository("team/app").blobs
            await blobs.push(LONG[:200_000])
            assert [request.method for request in registry.requests] == ["HEAD", "POST", "PUT"]
            registry.requests.clear()
            await blobs.push(LONG[:200_001])
            methods = [request.method for request in registry.requests]
            assert methods[:3] == ["HEAD", "POST", "PATCH"]


async def test_a_catalog_that_nobody_gets() -> None:
    """Docker Hub answers 401 to it, which looks as if credentials were wrong: nothing is sent."""
    async with oci.Client() as client:
        with pytest.raises(oci.UnsupportedError, match=r"docker\.io"):
            client.registry("docker.io").list_repositories()


@pytest.mark.parametrize(
    ("name", "profile"),
    [
        ("docker.io", "docker-hub"),
        ("ghcr.io", "ghcr"),
        ("quay.io", "quay"),
        ("gcr.io", "gar"),
        ("eu.gcr.io", "gar"),
        ("europe-docker.pkg.dev", "gar"),
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", "ecr"),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "ecr"),
        ("public.ecr.aws", "ecr-public"),
        ("team.azurecr.io", "acr"),
        ("company.jfrog.io", "artifactory"),
        ("registry.gitlab.com", "gitlab"),
        ("codeberg.org", "gitea"),
        ("ghcr.io.evil.example", "specification"),
        ("registry.example:5000", "specification"),
    ],
)
def test_hosts_of_profiles(name: str, profile: str) -> None:
    """Those that are run by one company are known by their names."""
    assert profile_of(name).name == profile


def test_every_registry_that_is_imitated_has_a_profile() -> None:
    """Of the same name."""
    assert set(KNOWN) == set(PROFILES)


@pytest.mark.parametrize("profile", KNOWN.values(), ids=KNOWN)
def test_every_fact_has_a_source(profile: oci.RegistryProfile) -> None:
    """And every source a fact."""
    facts = profile.model_dump(exclude={"name", "hosts", "sources"}, exclude_defaults=True)
    assert set(facts) == set(profile.sources)


def test_a_profile_of_ones_own() -> None:
    """From one that comes with the library, or from nothing; as a dict, too."""
    mine = oci.RegistryProfile.named("ghcr").model_copy(update={"max_chunk": 1 << 20})
    hosts: dict[str, oci.HostConfig | dict[str, object]] = {
        "ghcr.io": oci.HostConfig(profile=mine),
        "registry.lan": {"profile": {"mounts": False}},
    }
    client = oci.Client(hosts=hosts)

    assert client.registry("ghcr.io").learned.largest_chunk == 1 << 20
    assert not client.registry("registry.lan").learned.mounts
    with pytest.raises(oci.InvalidArgument, match="there are specification, acr"):
        oci.RegistryProfile.named("no-such")


async def test_what_is_learned_is_visible() -> None:
    """It starts from the profile, is kept for the host, and its repr shows what is known."""
    async with serve_registry(profile="distribution-3") as registry:
        hosts = {registry.host: oci.HostConfig(profile="ghcr")}
        async with oci.Client(hosts=hosts) as client:
            one = client.registry(registry.url)
            assert repr(one.learned) == f"Learned(largest_chunk={4 << 20})"
            await push_referrer(one.repository("team/app"))
            shown = repr(client.registry(registry.url).learned)
            for fact in ("referrers_api=False", "conditional_puts=False", "single_post=False"):
                assert fact in shown
