"""The client: names to stores, options, credentials, and the httpx client under it."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx
import pytest

import oci_distribution as oci
from oci_distribution.testing import BasicAuth, RunningRegistry, TokenAuth, serve_registry
from tests.images import push_image

USER_AGENT = f"oci-distribution/{oci.__version__}"


async def nobody(host: str, repository: str | None) -> oci.Credential:
    return oci.Credential()


class Ann:
    """Knows Ann, and counts how often it was asked."""

    def __init__(self, password: str = "secret") -> None:
        self.password = password
        self.asked: list[tuple[str, str | None]] = []

    async def __call__(self, host: str, repository: str | None) -> oci.Credential:
        self.asked.append((host, repository))
        return oci.Credential(username="ann", password=self.password)


@pytest.mark.parametrize(
    ("text", "origin", "repository", "reference"),
    [
        ("alpine", "https://registry-1.docker.io", "library/alpine", "latest"),
        ("docker.io/org/app:v1", "https://registry-1.docker.io", "org/app", "v1"),
        ("ghcr.io/org/app:v1", "https://ghcr.io", "org/app", "v1"),
        ("localhost:5000/a/b:v1", "http://localhost:5000", "a/b", "v1"),
        ("http://registry.lan:5000/a:v1", "http://registry.lan:5000", "a", "v1"),
        ("http://registry/a/b", "http://registry", "a/b", "latest"),
        ("https://127.0.0.1:5001/a@sha256:" + "0" * 64, "https://127.0.0.1:5001", "a", "sha256:" + "0" * 64),
        ("ghcr.io/a/b:v1@sha256:" + "0" * 64, "https://ghcr.io", "a/b", "sha256:" + "0" * 64),
    ],
)
async def test_locate_a_registry(
    client: oci.Client, text: str, origin: str, repository: str, reference: str
) -> None:
    """A reference names a repository and a tag or digest; the digest decides."""
    store, found = client.locate(text)

    assert isinstance(store, oci.Repository)
    assert (str(store.registry.host.origin), store.name, found) == (origin, repository, reference)


@pytest.mark.parametrize(
    ("text", "path", "reference"),
    [
        ("oci:./dir:v1", "dir", "v1"),
        ("oci:dir", "dir", "latest"),
        ("oci:/a:b/dir", "/a:b/dir", "latest"),
        ("oci:/a/dir@sha256:" + "0" * 64, "/a/dir", "sha256:" + "0" * 64),
    ],
)
async def test_locate_a_layout(client: oci.Client, text: str, path: str, reference: str) -> None:
    """A layout is a directory, and a tag or digest after it."""
    store, found = client.locate(text)

    assert isinstance(store, oci.Layout)
    assert (store.path, found) == (Path(path), reference)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ghcr.io/UPPER/case",
        "a b",
        "ftp://x/y",
        "http://x",
        "oci:",
        "oci::v1",
        "oci:dir:",
        "x/y:tag:tag",
        "x/y@sha256:1",
    ],
)
async def test_what_names_nothing_is_refused(client: oci.Client, text: str) -> None:
    """The error says what is wrong with it, before any request."""
    with pytest.raises(oci.InvalidArgument):
        client.locate(text)


async def test_a_repository_has_no_tag(client: oci.Client) -> None:
    """A repository is asked for by its name alone."""
    with pytest.raises(oci.InvalidReference, match="no tag"):
        client.repository("ghcr.io/org/app:v1")
    with pytest.raises(oci.InvalidReference):
        client.registry("ghcr.io").repository("Not/Valid")


async def test_ping_and_version(client: oci.Client, registry: RunningRegistry) -> None:
    """A registry answers, and says which version of the API it speaks."""
    await client.registry(registry.url).ping()

    assert await client.registry(registry.url).version() == "registry/2.0"


@pytest.mark.parametrize("auth", [BasicAuth, TokenAuth])
async def test_logged_in_all_works(auth: type[BasicAuth | TokenAuth]) -> None:
    """With the right credentials a whole copy goes through, for Basic and for tokens."""
    async with (
        serve_registry(auth=auth({"ann": "secret"})) as registry,
        oci.Client(auth_provider=Ann()) as client,
    ):
        repo = client.registry(registry.url).repository("team/app")
        await push_image(repo, [b"x" * 100_000], tag="v1")

        await oci.copy(repo, "v1", repo.registry.repository("team/copy"))

        assert [tag async for tag in repo.tags.list()] == ["v1"]


@pytest.mark.parametrize("auth", [BasicAuth, TokenAuth])
@pytest.mark.parametrize("provider", [nobody, Ann("hunter2")])
async def test_without_the_right_credentials_nothing_works(
    auth: type[BasicAuth | TokenAuth], provider: oci.AuthProvider
) -> None:
    """The error is typed, and holds no secret."""
    async with (
        serve_registry(auth=auth({"ann": "secret"})) as registry,
        oci.Client(auth_provider=provider) as client,
    ):
        with pytest.raises((oci.Unauthorized, oci.TokenError)) as caught:
            await client.registry(registry.url).get_manifest("team/app", "v1")

    assert "hunter2" not in repr(caught.value) + str(caught.value)


async def test_tokens_are_asked_for_once(client: oci.Client) -> None:
    """A hundred requests for the same scope are one token, and after the first no 401."""
    auth = TokenAuth({"ann": "secret"})
    async with serve_registry(auth=auth) as registry, oci.Client(auth_provider=Ann()) as logged_in:
        repo = logged_in.registry(registry.url).repository("team/app")
        await push_image(repo, tag="v1")
        await repo.manifests.get("v1")
        issued = auth.tokens_issued
        registry.requests.clear()

        for _ in range(10):
            await repo.manifests.get("v1")

        assert auth.tokens_issued == issued
        assert [request.status for request in registry.requests] == [200] * 10


async def test_the_provider_is_asked_for_registry_and_repository() -> None:
    """Credentials may differ between repositories of a registry."""
    ann = Ann()
    async with (
        serve_registry(auth=BasicAuth({"ann": "secret"})) as registry,
        oci.Client(auth_provider=ann) as client,
    ):
        await push_image(client.registry(registry.url).repository("team/app"))

    assert set(ann.asked) == {(registry.host, "team/app")}


async def test_direct_requests_go_without_authorization() -> None:
    """Nothing is said about who we are, and a 401 is final."""
    async with (
        serve_registry(auth=BasicAuth({"ann": "secret"})) as registry,
        oci.Client(auth_provider=Ann()) as client,
    ):
        await client.registry(registry.url).ping()
        registry.requests.clear()

        with oci.direct_requests(), pytest.raises(oci.Unauthorized):
            await client.registry(registry.url).ping()

        assert all("authorization" not in request.headers for request in registry.requests)


async def test_the_httpx_client_is_authorised_like_the_rest() -> None:
    """What is sent by hand gets the same tokens."""
    async with (
        serve_registry(auth=TokenAuth({"ann": "secret"})) as registry,
        oci.Client(auth_provider=Ann()) as client,
    ):
        by_hand = await client.http.get(f"{registry.url}/v2/")
        sent = await client.send(client.http.build_request("GET", f"{registry.url}/v2/"))

    assert (by_hand.status_code, sent.status_code) == (200, 200)


async def test_anybodys_httpx_client_can_carry_us(registry: RunningRegistry) -> None:
    """With another client under it, with its hooks and transport, everything works, and it stays open."""
    seen: list[str] = []

    async def hook(request: httpx.Request) -> None:
        seen.append(request.method)

    async with httpx.AsyncClient(event_hooks={"request": [hook]}) as http:
        async with oci.Client(http=http, auth_provider=nobody) as client:
            repo = client.registry(registry.url).repository("team/app")
            await push_image(repo, [b"x" * 300_000], tag="v1")
            await repo.manifests.get("v1")

        assert not http.is_closed
        assert {request.headers["user-agent"] for request in registry.requests} == {USER_AGENT}
        assert seen.count("PUT") == 2


async def test_an_httpx_auth_can_take_the_place_of_ours() -> None:
    """`auth` is used for the registry's own origin, bodies included."""
    async with (
        serve_registry(auth=BasicAuth({"ann": "secret"})) as registry,
        oci.Client(auth=httpx.BasicAuth("ann", "secret")) as client,
    ):
        repo = client.registry(registry.url).repository("team/app")
        await push_image(repo, [b"x" * 300_000], tag="v1")

        assert (await repo.manifests.get("v1")).children


