"""Which proxy leads to a host, and how the engine goes through it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator

import anyio
import httpx
import pytest

from oci_distribution.errors import ConfigError
from oci_distribution.transport.engine import AiohttpTransport
from oci_distribution.transport.proxies import Proxies, Proxy
from tests.hostile import Exchange, HostileServer, certificates, hostile

SETTINGS = {
    "http": "http://plain.test:1",
    "https": "https://user:p%40ss@secure.test:2",
    "no": " direct.test, .sub.test,*.star.test,port.test:5000,10.0.0.0/8,fd00::/8,, 192.0.2.7",
}


@pytest.mark.parametrize(
    ("scheme", "host", "port", "expected"),
    [
        ("http", "a.test", None, "http://plain.test:1"),
        ("https", "a.test", None, "https://secure.test:2"),
        ("https", "direct.test", None, None),
        ("https", "below.direct.test", None, None),
        ("https", "indirect.test", None, "https://secure.test:2"),
        ("https", "a.sub.test", None, None),
        ("https", "a.star.test", None, None),
        ("https", "port.test", 5000, None),
        ("https", "port.test", 5001, "https://secure.test:2"),
        ("http", "10.1.2.3", 5000, None),
        ("http", "11.1.2.3", 5000, "http://plain.test:1"),
        ("http", "192.0.2.7", None, None),
        ("http", "fd00::1", None, None),
        ("http", "localhost", 5000, None),
        ("http", "127.0.0.1", 5000, None),
        ("http", "::1", None, None),
    ],
)
def test_a_proxy_is_found_by_scheme_unless_excepted(
    scheme: str, host: str, port: int | None, expected: str | None
) -> None:
    """By name, domain, port or network, and never for this machine."""
    proxy = Proxies(SETTINGS).find(scheme, host, port)
    assert (proxy.url if proxy else None) == expected


def test_all_proxy_serves_both_schemes() -> None:
    """It is the last resort."""
    proxies = Proxies({"all": "any.test:3128", "https": "other.test"})
    assert proxies.find("http", "a.test", None) == Proxy("http://any.test:3128")
    assert proxies.find("https", "a.test", None) == Proxy("http://other.test")


def test_a_star_excepts_everything() -> None:
    """`no_proxy=*` switches proxies off."""
    assert Proxies({"all": "any.test:1", "no": "*"}).find("http", "a.test", None) is None


def test_the_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the variables that curl and Go read."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("https_proxy", "http://proxy.test:1")
    monkeypatch.setenv("NO_PROXY", "direct.test")
    proxies = Proxies()
    assert proxies.find("https", "a.test", None) == Proxy("http://proxy.test:1")
    assert proxies.find("https", "direct.test", None) is None
    assert proxies.find("http", "a.test", None) is None


@pytest.mark.parametrize(
    "text",
    [
        "socks5://user:secret@proxy.test:1",
        "http://",
        "://secret",
        "http://user:secret@proxy.test:x1",
        "secret:x1",
        "http://secret[x",
    ],
)
def test_a_proxy_that_we_cannot_use_is_a_config_error(text: str) -> None:
    """Its text, which may hold a password, is not shown."""
    with pytest.raises(ConfigError, match="proxy") as caught:
        Proxies({"all": text}).find("http", "a.test", None)
    assert "secret" not in str(caught.value)


def test_hosts_are_not_remembered_for_ever() -> None:
    """A registry may redirect to ever new ones."""
    proxies = Proxies(SETTINGS)
    for number in range(2000):
        assert proxies.find("https", f"s{number}.test", None) is not None
    assert proxies._known.cache_info().currsize <= 1000


def test_a_password_is_not_shown() -> None:
    """It travels in its own header."""
    proxy = Proxies(SETTINGS).find("https", "a.test", None)
    assert proxy is not None
    assert proxy.authorization == "Basic " + base64.b64encode(b"user:p@ss").decode()
    assert "Basic" not in repr(proxy)


async def answer(exchange: Exchange) -> None:
    await exchange.read_body()
    await exchange.answer(200, b"abc")


async def get(engine: AiohttpTransport, url: str) -> bytes:
    response = await engine.handle_async_request(httpx.Request("GET", url))
    try:
        return b"".join([piece async for piece in response.aiter_raw()])
    finally:
        await response.aclose()


def through(proxy: HostileServer) -> dict[str, str]:
    return {"all": proxy.url.replace("://", "://user:secret@")}


async def test_plain_http_goes_to_the_proxy_with_its_whole_url() -> None:
    """Byte for byte here, too, and the connection is used again."""
    async with hostile(answer) as proxy, AiohttpTransport(proxies=through(proxy)) as engine:
        for _ in range(2):
            assert await get(engine, "http://registry.test:5000/v2/?x=%2B&y=") == b"abc"
    assert proxy.connections == 1
    assert proxy.requests[0].target == "http://registry.test:5000/v2/?x=%2B&y="
    assert proxy.requests[0].header("Host") == "registry.test:5000"
    assert proxy.requests[0].header("Proxy-Authorization") == "Basic dXNlcjpzZWNyZXQ="


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


@pytest.fixture
async def registry() -> AsyncIterator[HostileServer]:
    async with hostile(answer, tls=certificates("registry.test").server) as server:
        yield server


async def test_https_goes_through_a_tunnel(registry: HostileServer) -> None:
    """The proxy sees the host, and the registry does not see the proxy's password."""

    async def tunnel(exchange: Exchange) -> None:
        assert exchange.method == "CONNECT"
        reader, writer = await asyncio.open_connection("127.0.0.1", registry.port)
        try:
            await exchange.send(b"HTTP/1.1 200 Connected\r\n\r\n")
            async with anyio.create_task_group() as group:
                group.start_soon(pump, exchange.reader, writer)
                group.start_soon(pump, reader, exchange.writer)
        finally:
            writer.transport.abort()

    client = certificates("registry.test").client
    async with (
        hostile(tunnel) as proxy,
        AiohttpTransport(proxies=through(proxy), ssl_context=client) as engine,
    ):
        for _ in range(2):
            assert await get(engine, "https://registry.test/v2/") == b"abc"
    assert proxy.requests[0].target == "registry.test:443"
    assert proxy.requests[0].header("Proxy-Authorization") == "Basic dXNlcjpzZWNyZXQ="
    assert proxy.connections == registry.connections == 1
    assert registry.requests[0].header("Proxy-Authorization") is None


async def test_a_tunnel_that_is_refused_is_a_proxy_error() -> None:
    """It says what the proxy said, and no secret."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(407)

    async with hostile(script) as proxy, AiohttpTransport(proxies=through(proxy)) as engine:
        with pytest.raises(httpx.ProxyError, match="407 Whatever") as caught:
            await get(engine, "https://registry.test/v2/?signature=secret")
    assert "secret" not in str(caught.value)


async def test_a_proxy_of_a_broken_url_is_an_error_about_the_proxy() -> None:
    """And not about the URL that was asked for."""
    engine = AiohttpTransport(proxies={"all": "http://user:secret@proxy.test:x1"})
    with pytest.raises(ConfigError, match="proxy"):
        await get(engine, "https://registry.test/v2/")
    await engine.aclose()


async def test_a_proxy_where_nobody_listens_is_a_proxy_error() -> None:
    """Not an error of the registry."""
    async with hostile(answer) as proxy:
        pass
    async with AiohttpTransport(proxies=through(proxy)) as engine:
        with pytest.raises(httpx.ProxyError, match=str(proxy.port)) as caught:
            await get(engine, "http://registry.test/v2/")
    assert "secret" not in str(caught.value)
