"""Tags and repositories, page by page."""

from __future__ import annotations

import json

import pytest

import oci_distribution as oci
from oci_distribution.testing import Fault, RunningRegistry, serve_registry
from tests.hostile import Exchange, hostile
from tests.images import push_image

TAGS = [f"v{number:02}" for number in range(25)]


async def test_all_pages_come_and_only_when_asked_for(client: oci.Client) -> None:
    """Twenty-five tags on pages of ten are three requests, and the first page is one."""
    async with serve_registry(page_size=10) as registry:
        repo = client.registry(registry.url).repository("team/app")
        manifest = await push_image(repo)
        await repo.manifests.push(manifest, tags=TAGS)
        registry.requests.clear()

        assert await anext(repo.tags.list()) == "v00"
        assert len(registry.requests) == 1
        assert [tag async for tag in repo.tags.list()] == TAGS
        assert len(registry.requests) == 4
        assert [tag async for tag in repo.tags.list(page_size=7, last="v20")] == TAGS[21:]


async def test_repositories(client: oci.Client) -> None:
    """The catalog, where a registry has one."""
    async with serve_registry(page_size=2) as registry:
        names = [f"team/app{number}" for number in range(5)]
        for name in names:
            await push_image(client.registry(registry.url).repository(name))

        assert [name async for name in client.registry(registry.url).list_repositories()] == names


async def test_a_repository_that_is_not_there(repo: oci.Repository) -> None:
    """It is unknown, and not empty."""
    with pytest.raises(oci.NameUnknown):
        await anext(repo.tags.list())


@pytest.mark.parametrize("body", [{"name": "a/b", "tags": None}, {"tags": []}, {}])
async def test_no_tags_in_every_spelling(client: oci.Client, body: object) -> None:
    """Registries say null, nothing, or an empty list."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, json.dumps(body).encode())

    async with hostile(script) as server:
        assert [tag async for tag in client.registry(server.url).list_tags("a/b")] == []


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"tags": "v1"}', b'{"tags": [1]}'])
async def test_what_is_no_listing_is_a_protocol_error(client: oci.Client, body: bytes) -> None:
    """GAR answers 200 with HTML for some errors."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, body)

    async with hostile(script) as server:
        with pytest.raises(oci.ProtocolError):
            await anext(client.registry(server.url).list_tags("a/b"))


async def test_what_can_be_no_tag_is_left_out(client: oci.Client) -> None:
    """Who takes a tag for a file's name, or prints it, meets no surprises."""
    strangers = [None, "", "sha256:abc", "../../etc/passwd", "\x1b[2J", "a b", "x" * 129, "-v1"]

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, json.dumps({"tags": [*strangers, "v1"]}).encode())

    async with hostile(script) as server:
        assert [tag async for tag in client.registry(server.url).list_tags("a/b")] == ["v1"]


async def test_a_listing_in_circles_ends(client: oci.Client) -> None:
    """A page that was there before is not fetched again (GHSA-298f-872v-2rcx)."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(
            200, b'{"tags": ["v1"]}', [("Link", '</v2/a/b/tags/list?n=1&last=v1>; rel="next"')]
        )

    async with hostile(script) as server:
        with pytest.raises(oci.ProtocolError, match="before"):
            assert [tag async for tag in client.registry(server.url).list_tags("a/b")]

    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "link", ["http://169.254.169.254/latest", "//evil.example/x", "https://127.0.0.1/", "http://127.0.0.1:1/"]
)
async def test_a_page_elsewhere_is_no_page(client: oci.Client, link: str) -> None:
    """Pages stay on the registry's own origin (GHSA-h7vf-4x9w-h99v)."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, b'{"tags": ["v1"]}', [("Link", f'<{link}>; rel="next"')])

    async with hostile(script) as server:
        with pytest.raises(oci.ProtocolError, match="origin"):
            assert [tag async for tag in client.registry(server.url).list_tags("a/b")]

    assert len(server.requests) == 1


