"""The engine sends what it is given: URL, headers and framing, byte for byte."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from oci_distribution.transport.engine import AiohttpTransport
from tests.hostile import Exchange, certificates, hostile


async def answer(exchange: Exchange) -> None:
    await exchange.read_body()
    await exchange.answer(200, b"fine")


@pytest.fixture
async def engine() -> AsyncIterator[AiohttpTransport]:
    async with AiohttpTransport(proxies={}) as engine:
        yield engine


async def read(response: httpx.Response) -> bytes:
    try:
        return b"".join([piece async for piece in response.aiter_raw()])
    finally:
        await response.aclose()


TARGETS = [
    "/v2/",
    "/v2/a/blobs/uploads/1?_state=a%2Bb+c%20d&x='\"[];,|^`{}<>\\~",
    "/a%2Fb/../%C3%A9/%c3%a9?q=%E4",
    "/a?",
    "/a??b=?",
    "/a;b=1;c?d;e",
    "//double//slash",
    "/é?ü=ö",
    "/a%zz%",
]


@pytest.mark.parametrize("target", TARGETS)
async def test_a_target_is_sent_byte_for_byte(engine: AiohttpTransport, target: str) -> None:
    """What a registry signed arrives as it spelled it."""
    async with hostile(answer) as server:
        request = httpx.Request("GET", server.url, extensions={"target": target.encode()})
        await read(await engine.handle_async_request(request))
    assert server.requests[0].head.split(b"\r\n")[0] == f"GET {target} HTTP/1.1".encode()


async def test_without_a_target_the_url_counts(engine: AiohttpTransport) -> None:
    """A request that somebody built by hand goes where its URL says."""
    async with hostile(answer) as server:
        request = httpx.Request("GET", f"{server.url}/v2/a%2Fb?x=%2B#fragment")
        await read(await engine.handle_async_request(request))
    assert server.requests[0].target == "/v2/a%2Fb?x=%2B"


@pytest.mark.parametrize("target", [b"/a b", b"/a\r\nX: y", b"http://other/", b"/a\x7f", b"a"])
async def test_a_target_that_would_break_the_request_line_is_refused(
    engine: AiohttpTransport, target: bytes
) -> None:
    """Nothing that a registry names can smuggle a second request or a header in."""
    request = httpx.Request("GET", "http://127.0.0.1:9", extensions={"target": target})
    with pytest.raises(httpx.LocalProtocolError, match="target"):
        await engine.handle_async_request(request)


async def test_headers_are_sent_as_they_are_and_none_is_added(engine: AiohttpTransport) -> None:
    """Order, repetition and Host stay; no User-Agent, Accept or encoding of aiohttp's own joins them."""
    headers = [
        ("Host", "other.test"),
        ("X-a", "1"),
        ("x-A", "2"),
        ("X-a", "3"),
        ("Authorization", "Bearer ü"),
    ]
    async with hostile(answer) as server:
        request = httpx.Request(
            "GET",
            server.url,
            headers=[(name.encode(), value.encode()) for name, value in headers],
            stream=httpx.ByteStream(b""),
        )
        await read(await engine.handle_async_request(request))
    assert [(name.title(), value) for name, value in server.requests[0].headers] == [
        (name.title(), value) for name, value in headers
    ]


@pytest.mark.parametrize("header", [(b"X", b"a\r\nY: b"), (b"X", b"\xff")])
async def test_a_malformed_header_is_refused(engine: AiohttpTransport, header: tuple[bytes, bytes]) -> None:
    """A value cannot smuggle another header in."""
    async with hostile(answer) as server:
        request = httpx.Request("GET", server.url, headers=[header])
        with pytest.raises(httpx.LocalProtocolError):
            await engine.handle_async_request(request)
    assert server.requests == []


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "/relative", "http://"])
async def test_only_absolute_http_urls_are_asked(engine: AiohttpTransport, url: str) -> None:
    """Any other URL is an unsupported protocol."""
    with pytest.raises(httpx.UnsupportedProtocol):
        await engine.handle_async_request(httpx.Request("GET", url))


