"""Token servers that fail: what is tried again, and how the error names them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

import oci_distribution as oci
from oci_distribution.transport import answers, authorization
from tests.hostile import Exchange, hostile

ANN = oci.Credential(username="ann", password="secret")


async def ann(host: str, repository: str | None) -> oci.Credential:
    return ANN


Script = Callable[[Exchange], Awaitable[None]]


async def html(exchange: Exchange) -> None:
    await exchange.answer(
        200, b"<html>sign in to the wireless network</html>", [("Content-Type", "text/html")]
    )


async def missing(exchange: Exchange) -> None:
    body = b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "unknown"}]}'
    await exchange.answer(404, body)


async def broken(exchange: Exchange) -> None:
    await exchange.answer(200, b'{"token": "t', length=100)
    exchange.reset()


async def down(exchange: Exchange) -> None:
    await exchange.answer(503, b'{"errors": [{"code": "BLOB_UNKNOWN"}]}', [("Retry-After", "0")])


async def endless(exchange: Exchange) -> None:
    await exchange.answer(200, b"", length=1 << 40)
    await exchange.send_for_ever(b" " * 65536)


async def moved(exchange: Exchange) -> None:
    await exchange.answer(302, b"", [("Location", "http://127.0.0.1:1/token")])


@asynccontextmanager
async def served(script: Script) -> AsyncGenerator[tuple[str, str, list[Exchange]]]:
    """A registry, and a token server of another origin that runs `script`: their origins, and its requests."""
    async with hostile(script) as token_server:

        async def refuse(exchange: Exchange) -> None:
            challenge = f'Bearer realm="{token_server.url}/token"'
            await exchange.answer(401, b"", [("WWW-Authenticate", challenge)])

        async with hostile(refuse) as server:
            yield server.url, token_server.url, token_server.requests


@pytest.mark.parametrize(
    ("script", "error", "asked"),
    [
        (html, oci.TokenError, 1),
        (missing, oci.TokenError, 1),
        (broken, oci.BrokenAnswer, 2),
        (down, oci.TokenError, 2),
        (endless, oci.TokenError, 1),
        (moved, oci.TokenError, 1),
    ],
)
async def test_a_token_server_that_fails_is_named(
    script: Script, error: type[oci.RequestError], asked: int
) -> None:
    """What may pass is tried again, as elsewhere; the error never looks like the registry's."""
    retry = oci.RetryPolicy(attempts=2, base_delay=0.001)
    async with (
        served(script) as (registry, realm, requests),
        oci.Client(auth_provider=ann, retry=retry) as client,
    ):
        with pytest.raises(error, match=f"GET {realm}/token") as caught:
            await client.registry(registry).get_manifest("a", "v1")
        assert not isinstance(caught.value, oci.ResponseError | oci.NotFound)
        assert caught.value.registry == registry.removeprefix("http://")
        assert "secret" not in str(caught.value)
        assert str(caught.value).count("/token") == 1
        assert len(requests) == asked


async def test_a_token_server_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of its answer must come in time, not only each byte."""
    monkeypatch.setattr(authorization, "TOKEN_TIMEOUT", 0.1)

    async def drip(exchange: Exchange) -> None:
        await exchange.answer(200, b"", length=1 << 20)
        await exchange.send(b" ")
        await exchange.hung_up()

    async with (
        served(drip) as (registry, realm, _),
        oci.Client(auth_provider=ann, retry=oci.RetryPolicy(attempts=1)) as client,
    ):
        with pytest.raises(oci.TimeoutExceeded, match=f"GET {realm}/token.*takes too long"):
            await client.registry(registry).get_manifest("a", "v1")


async def test_a_token_server_whose_refusal_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """All who need a token wait for it."""
    monkeypatch.setattr(answers, "HEAD_PATIENCE", 0.1)

    async def drip(exchange: Exchange) -> None:
        await exchange.answer(503, b" ", length=60_000)
        await exchange.hung_up()

    async with (
        served(drip) as (registry, _, _),
        oci.Client(auth_provider=ann, retry=oci.RetryPolicy(attempts=1)) as client,
    ):
        with pytest.raises(oci.TokenError, match="503"):
            await client.registry(registry).get_manifest("a", "v1")


async def test_a_token_server_that_nobody_reaches_is_named() -> None:
    """A closed port of the token server is no closed port of the registry."""

    async def refuse(exchange: Exchange) -> None:
        await exchange.answer(401, b"", [("WWW-Authenticate", 'Bearer realm="http://127.0.0.1:1/token"')])

    async with (
        hostile(refuse) as server,
        oci.Client(auth_provider=ann, retry=oci.RetryPolicy(attempts=1)) as client,
    ):
        with pytest.raises(oci.ConnectError, match=r"GET http://127\.0\.0\.1:1/token"):
            await client.registry(server.url).get_manifest("a", "v1")