async def test_links_are_followed_as_they_are_spelled(client: oci.Client) -> None:
    """A relative link with an opaque token is sent back byte for byte."""

    async def script(exchange: Exchange) -> None:
        first = len(server.requests) == 1
        link = [("Link", "<list?next_page=a%2Bb%3D%3D&n=1>; rel=next")] if first else []
        await exchange.answer(200, b'{"tags": ["v1"]}', link)

    async with hostile(script) as server:
        assert [tag async for tag in client.registry(server.url).list_tags("a/b")] == ["v1", "v1"]

    assert server.requests[1].target == "/v2/a/b/tags/list?next_page=a%2Bb%3D%3D&n=1"


@pytest.mark.parametrize(("profile", "sizes"), [("quay", [1001, 100]), ("distribution-3", [1001, 100])])
async def test_pages_that_are_too_long(client: oci.Client, profile: str, sizes: list[int]) -> None:
    """A registry that refuses so many is asked for fewer, and the list is whole."""
    async with serve_registry(profile=profile) as registry:
        repo = client.registry(registry.url).repository("team/app")
        await repo.manifests.push(await push_image(repo), tags=TAGS)
        registry.requests.clear()

        assert [tag async for tag in repo.tags.list(page_size=1001)] == TAGS
        assert [request.query for request in registry.requests] == [f"n={size}" for size in sizes]


async def test_pages_of_no_size_at_all(repo: oci.Repository, registry: RunningRegistry) -> None:
    """A registry that refuses every number is asked without one, and its refusal of that is final."""
    await push_image(repo, tag="v1")
    registry.faults.add(Fault(path="*/tags/list", status=413, times=2))
    registry.requests.clear()

    assert [tag async for tag in repo.tags.list(page_size=500)] == ["v1"]
    assert [request.query for request in registry.requests] == ["n=500", "n=100", ""]

    registry.faults.add(Fault(path="*/tags/list", status=400))
    with pytest.raises(oci.ResponseError):
        await anext(repo.tags.list(page_size=50))


async def test_a_refusal_in_the_middle_is_final(client: oci.Client) -> None:
    """What was handed out cannot be listed again."""
    async with serve_registry(page_size=10) as registry:
        repo = client.registry(registry.url).repository("team/app")
        await repo.manifests.push(await push_image(repo), tags=TAGS)
        registry.faults.add(Fault(path="*/tags/list", nth=2, status=400))

        with pytest.raises(oci.ResponseError):
            assert [tag async for tag in repo.tags.list(page_size=10)] == []


@pytest.mark.parametrize("page_size", [0, -1])
async def test_pages_of_nothing(repo: oci.Repository, page_size: int) -> None:
    """They are refused before any request."""
    with pytest.raises(oci.InvalidArgument, match="at least one"):
        repo.tags.list(page_size=page_size)
    with pytest.raises(oci.InvalidArgument, match="at least one"):
        repo.registry.list_repositories(page_size=page_size)


async def test_pages_without_a_link() -> None:
    """A host that is known to link no pages is asked with `last=` until nothing comes; others are not."""
    async with serve_registry(page_size=10) as registry:
        registry.faults.add(Fault(path="*/tags/list", headers={"Link": None}))
        hosts = {registry.host: oci.HostConfig(profile=oci.RegistryProfile(pages_without_link=True))}
        async with oci.Client(hosts=hosts) as client, oci.Client() as other:
            repo = client.registry(registry.url).repository("team/app")
            await repo.manifests.push(await push_image(repo), tags=TAGS)

            assert [tag async for tag in repo.tags.list(page_size=10)] == TAGS
            stranger = other.registry(registry.url).repository("team/app")
            assert [tag async for tag in stranger.tags.list(page_size=10)] == TAGS[:10]


async def test_pages_that_always_begin_at_the_beginning() -> None:
    """A registry that ignores `last=` has no further pages, and nothing is listed twice."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, b'{"tags": ["v1", "v2", "v3"]}')

    profile = oci.RegistryProfile(pages_without_link=True)
    async with (
        hostile(script) as server,
        oci.Client(hosts={server.url.removeprefix("http://"): oci.HostConfig(profile=profile)}) as client,
    ):
        registry = client.registry(server.url)
        assert [tag async for tag in registry.list_tags("a")] == ["v1", "v2", "v3"]
        assert [tag async for tag in registry.list_tags("a", last="v1")] == ["v2", "v3"]
