"""Anybody's `httpx.Auth`, transport and `httpx.AsyncClient` under ours, and ours used by hand."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

import httpx
import pytest

import oci_distribution as oci
from oci_distribution.spec import endpoints
from oci_distribution.testing import BasicAuth, Fault, RunningRegistry, TokenAuth, serve_registry
from tests.hostile import Exchange, hostile
from tests.images import push_image

BIG = b"x" * 300_000


async def nobody(host: str, repository: str | None) -> oci.Credential:
    return oci.Credential()


async def ann(host: str, repository: str | None) -> oci.Credential:
    return oci.Credential(username="ann", password="secret")


class Ticket(httpx.Auth):
    """A scheme of somebody's own, which looks into each answer's body."""

    requires_response_body = True

    def __init__(self) -> None:
        self.seen: list[int] = []

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        response = yield request
        self.seen.append(len(response.content))
        if response.status_code == 401:
            request.headers["Authorization"] = httpx.BasicAuth("ann", "secret")._auth_header
            response = yield request
            self.seen.append(len(response.content))


class Sealed(httpx.Auth):
    """A scheme that signs the body, and so reads it whole."""

    requires_request_body = True

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["X-Seal"] = hashlib.sha256(request.content).hexdigest()
        request.headers["Authorization"] = httpx.BasicAuth("ann", "secret")._auth_header
        yield request


@pytest.mark.parametrize("auth", [httpx.BasicAuth("ann", "secret"), Ticket(), Sealed()])
async def test_a_scheme_of_ones_own(auth: httpx.Auth) -> None:
    """Everything works with it: large bodies both ways, also when it reads each answer, or each body."""
    async with serve_registry(auth=BasicAuth({"ann": "secret"})) as registry, oci.Client(auth=auth) as client:
        repo = client.registry(registry.url).repository("team/app")
        await push_image(repo, [BIG], tag="v1")

        manifest = await repo.manifests.get("v1")
        contents = [await repo.blobs.read(child) for child in manifest.children]
        async with repo.blobs.writer(chunk_size=100_000) as writer:
            await writer.write(BIG)
            written = await writer.commit()

        assert BIG in contents
        assert await repo.blobs.read(written) == BIG
        with pytest.raises(oci.ManifestUnknown):
            await repo.manifests.get("v2")


async def test_digest_authentication() -> None:
    """A challenge of a scheme that we do not know is for the `httpx.Auth`, and its body is sent again."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        authorization = exchange.header("Authorization") or ""
        if not authorization.startswith("Digest "):
            challenge = 'Digest realm="registry", nonce="abc", qop="auth", algorithm=SHA-256'
            await exchange.answer(401, b"who?", [("WWW-Authenticate", challenge)])
            return
        assert 'username="ann"' in authorization
        assert re.search(r'uri="([^"]*)"', authorization)[1] == exchange.target  # type: ignore[index]
        assert len(exchange.body) == len(BIG)
        await exchange.answer(201)

    async with hostile(script) as server, oci.Client(auth=httpx.DigestAuth("ann", "secret")) as client:
        registry = client.registry(server.url)
        endpoint = endpoints.put_upload("team/app", f"{server.url}/upload?state=1", oci.Digest.of(BIG))
        await registry.sender.request(registry.host, endpoint, limit=1000, body=oci.BytesSource(BIG))

    assert [len(request.body) for request in server.requests] == [len(BIG)] * 2
    assert "secret" not in server.requests[1].head.decode()


async def test_a_scheme_of_ones_own_is_for_the_registry_alone() -> None:
    """Where a registry redirects to, nobody is told who we are."""

    async def storage(exchange: Exchange) -> None:
        await exchange.answer(200, b"abc")

    async with hostile(storage) as other:

        async def script(exchange: Exchange) -> None:
            await exchange.answer(307, headers=[("Location", f"{other.url}/blob")])

        async with hostile(script) as server, oci.Client(auth=httpx.BasicAuth("ann", "secret")) as client:
            repo = client.registry(server.url).repository("team/app")
            assert await repo.blobs.read(oci.Digest.of(b"abc")) == b"abc"

    assert server.requests[0].header("Authorization") is not None
    assert other.requests[0].header("Authorization") is None


