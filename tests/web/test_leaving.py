"""Clients that leave early, or take nothing: a real uvicorn, real sockets, and nothing stays behind."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.abc
import httpx
import pytest

import oci_distribution as oci
from oci_distribution.testing import RunningRegistry
from tests.hostile import Exchange, HostileServer, hostile

if TYPE_CHECKING:
    from tests.web.conftest import Backend, Serve

PIECE = bytes(1 << 16)
SIZE = 1 << 30
BLOB = f"/team/app/blobs/{oci.Digest.of(b'of no matter')}"
MANIFEST = "/team/app/manifests/v1"
SECONDS = 5


@asynccontextmanager
async def request(
    backend: Backend, path: str, *, reset: bool = False
) -> AsyncGenerator[anyio.abc.SocketStream]:
    """Ask, and leave at the end of the block: with a farewell, or without (`reset`)."""
    port = int(backend.url.rpartition(":")[2])
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(f"GET {path} HTTP/1.1\r\nHost: backend\r\n\r\n".encode())
        yield stream
        if reset:
            sock: socket.socket = stream.extra(anyio.abc.SocketAttribute.raw_socket)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Upstream:
    """A registry that stops after the first piece, or before it; it knows who is there, and for how long."""

    def __init__(self, *, answers: bool) -> None:
        self.answers = answers
        self.reached = anyio.Event()
        self.left = anyio.Event()

    async def __call__(self, exchange: Exchange) -> None:
        if self.answers:
            await exchange.answer(200, PIECE, length=SIZE)
            await exchange.send(PIECE)
        self.reached.set()
        await exchange.hung_up()
        self.left.set()


async def check_nothing_is_left(
    backend: Backend, server: HostileServer, tasks: set[asyncio.Task[object]]
) -> None:
    """No request, no slot, no connection to the registry, no task."""
    await backend.until_in_progress(0)
    await anyio.wait_all_tasks_blocked()
    assert backend.left() == []
    assert server.sockets_of_clients() == 0
    assert asyncio.all_tasks() == tasks


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("http", ["h11", "httptools"])
@pytest.mark.parametrize("reset", [False, True])
async def test_client_leaves_in_the_middle(serve: Serve, http: str, *, reset: bool, wrapped: bool) -> None:
    """While the registry is the one that is waited for."""
    upstream = Upstream(answers=True)
    async with hostile(upstream) as server, serve(server.url, http=http, wrapped=wrapped) as backend:
        tasks = asyncio.all_tasks()
        with anyio.fail_after(SECONDS):
            async with request(backend, BLOB, reset=reset) as stream:
                assert (await stream.receive()).startswith(b"HTTP/1.1 200")
            await upstream.left.wait()
            await check_nothing_is_left(backend, server, tasks)

    assert backend.failures == []


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("http", ["h11", "httptools"])
@pytest.mark.parametrize("path", [BLOB, MANIFEST])
async def test_client_leaves_before_the_registry_answers(
    serve: Serve, http: str, path: str, *, wrapped: bool
) -> None:
    """There is nothing yet that could be written to nobody: only whoever listens knows."""
    upstream = Upstream(answers=False)
    async with hostile(upstream) as server, serve(server.url, http=http, wrapped=wrapped) as backend:
        tasks = asyncio.all_tasks()
        with anyio.fail_after(SECONDS):
            async with request(backend, path):
                await upstream.reached.wait()
            await upstream.left.wait()
            await check_nothing_is_left(backend, server, tasks)

    assert backend.failures == []


async def test_client_leaves_while_it_waits_for_its_turn(serve: Serve) -> None:
    """Those before it go on, and the slot that it waited for goes to the next one."""
    upstream = Upstream(answers=True)
    async with hostile(upstream) as server, serve(server.url) as backend:
        tasks = asyncio.all_tasks()
        with anyio.fail_after(SECONDS):
            async with AsyncExitStack() as before:
                for _ in range(2):
                    stream = await before.enter_async_context(request(backend, BLOB))
                    await stream.receive()
                async with request(backend, BLOB):
                    await backend.until_in_progress(3)
                await backend.until_in_progress(2)
                assert server.connections == 2
            await backend.until_in_progress(0)
            async with request(backend, BLOB) as stream:
                assert (await stream.receive()).startswith(b"HTTP/1.1 200")
            await check_nothing_is_left(backend, server, tasks)


@pytest.mark.parametrize("http", ["h11", "httptools"])
async def test_client_that_takes_nothing(serve: Serve, http: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is waited for, so that memory stays flat, and not for ever, so that others get its slot."""
    sent = 0

    async def endless(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.answer(200, PIECE, length=SIZE)
        while True:
            await exchange.send(PIECE)
            sent += len(PIECE)

    async with hostile(endless) as server, serve(server.url, http=http, patience=0.2) as backend:
        with anyio.fail_after(SECONDS):
            async with request(backend, BLOB):
                await backend.until_in_progress(1)
                await backend.until_in_progress(0)
                assert backend.left() == []
                assert server.sockets_of_clients() == 0

    assert sent < SIZE // 8
    assert "the client has taken nothing for 0.2 seconds" in caplog.text


async def test_clients_that_leave_together(
    serve: Serve, repo: oci.Repository, registry: RunningRegistry
) -> None:
    """Many at once, at any point of a real blob; who stays gets the whole."""
    data = bytes(range(256)) * 20_000
    blob = await repo.blobs.push(data)
    path = f"/team/app/blobs/{blob.digest}"
    async with serve(registry.url) as backend:

        async def leave(after: int) -> None:
            async with request(backend, path, reset=after % 2 == 0) as stream:
                got = 0
                while got < after:
                    got += len(await stream.receive())

        with anyio.fail_after(4 * SECONDS):
            async with (
                anyio.create_task_group() as clients,
                httpx.AsyncClient(verify=False, timeout=4 * SECONDS) as web,
            ):
                for number in range(30):
                    clients.start_soon(leave, number * len(data) // 40)
                answers = [await web.get(backend.url + path) for _ in range(3)]
            await backend.until_in_progress(0)
        assert [answer.content == data for answer in answers] == [True] * 3
        assert backend.left() == []
        assert backend.failures == []