async def test_registry_auth_serves_a_plain_httpx_client() -> None:
    """The adapter gives the same logic to who does not use our client."""
    async with (
        serve_registry(auth=TokenAuth({"ann": "secret"})) as registry,
        httpx.AsyncClient(auth=oci.RegistryAuth(auth_provider=Ann())) as http,
    ):
        started = await http.post(f"{registry.url}/v2/team/app/blobs/uploads/")

    assert started.status_code == 202


async def test_headers_go_to_the_registry(registry: RunningRegistry) -> None:
    """A user's own headers are on each request."""
    async with oci.Client(headers={"X-Team": "blue"}, auth_provider=nobody) as client:
        await client.registry(registry.url).ping()

    assert registry.requests[0].headers["x-team"] == "blue"
    assert registry.requests[0].headers["user-agent"].startswith("oci-distribution/")


async def test_arguments_that_exclude_each_other_are_refused() -> None:
    """A client of one's own has its own transport."""
    async with httpx.AsyncClient() as http:
        with pytest.raises(ValueError, match="either"):
            oci.Client(http=http, transport=oci.AiohttpTransport())
    with pytest.raises(ValueError, match="absolute"):
        oci.Client(trusted_origins=["not an origin"])


async def test_over_tls_with_an_authority_of_ones_own() -> None:
    """A context for the engine says whom to trust; without it the error says what is wrong."""
    from tests.hostile import certificates  # noqa: PLC0415

    tls = certificates()
    async with serve_registry(ssl=tls.server) as registry:
        async with oci.Client(
            transport=oci.AiohttpTransport(ssl_context=tls.client), auth_provider=nobody
        ) as client:
            await client.registry(registry.url).ping()
        async with oci.Client(auth_provider=nobody) as client:
            with pytest.raises(oci.TLSError, match="SSL_CERT_FILE"):
                await client.registry(registry.url).ping()
    assert isinstance(tls.client, ssl.SSLContext)


async def test_a_closed_client_says_so(registry: RunningRegistry) -> None:
    """Using it again is a mistake, and a RuntimeError."""
    client = oci.Client(auth_provider=nobody)
    await client.registry(registry.url).ping()
    await client.aclose()
    await client.aclose()

    with pytest.raises(RuntimeError):
        await client.registry(registry.url).ping()
