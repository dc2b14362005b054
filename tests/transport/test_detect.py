"""Whether a registry speaks https or http, for those who have to find out."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

import oci_distribution as oci
from oci_distribution.testing import BasicAuth, serve_registry
from tests.certificates import Pki
from tests.hostile import Exchange, certificates, hostile


@pytest.mark.parametrize("auth", [None, BasicAuth({"ann": "secret"})])
async def test_plain_http(auth: BasicAuth | None) -> None:
    """A port that does not speak TLS, whatever it says then; nobody's credentials go there."""
    async with serve_registry(auth=auth) as registry:
        assert await oci.detect_scheme(registry.host) == "http"
        assert [request.path for request in registry.requests] == ["/v2/"]
        assert "authorization" not in registry.requests[0].headers


async def test_a_certificate_that_is_not_trusted_is_https() -> None:
    """Nothing is asked in the clear then."""
    async with serve_registry(tls=True) as registry:
        assert await oci.detect_scheme(registry.host) == "https"
        assert not registry.requests


async def test_with_a_transport_of_ones_own() -> None:
    """It may trust more, and is left open."""
    async with (
        serve_registry(tls=True) as registry,
        oci.AiohttpTransport(ssl_context=registry.client_context()) as transport,
    ):
        assert await oci.detect_scheme(registry.host, transport=transport) == "https"
        assert await oci.detect_scheme(registry.host, transport=transport) == "https"
        assert len(registry.requests) == 2


async def test_with_the_transport_of_httpx() -> None:
    """Any transport does."""
    async with (
        serve_registry() as plain,
        serve_registry(tls=True) as secure,
        httpx.AsyncHTTPTransport() as own,
    ):
        assert await oci.detect_scheme(plain.host, transport=own) == "http"
        assert await oci.detect_scheme(secure.host, transport=own) == "https"


async def test_a_refusal_is_an_answer() -> None:
    """A server that answers 500 has answered over https."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(500)

    both = certificates()
    async with (
        hostile(script, tls=both.server) as server,
        oci.AiohttpTransport(ssl_context=both.client, proxies={}) as transport,
    ):
        assert await oci.detect_scheme(f"127.0.0.1:{server.port}", transport=transport) == "https"


async def test_nobody_answers() -> None:
    """The error is the one of https."""
    with pytest.raises(oci.ConnectError, match=r"https://127\.0\.0\.1:9/v2/"):
        await oci.detect_scheme("127.0.0.1:9")


@asynccontextmanager
async def accepting(answer: Callable[[asyncio.StreamWriter], None]) -> AsyncGenerator[tuple[str, list[int]]]:
    """Accept connections, and do something with each; yields where, and the list of those accepted."""
    accepted: list[int] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(len(accepted))
        answer(writer)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", accepted


async def test_a_server_that_hangs_up() -> None:
    """Neither scheme: an error, and no guess."""
    async with accepting(lambda writer: writer.close()) as (host, accepted):
        with pytest.raises(oci.TransportError, match="https://"):
            await oci.detect_scheme(host)
        assert len(accepted) == 2


async def test_a_silent_server_is_not_asked_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    """It might speak TLS, only slowly."""
    monkeypatch.setattr("oci_distribution.transport.detect._PATIENCE", oci.Timeouts(connect=0.1, read=0.1))
    async with accepting(lambda writer: None) as (host, accepted):
        with pytest.raises(oci.TransportError, match="time"):
            await oci.detect_scheme(host)
        assert len(accepted) == 1


async def test_no_host() -> None:
    """It is refused before anything is sent."""
    with pytest.raises(oci.InvalidReference):
        await oci.detect_scheme("https://registry.example/")


async def test_a_registry_that_wants_a_certificate(tmp_path: Path) -> None:
    """It speaks TLS, too; where the server says no more than to hang up, it is an error and no guess."""
    pki = Pki(tmp_path)
    async with serve_registry(ssl=pki.server(clients=ssl.CERT_REQUIRED)) as registry:
        assert await oci.detect_scheme(registry.host) == "https"
