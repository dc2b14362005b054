"""The HTTP client: httpx's own, without what we never need."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator

import httpx
import pytest

from oci_distribution.transport.http_client import USER_AGENT, RegistryHTTPClient
from tests.hostile import Exchange, hostile


async def answer(exchange: Exchange) -> None:
    await exchange.read_body()
    if exchange.target == "/moved":
        await exchange.answer(302, headers=[("Location", "/here")])
    elif exchange.target == "/private" and exchange.header("Authorization") is None:
        await exchange.answer(401)
    else:
        await exchange.answer(200, b"abc", [("Set-Cookie", "sid=1")])


@pytest.fixture
async def client() -> AsyncIterator[RegistryHTTPClient]:
    async with RegistryHTTPClient() as client:
        yield client


async def send(client: RegistryHTTPClient, request: httpx.Request) -> httpx.Response:
    response = await client.send(request, stream=True, auth=None, follow_redirects=False)
    await response.aread()
    await response.aclose()
    return response


async def test_a_finished_request_is_sent_as_it_is(client: RegistryHTTPClient) -> None:
    """No header is added but a missing User-Agent, and the answer knows its request."""
    async with hostile(answer) as server:
        request = httpx.Request("GET", server.url, headers=[("X", "1")], stream=httpx.ByteStream(b""))
        response = await send(client, request)
    assert response.content == b"abc"
    assert response.request is request
    assert [name for name, _ in server.requests[0].headers] == ["Host", "X", "User-Agent"]


async def test_a_user_agent_of_the_callers_own_stays(client: RegistryHTTPClient) -> None:
    """It is only a default."""
    async with hostile(answer) as server:
        await send(client, httpx.Request("GET", server.url, headers={"user-agent": "mine"}))
        await send(client, httpx.Request("GET", server.url))
    assert [exchange.header("User-Agent") for exchange in server.requests] == ["mine", USER_AGENT]
    assert USER_AGENT.startswith("oci-distribution")


async def test_by_hand_it_is_a_client_like_any_other(client: RegistryHTTPClient) -> None:
    """Reading, redirects when asked for, and authentication."""
    async with hostile(answer) as server:
        assert (await client.get(server.url)).content == b"abc"
        assert (await client.get(f"{server.url}/moved")).status_code == 302
        assert (await client.get(f"{server.url}/moved", follow_redirects=True)).status_code == 200
        assert (await client.get(f"{server.url}/private", auth=("user", "password"))).status_code == 200
        assert (await client.put(server.url, content=b"body")).status_code == 200
        async with client.stream("GET", server.url) as response:
            assert b"".join([piece async for piece in response.aiter_raw()]) == b"abc"
    assert server.requests[0].header("Accept-Encoding") == "identity"
    assert server.requests[0].header("User-Agent") == USER_AGENT


async def test_a_user_in_the_url_authenticates(client: RegistryHTTPClient) -> None:
    """As in httpx, also for a finished request."""
    async with hostile(answer) as server:
        url = server.url.replace("://", "://user:password@")
        response = await send(client, httpx.Request("GET", f"{url}/private"))
    assert response.status_code == 200


async def test_hooks_are_called(client: RegistryHTTPClient) -> None:
    """A client with hooks takes httpx's own path for everything."""
    seen: list[object] = []

    async def note(event: httpx.Request | httpx.Response) -> None:
        seen.append(type(event))

    client.event_hooks = {"request": [note], "response": [note]}
    async with hostile(answer) as server:
        await send(client, httpx.Request("GET", server.url))
    assert seen == [httpx.Request, httpx.Response]


async def test_cookies_are_never_kept(client: RegistryHTTPClient) -> None:
    """On neither path."""
    async with hostile(answer) as server:
        await client.get(server.url)
        await send(client, httpx.Request("GET", server.url))
        await client.get(server.url)
    assert [exchange.header("Cookie") for exchange in server.requests] == [None] * 3
    assert not client.cookies


async def test_a_closed_client_says_so() -> None:
    """And its transport is closed with it."""
    client = RegistryHTTPClient()
    await client.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await send(client, httpx.Request("GET", "http://127.0.0.1:9"))
    with pytest.raises(RuntimeError, match="closed"):
        await client.get("http://127.0.0.1:9")


async def test_another_transport_can_carry_it() -> None:
    """An ASGI app, a mock, or somebody's own engine."""
    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=request.url.raw_path))
    async with RegistryHTTPClient(transport=transport) as client:
        response = await send(client, httpx.Request("GET", "http://registry.test/v2/"))
    assert response.content == b"/v2/"


async def test_a_request_without_a_timeout_gets_the_clients(client: RegistryHTTPClient) -> None:
    """Nobody waits for ever by accident."""

    async def silent(exchange: Exchange) -> None:
        await exchange.hung_up()

    client.timeout = httpx.Timeout(0.05)
    async with hostile(silent) as server:
        with pytest.raises(httpx.ReadTimeout):
            await send(client, httpx.Request("GET", server.url))


def test_building_one_reads_no_certificates() -> None:
    """httpx's own client takes tens of milliseconds for them, also where only plain http is spoken."""
    script = """
import ssl
from oci_distribution.transport.http_client import RegistryHTTPClient
built = []
original = ssl.SSLContext.load_verify_locations
ssl.create_default_context = lambda *args, **kwargs: built.append(1)
RegistryHTTPClient()
print(len(built))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "0\n"
