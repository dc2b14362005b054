"""How the engine reads answers, and what it makes of broken ones."""

from __future__ import annotations

import asyncio
import gc
import inspect
import socket
import ssl
from collections.abc import AsyncIterator

import aiohttp
import anyio
import httpx
import pytest
from aiohttp import client_exceptions
from aiohttp.client_reqrep import ConnectionKey

from oci_distribution.transport import engine as engine_module
from oci_distribution.transport.engine import AiohttpTransport
from tests.hostile import Exchange, certificates, hostile


@pytest.fixture
async def engine() -> AsyncIterator[AiohttpTransport]:
    async with AiohttpTransport(proxies={}, ssl_context=certificates().client) as engine:
        yield engine


def get(url: str, method: str = "GET", **timeout: float) -> httpx.Request:
    return httpx.Request(method, url, extensions={"timeout": timeout})


async def exchange(engine: AiohttpTransport, request: httpx.Request) -> bytes:
    response = await engine.handle_async_request(request)
    try:
        return b"".join([piece async for piece in response.aiter_raw()])
    finally:
        await response.aclose()


async def test_a_body_comes_in_pieces_as_large_as_they_are(engine: AiohttpTransport) -> None:
    """Fixed small pieces would cost more than the network."""
    sent = anyio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, bytes(1 << 20))
        sent.set()

    async with hostile(script) as server:
        response = await engine.handle_async_request(get(server.url))
        await sent.wait()
        await anyio.wait_all_tasks_blocked()
        assert len(await anext(aiter(response.stream))) >= 256 << 10  # type: ignore[arg-type]
        await response.aclose()


async def test_a_piece_is_handed_out_as_soon_as_it_is_there(engine: AiohttpTransport) -> None:
    """Nobody waits for a buffer to fill."""
    seen = anyio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, b"a", length=2)
        await seen.wait()
        await exchange.send(b"b")

    async with hostile(script) as server:
        response = await engine.handle_async_request(get(server.url))
        pieces = aiter(response.stream)  # type: ignore[arg-type]
        assert await anext(pieces) == b"a"
        seen.set()
        assert await anext(pieces) == b"b"
        await response.aclose()


async def cut(exchange: Exchange) -> None:
    await exchange.answer(200, b"abc", length=10)
    exchange.close()


