"""Starting, stopping and watching a server."""

from __future__ import annotations

import io
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from inspect import signature
from typing import TYPE_CHECKING

import aiohttp
import anyio
import httpx
import pytest
import trustme
from starlette.applications import Starlette
from starlette.routing import Mount

from oci_distribution.testing import (
    BasicAuth,
    RecordedRequest,
    RegistryApp,
    RegistryOptions,
    RequestLog,
    TokenAuth,
    serve_registry,
)

if TYPE_CHECKING:
    from tests.testing.conftest import Remote


async def test_url_and_host() -> None:
    """They say where it is, and it is there at once."""
    async with serve_registry() as registry:
        assert registry.url == f"http://{registry.host}"
        assert registry.host.startswith("127.0.0.1:")
        async with aiohttp.ClientSession() as session, session.get(f"{registry.url}/v2/") as answer:
            assert (answer.status, await answer.json()) == (200, {})
            assert answer.headers["Docker-Distribution-API-Version"] == "registry/2.0"


async def test_start_and_stop_are_quick() -> None:
    """Each takes milliseconds, so that every test can have a registry of its own."""
    times = []
    async with aiohttp.ClientSession() as session:  # outlives the servers, and keeps its connections
        for _ in range(5):
            start = time.perf_counter()
            async with serve_registry() as registry, session.get(f"{registry.url}/v2/") as answer:
                await answer.read()
            times.append(time.perf_counter() - start)
    assert min(times) < 0.05


async def test_nobody_answers_afterwards() -> None:
    """The port is free again, also for idle connections that were kept."""
    async with aiohttp.ClientSession() as session:
        async with serve_registry() as registry, session.get(f"{registry.url}/v2/") as answer:
            await answer.read()
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(f"{registry.url}/v2/")
        port = int(registry.host.rpartition(":")[2])
        async with serve_registry(port=port) as again:
            assert again.url == registry.url


async def test_taken_port() -> None:
    """It is an OSError."""
    async with serve_registry() as registry:
        with pytest.raises(OSError, match="in use"):
            async with serve_registry(port=int(registry.host.rpartition(":")[2])):
                pass


async def test_stop_with_an_upload_in_progress(make_remote: type[Remote]) -> None:
    """A request that never ends is cut, and what it sent is forgotten."""
    registry_is_gone = anyio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        await registry_is_gone.wait()

    async with aiohttp.ClientSession() as session, anyio.create_task_group() as tasks:
        async with serve_registry() as registry:
            remote = make_remote(session, registry)
            opened = await remote.ask("POST", f"{registry.url}/v2/a/blobs/uploads/")
            target = registry.url + opened.headers["Location"]

            async def send() -> None:
                with pytest.raises(aiohttp.ClientError):
                    await remote.ask("PATCH", target, data=body())

            tasks.start_soon(send)
            (upload,) = registry.app.uploads.values()
            await remote.wait_until(lambda: upload.size == 1)
            start = time.perf_counter()
        assert time.perf_counter() - start < 5
        assert not registry.app.uploads
        registry_is_gone.set()


async def test_cancelled_owner_stops_the_server() -> None:
    """Cancelling whoever opened the context leaves nothing listening."""
    with anyio.CancelScope() as scope:
        async with serve_registry() as registry:
            scope.cancel()
            await anyio.sleep(1)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(f"{registry.url}/v2/")


async def test_request_in_progress_may_end(make_remote: type[Remote]) -> None:
    """Stopping waits a moment for what has begun."""
    stopping = anyio.Event()
    answers: list[int] = []

    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        await stopping.wait()
        yield b"y"

    async with (
        aiohttp.ClientSession() as session,
        anyio.create_task_group() as tasks,
        serve_registry() as registry,
    ):
        remote = make_remote(session, registry)
        opened = await remote.ask("POST", f"{registry.url}/v2/a/blobs/uploads/")

        async def send() -> None:
            target = registry.url + opened.headers["Location"]
            answers.append((await remote.ask("PATCH", target, data=body())).status)

        tasks.start_soon(send)
        (upload,) = registry.app.uploads.values()
        await remote.wait_until(lambda: upload.size == 1)
        stopping.set()
    assert answers == [202]


class _Huge(io.BytesIO):
    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        return bytes(size or 0) if self.reads < 1000 else b""