@pytest.mark.parametrize("name", ["httpx", "asgi"])
async def test_a_transport_of_ones_own(registry: RunningRegistry, name: str) -> None:
    """httpx's own over sockets, and its way into an application of the same process."""
    transport = httpx.AsyncHTTPTransport() if name == "httpx" else httpx.ASGITransport(registry.app)
    async with oci.Client(transport=transport, auth_provider=nobody) as client:
        repo = client.registry(registry.url).repository("team/app")
        await push_image(repo, [BIG], tag="v1")

        manifest = await repo.manifests.get("v1")

        assert BIG in [await repo.blobs.read(child) for child in manifest.children]
        assert [tag async for tag in repo.tags.list()] == ["v1"]


async def test_a_mock_transport() -> None:
    """Its answers are whole before anybody reads them, and its requests, too."""
    stored: dict[str, bytes] = {}

    async def handle(request: httpx.Request) -> httpx.Response:
        match request.method:
            case "HEAD" | "GET" if not stored:
                return httpx.Response(404)
            case "POST":
                return httpx.Response(202, headers={"Location": "/v2/a/b/blobs/uploads/1"})
            case "PUT":
                stored["blob"] = await request.aread()
                return httpx.Response(201)
            case _:
                return httpx.Response(200, content=stored["blob"])

    async with oci.Client(transport=httpx.MockTransport(handle), auth_provider=nobody) as client:
        repo = client.repository("registry.example/a/b")
        blob = await repo.blobs.push(BIG)

        assert await repo.blobs.read(blob) == BIG


async def test_hooks_of_a_client_of_ones_own(registry: RunningRegistry) -> None:
    """They see every request and answer, and may read an answer's body before we do."""
    seen: list[tuple[str, int]] = []

    async def on_request(request: httpx.Request) -> None:
        request.headers["X-Trace"] = "abc"

    async def on_response(response: httpx.Response) -> None:
        seen.append((response.request.method, len(await response.aread())))

    hooks: dict[str, list[Callable[..., Any]]] = {"request": [on_request], "response": [on_response]}
    async with (
        httpx.AsyncClient(event_hooks=hooks) as http,
        oci.Client(http=http, auth_provider=nobody) as client,
    ):
        repo = client.registry(registry.url).repository("team/app")
        blob = await repo.blobs.push(BIG)
        assert await repo.blobs.read(blob) == BIG
        async with repo.blobs.open(blob) as reader:
            assert [len(piece) async for piece in reader][-1] > 0
        with pytest.raises(oci.BlobUnknown, match="BLOB_UNKNOWN"):
            await repo.blobs.read(oci.Digest.of(b"?"))

    assert len(seen) == len(registry.requests)
    assert ("GET", len(BIG)) in seen
    assert {request.headers["x-trace"] for request in registry.requests} == {"abc"}


async def test_headers_of_a_client_of_ones_own() -> None:
    """They go to the registry as if we had been given them, and never to where it sends us."""

    async def storage(exchange: Exchange) -> None:
        await exchange.answer(200, b"abc")

    async with hostile(storage) as other:

        async def script(exchange: Exchange) -> None:
            await exchange.answer(307, headers=[("Location", f"{other.url}/blob")])

        async with (
            hostile(script) as server,
            httpx.AsyncClient(headers={"X-Team": "blue", "User-Agent": "robot/1"}) as http,
            oci.Client(http=http, headers={"X-Mine": "1"}, auth_provider=nobody) as client,
        ):
            repo = client.registry(server.url).repository("team/app")
            await repo.blobs.read(oci.Digest.of(b"abc"))

    asked = server.requests[0]
    assert [asked.header(name) for name in ("X-Team", "X-Mine", "User-Agent", "Accept-Encoding")] == [
        "blue",
        "1",
        "robot/1",
        "identity",
    ]
    assert len([name for name, _ in asked.headers if name.lower() == "user-agent"]) == 1
    assert other.requests[0].header("X-Team") is None