async def cut_chunk(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nabc")
    exchange.close()


async def bad_chunk(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc")


async def missing_last_chunk(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    exchange.close()


async def garbage(exchange: Exchange) -> None:
    await exchange.send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")


async def nothing(exchange: Exchange) -> None:
    exchange.close()


async def half_a_head(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Le")
    exchange.close()


async def endless_head(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nX: ")
    await exchange.send_for_ever(b"x" * 1024)


@pytest.mark.parametrize(
    "script", [cut, cut_chunk, bad_chunk, missing_last_chunk, garbage, nothing, half_a_head, endless_head]
)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_an_answer_that_is_none_or_not_whole_is_a_protocol_error(
    engine: AiohttpTransport, script: object, scheme: str
) -> None:
    """A truncated body never looks like a whole one."""
    tls = certificates().server if scheme == "https" else None
    async with hostile(script, tls=tls) as server:  # type: ignore[arg-type]
        with pytest.raises(httpx.RemoteProtocolError) as caught:
            await exchange(engine, get(server.url))
    assert caught.value.request.method == "GET"


async def test_a_reset_before_the_answer_is_a_read_error(engine: AiohttpTransport) -> None:
    """The operating system's own word is its cause."""

    async def script(exchange: Exchange) -> None:
        exchange.reset()

    async with hostile(script) as server:
        with pytest.raises(httpx.ReadError, match="broke") as caught:
            await exchange(engine, get(server.url))
    assert isinstance(caught.value.__cause__, ConnectionResetError)


async def test_a_reset_within_the_body_is_a_protocol_error(engine: AiohttpTransport) -> None:
    """It is a truncated body."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, b"abc", length=10)
        exchange.reset()

    async with hostile(script) as server:
        with pytest.raises(httpx.RemoteProtocolError):
            await exchange(engine, get(server.url))


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"])
async def test_silence_is_a_read_timeout(engine: AiohttpTransport, head: bytes) -> None:
    """Before the answer, and in the middle of it."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(head)
        await exchange.hung_up()

    async with hostile(script) as server:
        with pytest.raises(httpx.ReadTimeout):
            await exchange(engine, get(server.url, read=0.05))


async def test_a_connection_that_takes_too_long_is_a_connect_timeout(engine: AiohttpTransport) -> None:
    """A port that accepts, and never shakes hands."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/v2/?signature=secret"
        with pytest.raises(httpx.ConnectTimeout) as caught:
            await exchange(engine, get(url, connect=0.05))
    assert "secret" not in str(caught.value)
    assert type(caught.value.__cause__) is TimeoutError


async def test_a_port_where_nobody_listens_is_a_connect_error(engine: AiohttpTransport) -> None:
    """It says where."""
    async with hostile(nothing) as server:
        pass
    with pytest.raises(httpx.ConnectError, match=f":{server.port}:") as caught:
        await exchange(engine, get(server.url))
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


async def test_a_name_that_does_not_exist_is_a_connect_error(engine: AiohttpTransport) -> None:
    """RFC 6761 keeps `.invalid` for this."""
    with pytest.raises(httpx.ConnectError, match=r"nobody\.invalid"):
        await exchange(engine, get("http://nobody.invalid/"))


async def test_a_certificate_that_we_do_not_trust_is_a_connect_error() -> None:
    """OpenSSL's own word is its cause."""
    other = certificates("other.test")
    async with (
        hostile(nothing, tls=other.server) as server,
        AiohttpTransport(proxies={}, ssl_context=certificates().client) as engine,
    ):
        with pytest.raises(httpx.ConnectError, match="certificate") as caught:
            await exchange(engine, get(server.url))
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


async def test_plain_http_where_tls_was_meant_is_a_connect_error(engine: AiohttpTransport) -> None:
    """OpenSSL's own word is its cause."""
    async with hostile(nothing) as server, asyncio.timeout(5):
        url = server.url.replace("http:", "https:")

        async def speak_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        plain = await asyncio.start_server(speak_first, "127.0.0.1", 0)
        url = f"https://127.0.0.1:{plain.sockets[0].getsockname()[1]}"
        with pytest.raises(httpx.ConnectError) as caught:
            await exchange(engine, get(url))
        plain.close()
    assert isinstance(caught.value.__cause__, ssl.SSLError)


async def test_tls_where_plain_http_was_meant_is_an_error(engine: AiohttpTransport) -> None:
    """A TLS alert is no HTTP answer."""
    async with hostile(nothing, tls=certificates().server) as server:
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await exchange(engine, get(server.url.replace("https:", "http:")))


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_an_answer_left_early_closes_its_connection(engine: AiohttpTransport, scheme: str) -> None:
    """An endless body is not read to its end, and the host notices at once."""
    gone = anyio.Event()

    async def script(exchange: Exchange) -> None:
        try:
            await exchange.answer(200, b"x", length=1 << 40)
            await exchange.send_for_ever(bytes(1 << 16))
        finally:
            gone.set()

    tls = certificates().server if scheme == "https" else None
    async with hostile(script, tls=tls) as server, asyncio.timeout(5):
        response = await engine.handle_async_request(get(server.url))
        await anext(aiter(response.stream))  # type: ignore[arg-type]
        await response.aclose()
        await response.aclose()
        await gone.wait()


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_an_answer_left_early_keeps_no_socket(engine: AiohttpTransport, scheme: str) -> None:
    """A polite end of TLS would wait for a host that does not listen."""

    async def script(exchange: Exchange) -> None:
        exchange.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await exchange.answer(200, b"x", length=10)
        await asyncio.Event().wait()

    async with hostile(script, tls=certificates().server if scheme == "https" else None) as server:
        response = await engine.handle_async_request(get(server.url))
        assert server.sockets_of_clients() == 1
        await response.aclose()
        await anyio.wait_all_tasks_blocked()
        assert server.sockets_of_clients() == 0


async def test_a_body_read_to_its_end_gives_its_connection_back(engine: AiohttpTransport) -> None:
    """The next request goes out on the same one."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, b"abc")

    async with hostile(script) as server:
        for _ in range(3):
            await exchange(engine, get(server.url))
    assert server.connections == 1


async def test_a_cancelled_reader_leaves_nothing_behind(engine: AiohttpTransport) -> None:
    """The pool is as sound as before."""

    async def script(exchange: Exchange) -> None:
        if exchange.target == "/slow":
            await exchange.answer(200, b"abc", length=10)
            await exchange.hung_up()
        else:
            await exchange.answer(200, b"abc")

    async with hostile(script) as server:
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(exchange, engine, get(f"{server.url}/slow"))
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        assert await exchange(engine, get(server.url)) == b"abc"
        connector = engine._session.connector  # type: ignore[union-attr]
        assert not connector._acquired  # type: ignore[union-attr]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
async def test_a_request_is_sent_once_even_on_a_dead_connection(
    engine: AiohttpTransport, method: str
) -> None:
    """The host may close a connection in the moment that we use it again; whether to repeat is not aiohttp's."""

    async def script(exchange: Exchange) -> None:
        if len(server.requests) == 1:
            await exchange.answer(200)
        else:
            # The request arrived, and nobody knows whether it was carried out.
            exchange.close()

    async with hostile(script) as server:
        await exchange(engine, get(server.url))
        with pytest.raises(httpx.RemoteProtocolError):
            await exchange(engine, get(server.url, method))
    assert [request.method for request in server.requests] == ["GET", method]


async def test_an_idle_connection_that_the_host_closed_is_not_used(engine: AiohttpTransport) -> None:
    """What we know to be dead costs no attempt."""
    closed = anyio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, b"abc")
        if len(server.requests) == 1:
            exchange.close()
            closed.set()

    async with hostile(script) as server:
        await exchange(engine, get(server.url))
        await closed.wait()
        await anyio.wait_all_tasks_blocked()
        assert await exchange(engine, get(server.url)) == b"abc"
    assert server.connections == 2


KEY = ConnectionKey._make(["host", 1, False, True] + [None] * (len(ConnectionKey._fields) - 4))
INFO = aiohttp.RequestInfo("http://x/?secret", "GET", {}, "http://x/?secret")  # type: ignore[arg-type]
ARGUMENTS: dict[type[BaseException], tuple[object, ...]] = {
    aiohttp.ClientConnectorError: (KEY, OSError(1, "one")),
    aiohttp.ClientConnectorCertificateError: (KEY, ssl.SSLCertVerificationError("bad")),
    client_exceptions.UnixClientConnectorError: ("/path", KEY, OSError(1, "one")),
    aiohttp.ServerFingerprintMismatch: (b"a", b"b", "host", 1),
    aiohttp.ClientResponseError: (INFO, ()),
    aiohttp.InvalidURL: ("http://x/?secret",),
    aiohttp.NonHttpUrlClientError: ("http://x/?secret",),
}


def client_errors() -> list[type[aiohttp.ClientError]]:
    members = [member for _, member in inspect.getmembers(client_exceptions, inspect.isclass)]
    return [member for member in members if issubclass(member, aiohttp.ClientError)]


@pytest.mark.parametrize("cls", client_errors())
def test_every_error_of_aiohttp_has_an_httpx_class(cls: type[aiohttp.ClientError]) -> None:
    """None of them reaches a caller, nor does what their texts show."""
    arguments = next((ARGUMENTS[base] for base in cls.__mro__ if base in ARGUMENTS), ())
    error = cls(*arguments)
    translated = engine_module._translated(error, httpx.Request("GET", "http://x"), None)
    assert isinstance(translated, (httpx.TransportError, httpx.InvalidURL))
    assert not isinstance(translated.__cause__, aiohttp.ClientError)
    assert "secret" not in str(translated)
    assert str(translated) or cls is aiohttp.ClientError or not arguments


@pytest.mark.parametrize("error", [OSError(5, "x"), ssl.SSLError("x"), TimeoutError(), EOFError()])
def test_errors_of_the_system_have_an_httpx_class(error: Exception) -> None:
    """All but those that nobody expects, which stay what they are."""
    translated = engine_module._translated(error, httpx.Request("GET", "http://x"), None)
    assert isinstance(translated, httpx.TransportError) or translated is error
    assert isinstance(error, EOFError) == (translated is error)


async def test_an_error_keeps_no_aiohttp_error_in_its_traceback(engine: AiohttpTransport) -> None:
    """Their texts show whole URLs."""
    async with hostile(nothing) as server:
        with pytest.raises(httpx.RemoteProtocolError) as caught:
            await exchange(engine, get(f"{server.url}/?signature=secret"))
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None
    gc.collect()
