"""Whom the engine trusts by default."""

from __future__ import annotations

import ssl
from pathlib import Path

import certifi
import httpx
import pytest
import trustme

from oci_distribution import trust
from oci_distribution.errors import ConfigError
from oci_distribution.transport.engine import AiohttpTransport
from tests.hostile import Exchange, hostile


async def test_ssl_cert_file_adds_an_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry whose certificate it signed is reached without any option."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200)

    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server_side)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    async with hostile(script, tls=server_side) as server, AiohttpTransport(proxies={}) as engine:
        response = await engine.handle_async_request(httpx.Request("GET", server.url))
        await response.aclose()
    assert response.status_code == 200


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_broken_ssl_cert_file_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    """OpenSSL would ignore it, and then trust nobody."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with pytest.raises(ConfigError, match="SSL_CERT_FILE"):
        trust.default_ssl_context()


def test_it_is_built_once() -> None:
    """Reading the certificates of a machine takes long enough to be noticed."""
    assert trust.default_ssl_context() is trust.default_ssl_context()


def test_where_the_machine_trusts_nobody_certifi_steps_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slim containers have no certificates of their own."""
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    paths = ssl.get_default_verify_paths()._replace(openssl_capath=str(tmp_path))
    monkeypatch.setattr(ssl, "create_default_context", lambda: bare)
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    context = trust._build.__wrapped__(None, None)
    expected = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    expected.load_verify_locations(cafile=certifi.where())
    assert context.cert_store_stats() == expected.cert_store_stats()