async def test_cookies_are_never_kept(engine: AiohttpTransport) -> None:
    """What one answer sets does not travel with the next request."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, headers=[("Set-Cookie", "sid=1; Path=/")])

    async with hostile(script) as server:
        for _ in range(2):
            await read(await engine.handle_async_request(httpx.Request("GET", server.url)))
    assert [exchange.header("Cookie") for exchange in server.requests] == [None, None]


async def test_netrc_is_never_read(
    engine: AiohttpTransport, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Credentials that it names for a host are not sent there."""
    netrc = f"{tmp_path}/netrc"
    with open(netrc, "w", encoding="utf-8") as file:  # noqa: ASYNC230, PTH123
        file.write("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", netrc)
    async with hostile(answer) as server:
        await read(await engine.handle_async_request(httpx.Request("GET", server.url)))
    assert server.requests[0].header("Authorization") is None


async def test_a_redirect_is_an_answer_like_any_other(engine: AiohttpTransport) -> None:
    """Whether to follow it is not the engine's to decide."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(307, headers=[("Location", "/elsewhere")])

    async with hostile(script) as server:
        response = await engine.handle_async_request(httpx.Request("GET", server.url))
        await read(response)
    assert response.status_code == 307
    assert len(server.requests) == 1


async def test_answers_keep_their_headers_raw(engine: AiohttpTransport) -> None:
    """Names, order, repetition and encoded content come as the host sent them."""

    async def script(exchange: Exchange) -> None:
        headers = [("WWW-Authenticate", "A"), ("www-authenticate", "B"), ("Content-Encoding", "gzip")]
        await exchange.answer(200, b"not gzip", headers)

    async with hostile(script) as server:
        response = await engine.handle_async_request(httpx.Request("GET", server.url))
        assert await read(response) == b"not gzip"
    assert response.headers.raw[1:3] == [(b"WWW-Authenticate", b"A"), (b"www-authenticate", b"B")]
    assert response.http_version == "HTTP/1.1"
    assert response.reason_phrase == "Whatever"


async def test_headers_may_be_long(engine: AiohttpTransport) -> None:
    """Signed locations of 60 KiB are read; aiohttp's own limit is 8190 bytes."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, headers=[("Location", "/" + "a" * 60_000)])

    async with hostile(script) as server:
        response = await engine.handle_async_request(httpx.Request("GET", server.url))
        await read(response)
    assert len(response.headers["Location"]) == 60_001


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
async def test_answers_without_a_body_free_their_connection(
    engine: AiohttpTransport, method: str, status: int
) -> None:
    """A Content-Length of what is not sent makes nobody wait."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(status, length=1000)

    async with hostile(script) as server:
        for _ in range(2):
            assert await read(await engine.handle_async_request(httpx.Request(method, server.url))) == b""
    assert server.connections == 1


async def test_bytes_are_sent_with_their_length(engine: AiohttpTransport) -> None:
    """A small body needs no chunks."""
    async with hostile(answer) as server:
        await read(await engine.handle_async_request(httpx.Request("PUT", server.url, content=b"abc")))
    assert server.requests[0].body == b"abc"
    assert server.requests[0].header("Transfer-Encoding") is None


@pytest.mark.parametrize("tls", [False, True])
async def test_a_streamed_body_with_a_length_is_not_chunked(tls: bool) -> None:
    """Several registries refuse chunked encoding."""

    async def body() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield bytes(1 << 20)
            yield b""
        yield b"end"

    size = 5 * (1 << 20) + 3
    both = certificates()
    async with (
        hostile(answer, tls=both.server if tls else None) as server,
        AiohttpTransport(proxies={}, ssl_context=both.client) as engine,
    ):
        request = httpx.Request("PUT", server.url, content=body(), headers={"Content-Length": str(size)})
        await read(await engine.handle_async_request(request))
        await read(await engine.handle_async_request(httpx.Request("GET", server.url)))
    assert len(server.requests[0].body) == size
    assert server.requests[0].header("Transfer-Encoding") is None
    assert server.connections == 1


async def test_a_body_without_a_length_is_chunked(engine: AiohttpTransport) -> None:
    """What httpx builds from an iterator by itself works, too."""

    async def body() -> AsyncIterator[bytes]:
        yield b"abc"
        yield b"def"

    async with hostile(answer) as server:
        await read(await engine.handle_async_request(httpx.Request("POST", server.url, content=body())))
    assert server.requests[0].body == b"abcdef"
    assert server.requests[0].header("Content-Length") is None


async def test_a_synchronous_body_is_refused(engine: AiohttpTransport) -> None:
    """It would block the event loop."""
    request = httpx.Request("POST", "http://127.0.0.1:9", content=iter([b"abc"]))
    with pytest.raises(RuntimeError, match="synchronous"):
        await engine.handle_async_request(request)