async def test_the_proxy_of_a_client_of_ones_own(registry: RunningRegistry) -> None:
    """Every request goes through it."""
    repo_path = "/v2/team/app/blobs/"
    asked: list[str] = []

    async def script(exchange: Exchange) -> None:
        asked.append(exchange.target)
        await exchange.answer(200, b"abc")

    async with (
        hostile(script) as proxy,
        httpx.AsyncClient(proxy=proxy.url) as http,
        oci.Client(http=http, auth_provider=nobody) as client,
    ):
        repo = client.registry("http://registry.example").repository("team/app")
        assert await repo.blobs.read(oci.Digest.of(b"abc")) == b"abc"

    assert asked == [f"http://registry.example{repo_path}{oci.Digest.of(b'abc')}"]


async def test_an_authorization_of_ones_own_stands_alone() -> None:
    """A header that the user gives takes the place of what we would say, and there is only one."""
    async with (
        serve_registry(auth=BasicAuth({"ann": "secret"})) as registry,
        oci.Client(
            headers={"authorization": httpx.BasicAuth("ann", "secret")._auth_header}, auth_provider=ann
        ) as client,
    ):
        await client.registry(registry.url).ping()

    assert [request.status for request in registry.requests] == [200]
    assert "," not in registry.requests[0].headers["authorization"]


@pytest.fixture
async def moved() -> AsyncGenerator[tuple[RunningRegistry, RunningRegistry]]:
    """A registry that sends us on to another, and that one; both want a login."""
    async with (
        serve_registry(auth=TokenAuth({"ann": "secret"})) as first,
        serve_registry(auth=TokenAuth({"ann": "secret"})) as other,
    ):
        first.faults.add(Fault(path="/v2/", status=307, headers={"Location": f"{other.url}/v2/"}))
        yield first, other


async def test_redirects_by_hand(moved: tuple[RunningRegistry, RunningRegistry]) -> None:
    """They are followed when one says so, and the other origin is told nothing."""
    first, other = moved
    async with oci.Client(auth_provider=ann) as client:
        left = await client.http.get(f"{first.url}/v2/")
        followed = await client.http.get(f"{first.url}/v2/", follow_redirects=True)

    assert left.status_code == 307
    assert followed.status_code == 401
    assert {request.headers.get("authorization") for request in other.requests} == {None}


@pytest.mark.parametrize("auth", [BasicAuth, TokenAuth])
async def test_registry_auth_on_a_plain_client(auth: type[BasicAuth | TokenAuth]) -> None:
    """Pushing and reading by hand, each request with what it needs, for Basic and for tokens."""
    digest = oci.Digest.of(BIG)
    async with (
        serve_registry(auth=auth({"ann": "secret"})) as registry,
        httpx.AsyncClient(base_url=registry.url, auth=oci.RegistryAuth(auth_provider=ann)) as http,
    ):
        missing = await http.head(f"/v2/team/app/blobs/{digest}")
        started = await http.post("/v2/team/app/blobs/uploads/")
        location = httpx.URL(started.headers["Location"]).copy_merge_params({"digest": str(digest)})
        stored = await http.put(location, content=BIG)
        read = await http.get(f"/v2/team/app/blobs/{digest}")
        foreign = await http.get("/v2/_catalog")

    statuses = [answer.status_code for answer in (missing, started, stored, read, foreign)]
    assert statuses == [404, 202, 201, 200, 200]
    assert read.content == BIG


@pytest.mark.parametrize("auth", [BasicAuth, TokenAuth])
async def test_registry_auth_without_the_right_password(auth: type[BasicAuth | TokenAuth]) -> None:
    """A Basic registry's 401 is the answer, and a token server's is an error of ours; neither names it."""

    async def wrong(host: str, repository: str | None) -> oci.Credential:
        return oci.Credential(username="ann", password="hunter2")

    async with (
        serve_registry(auth=auth({"ann": "secret"})) as registry,
        httpx.AsyncClient(auth=oci.RegistryAuth(auth_provider=wrong)) as http,
    ):
        if auth is BasicAuth:
            assert (await http.get(f"{registry.url}/v2/")).status_code == 401
        else:
            with pytest.raises(oci.TokenError) as caught:
                await http.get(f"{registry.url}/v2/")
            assert "hunter2" not in f"{caught.value!r} {caught.value}"
