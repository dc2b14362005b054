"""Where an engine lives, and how it ends."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import warnings

import anyio
import httpx
import pytest

from oci_distribution.transport.engine import AiohttpTransport
from tests.hostile import Exchange, certificates, hostile


async def answer(exchange: Exchange) -> None:
    await exchange.answer(200, b"abc")


async def get(engine: AiohttpTransport, url: str) -> bytes:
    response = await engine.handle_async_request(httpx.Request("GET", url))
    try:
        return b"".join([piece async for piece in response.aiter_raw()])
    finally:
        await response.aclose()


def test_building_one_does_nothing() -> None:
    """No event loop, no certificates, no session: it is cheap, and may happen at import time."""
    engine = AiohttpTransport()
    assert engine._session is None
    assert engine._ssl_context is None


async def test_after_aclose_it_says_so() -> None:
    """Closing it twice is fine."""
    async with hostile(answer) as server:
        engine = AiohttpTransport(proxies={})
        await get(engine, server.url)
        await engine.aclose()
        await engine.aclose()
        with pytest.raises(RuntimeError, match="closed"):
            await get(engine, server.url)


async def test_closing_one_that_was_never_used_is_fine() -> None:
    """There is nothing to close."""
    engine = AiohttpTransport()
    await engine.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await get(engine, "http://127.0.0.1:9")


def test_another_event_loop_is_refused() -> None:
    """Its connections belong to the first one."""
    engine = AiohttpTransport(proxies={})

    async def use() -> None:
        async with hostile(answer) as server:
            await get(engine, server.url)

    with asyncio.Runner() as first:
        first.run(use())
        with asyncio.Runner() as second:
            with pytest.raises(RuntimeError, match="event loop"):
                second.run(use())
            with pytest.raises(RuntimeError, match="event loop"):
                second.run(engine.aclose())
        first.run(engine.aclose())


async def test_another_process_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a fork two processes would speak on one connection."""
    async with hostile(answer) as server, AiohttpTransport(proxies={}) as engine:
        await get(engine, server.url)
        with monkeypatch.context() as patch:
            patch.setattr("oci_distribution.transport.home._forks", [None])
            with pytest.raises(RuntimeError, match="fork"):
                await get(engine, server.url)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_closing_breaks_what_is_still_being_read(scheme: str) -> None:
    """A reader in another task fails, and does not wait for ever."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, b"abc", length=10)
        await exchange.hung_up()

    both = certificates()
    async with hostile(script, tls=both.server if scheme == "https" else None) as server:
        engine = AiohttpTransport(proxies={}, ssl_context=both.client)
        response = await engine.handle_async_request(httpx.Request("GET", server.url))
        pieces = response.aiter_raw()
        assert await anext(pieces) == b"abc"
        task = asyncio.ensure_future(anext(pieces))
        await anyio.wait_all_tasks_blocked()
        await engine.aclose()
        with pytest.raises(httpx.ReadError):
            await task


async def test_closing_breaks_requests_that_wait_for_an_answer() -> None:
    """They fail like any other broken connection."""
    arrived = anyio.Event()

    async def script(exchange: Exchange) -> None:
        arrived.set()
        await exchange.hung_up()

    async with hostile(script) as server:
        engine = AiohttpTransport(proxies={})
        task = asyncio.ensure_future(get(engine, server.url))
        await arrived.wait()
        await engine.aclose()
        with pytest.raises(httpx.TransportError):
            await task


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("idle", [False, True])
@pytest.mark.parametrize("early", [False, True])
def test_it_leaves_no_socket_behind(scheme: str, *, idle: bool, early: bool) -> None:
    """Idle, left early or cut: everything is closed when the event loop ends, and no warning says otherwise."""
    both = certificates()

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, b"abc", length=10 if exchange.target == "/body" else 3)

    async def main() -> None:
        async with hostile(script, tls=both.server if scheme == "https" else None) as server:
            engine = AiohttpTransport(proxies={}, ssl_context=both.client)
            if idle:
                await get(engine, server.url)
            response = await engine.handle_async_request(httpx.Request("GET", f"{server.url}/body"))
        if early:
            await response.aclose()
        await engine.aclose()
        await response.aclose()

    loop = asyncio.new_event_loop()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loop.run_until_complete(main())
        loop.close()
        gc.collect()


def test_default_trust_is_shared_and_built_outside_the_loop() -> None:
    """SSL_CERT_FILE is honoured, and a broken one is an error that names it."""
    script = """
import asyncio, httpx, sys
from oci_distribution.errors import ConfigError
from oci_distribution.transport.engine import AiohttpTransport
async def main():
    async with AiohttpTransport() as engine:
        try:
            await engine.handle_async_request(httpx.Request("GET", "https://127.0.0.1:9"))
        except ConfigError as error:
            print(error)
asyncio.run(main())
"""
    environment = {**os.environ, "SSL_CERT_FILE": "/nonexistent.pem"}
    run = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert "SSL_CERT_FILE=/nonexistent.pem" in run.stdout