async def test_client_that_leaves_in_the_middle_of_a_download(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server stops reading, and goes on serving others."""
    digest = (await remote.push_blob("a", b"data"))["digest"]
    repository = remote.registry.app.storage.open("a")
    file = _Huge()
    monkeypatch.setattr(repository, "size", lambda _: 1 << 50)
    monkeypatch.setattr(repository, "open", lambda _: file)
    async with remote.http.get(f"/v2/a/blobs/{digest}") as answer:
        await answer.content.readany()
        answer.close()
    await remote.wait_until(lambda: file.closed)
    assert file.reads < 1000
    monkeypatch.undo()
    assert (await remote.ask("GET", f"/v2/a/blobs/{digest}")).body == b"data"


async def test_early_refusal_arrives_while_the_body_is_sent(remote: Remote) -> None:
    """An answer that does not wait for the body is not lost, and the connection goes on."""

    async def body() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield bytes(1 << 18)

    answer = await remote.ask("PUT", "/v2/a/blobs/uploads/nothing?digest=sha256:" + "0" * 64, data=body())
    assert answer.error == (404, "BLOB_UPLOAD_UNKNOWN")
    assert (await remote.ask("GET", "/v2/")).status == 200


async def test_https() -> None:
    """With a TLS context it serves https, and says so in URL and challenge."""
    authority = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    async with (
        serve_registry(ssl=server, auth=TokenAuth({"ann": "secret"})) as registry,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=client)) as session,
    ):
        assert registry.url == f"https://{registry.host}"
        async with session.get(f"{registry.url}/v2/") as answer:
            assert answer.status == 401
            assert f'realm="{registry.url}/token"' in answer.headers["WWW-Authenticate"]


async def test_plain_request_to_a_tls_port_and_back(capfd: pytest.CaptureFixture[str]) -> None:
    """A client that tries TLS first, as Go's tools do, makes no noise."""
    async with serve_registry() as registry:
        host, _, port = registry.host.partition(":")
        with pytest.raises((anyio.BrokenResourceError, ssl.SSLError, anyio.EndOfStream)):
            await anyio.connect_tcp(host, int(port), tls=True)
    assert capfd.readouterr() == ("", "")


async def test_requests_are_recorded(remote: Remote) -> None:
    """Method, path, query, sizes and status, in order; and they can be counted and cleared."""
    requests = remote.registry.requests
    digest = remote.digest_of(b"data")
    await remote.ask("POST", f"/v2/a/b/blobs/uploads/?digest={digest}", data=b"data", headers={"X-A": "b"})
    await remote.ask("GET", "/v2/a/b/manifests/v1")
    first, second = requests
    assert (first.method, first.path, first.query) == ("POST", "/v2/a/b/blobs/uploads/", f"digest={digest}")
    assert (first.body_size, first.status, first.headers["x-a"]) == (4, 201, "b")
    assert (second.method, second.status, second.body_size) == ("GET", 404, 0)
    assert (len(requests), requests.count(), requests.count("GET"), requests.count("PUT")) == (2, 2, 1, 0)
    assert requests.count(path="/v2/*/blobs/*") == 1
    assert requests.count("GET", "/v2/*/blobs/*") == 0
    assert "GET /v2/a/b/manifests/v1 -> 404" in repr(requests)
    requests.clear()
    assert requests.count() == 0


async def test_record_is_bounded() -> None:
    """A long-running registry does not remember everything."""
    log = RequestLog(limit=2)
    for path in ("/1", "/2", "/3"):
        log.append(RecordedRequest("GET", path, "", {}))
    assert [request.path for request in log] == ["/2", "/3"]


async def test_app_without_a_server() -> None:
    """The app can be called through an ASGI transport."""
    app = RegistryApp(auth=BasicAuth({"ann": "secret"}))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://registry") as client:
        assert (await client.get("/v2/")).status_code == 401
        assert (await client.get("/v2/", auth=("ann", "secret"))).status_code == 200


async def test_app_that_is_mounted() -> None:
    """Below another application, locations, links and the realm have its prefix."""
    app = RegistryApp(page_size=1, auth=TokenAuth({"ann": "secret"}))
    outer = Starlette(routes=[Mount("/below", app)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(outer), base_url="http://registry") as client:
        challenge = (await client.get("/below/v2/")).headers["WWW-Authenticate"]
        assert 'realm="http://registry/below/token"' in challenge
        scope = "repository:a:pull,push registry:catalog:*"
        token = await client.get("/below/token", params={"scope": scope}, auth=("ann", "secret"))
        client.headers["Authorization"] = f"Bearer {token.json()['token']}"
        opened = await client.post("/below/v2/a/blobs/uploads/")
        assert opened.headers["Location"].startswith("/below/v2/a/blobs/uploads/")
        raw = b'{"mediaType": "application/vnd.example.v1+json"}'
        for tag in ("v1", "v2"):
            assert (await client.put(f"/below/v2/a/manifests/{tag}", content=raw)).status_code == 201
        page = await client.get("/below/v2/a/tags/list")
        assert page.headers["Link"] == '</below/v2/a/tags/list?n=1&last=v1>; rel="next"'


async def test_one_app_behind_two_servers() -> None:
    """A registry can stop and come back: content and uploads are the app's."""
    app = RegistryApp()
    async with aiohttp.ClientSession() as session:
        async with (
            serve_registry(app=app) as first,
            session.post(f"{first.url}/v2/a/blobs/uploads/") as answer,
        ):
            location = answer.headers["Location"]
        async with serve_registry(app=app) as second, session.get(f"{second.url}{location}") as answer:
            assert answer.status == 204


async def test_page_size_is_checked() -> None:
    """A page has at least one item."""
    with pytest.raises(ValueError, match="page_size"):
        RegistryApp(page_size=0)


def test_import_costs_nothing_before_use() -> None:
    """The package does not import the web server until something of it is used, and knows no other name."""
    code = (
        "import sys, oci_distribution.testing as t\n"
        "assert not {'starlette', 'uvicorn', 'jwt'} & sys.modules.keys()\n"
        "assert all(hasattr(t, name) for name in t.__all__)\n"
        "assert not {'httpx', 'aiohttp'} & sys.modules.keys()\n"
        "assert not hasattr(t, 'other')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_options_of_the_app_can_be_passed_on() -> None:
    """`serve_registry` takes every option that the app has."""
    assert set(RegistryOptions.__annotations__) == set(signature(RegistryApp).parameters)


async def test_options_beside_an_app() -> None:
    """An app has its options already."""
    with pytest.raises(TypeError, match="leave out page_size"):
        async with serve_registry(app=RegistryApp(), page_size=2):
            pass
