"""Where a client may be used, and how it ends: said before anything else can go wrong."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import anyio
import httpx
import pytest

import oci_distribution as oci
from oci_distribution.testing import Fault, RunningRegistry, serve_in_thread
from tests.hostile import Exchange, hostile


async def nobody(host: str, repository: str | None) -> oci.Credential:
    return oci.Credential()


def answered(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, headers={"Docker-Distribution-API-Version": "registry/2.0"})


async def answering(scope: object, receive: object, send: Callable[[object], Awaitable[None]]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


# Each makes a client over something else: the rules are the client's own, whatever is under it.
CLIENTS: dict[str, Callable[[], oci.Client]] = {
    "engine": lambda: oci.Client(auth_provider=nobody),
    "httpx transport": lambda: oci.Client(transport=httpx.AsyncHTTPTransport(), auth_provider=nobody),
    "mock transport": lambda: oci.Client(transport=httpx.MockTransport(answered), auth_provider=nobody),
    "asgi transport": lambda: oci.Client(transport=httpx.ASGITransport(answering), auth_provider=nobody),  # type: ignore[arg-type]
    "httpx client": lambda: oci.Client(http=httpx.AsyncClient(), auth_provider=nobody),
    "own auth": lambda: oci.Client(auth=httpx.BasicAuth("ann", "secret")),
}


@pytest.fixture(params=CLIENTS.values(), ids=list(CLIENTS))
def make(request: pytest.FixtureRequest) -> Callable[[], oci.Client]:
    made: Callable[[], oci.Client] = request.param
    return made


def entrances(client: oci.Client, url: str) -> dict[str, Callable[[], Awaitable[object]]]:
    """Return the ways into a client: one of each kind."""
    repo = client.registry(url).repository("team/app")

    async def listed() -> list[str]:
        return [tag async for tag in repo.tags.list()]

    async def written() -> None:
        async with repo.blobs.writer() as writer:
            await writer.write(b"x")

    return {
        "ping": client.registry(url).ping,
        "stat": lambda: repo.manifests.stat("v1"),
        "read": lambda: repo.blobs.read(oci.Digest.of(b"x")),
        "push": lambda: repo.blobs.push(b"x"),
        "list": listed,
        "write": written,
        "send": lambda: client.send(client.http.build_request("GET", f"{url}/v2/")),
        "login": lambda: client.login(url, oci.Credential("ann", "secret"), path=os.devnull, check=False),
        "logout": lambda: client.logout(url, path=os.devnull),
        "enter": client.__aenter__,
    }


async def test_after_closing(make: Callable[[], oci.Client], registry: RunningRegistry) -> None:
    """Every entrance says so, entering again included, and nothing is sent."""
    async with make() as client:
        await client.registry(registry.url).ping()
    registry.requests.clear()

    for entrance in entrances(client, registry.url).values():
        with pytest.raises(RuntimeError, match="this client is closed: open a new one"):
            await entrance()

    assert len(registry.requests) == 0
    assert "closed" in repr(client)
    await client.http.aclose()


@pytest.mark.parametrize("name", [name for name in CLIENTS if name != "httpx client"])
async def test_the_httpx_client_after_closing(name: str, registry: RunningRegistry) -> None:
    """Ours is closed along with the client."""
    async with CLIENTS[name]() as client:
        pass

    with pytest.raises(RuntimeError, match="closed"):
        await client.http.get(f"{registry.url}/v2/")


async def test_closing_twice(make: Callable[[], oci.Client]) -> None:
    """Also from two tasks at once, or without ever having been used."""
    client = make()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.aclose)
        tasks.start_soon(client.aclose)
    await client.aclose()


def test_another_event_loop(make: Callable[[], oci.Client]) -> None:
    """A client that outlives `asyncio.run` says so in the next one, whatever is under it."""
    with serve_in_thread() as registry, asyncio.Runner() as first, asyncio.Runner() as second:
        client = make()
        first.run(client.registry(registry.url).ping())

        async def main() -> None:
            for entrance in entrances(client, registry.url).values():
                with pytest.raises(RuntimeError, match="another event loop: open one in each"):
                    await entrance()
            with pytest.raises(RuntimeError, match="another event loop"):
                await client.aclose()

        second.run(main())
        first.run(client.aclose())
        first.run(client.http.aclose())


@pytest.mark.parametrize("name", [name for name in CLIENTS if name != "httpx client"])
def test_the_httpx_client_in_another_event_loop(name: str) -> None:
    """Ours says so by hand, too, also over a transport that would not notice."""
    with serve_in_thread() as registry, asyncio.Runner() as first, asyncio.Runner() as second:
        client = CLIENTS[name]()
        first.run(client.http.get(f"{registry.url}/v2/"))
        with pytest.raises(RuntimeError, match="this client belongs to another event loop"):
            second.run(client.http.get(f"{registry.url}/v2/"))
        first.run(client.aclose())


async def test_an_httpx_client_that_its_owner_closed(registry: RunningRegistry) -> None:
    """httpx says so, and we retry nothing."""
    http = httpx.AsyncClient()
    await http.aclose()
    async with oci.Client(http=http, auth_provider=nobody) as client:
        with pytest.raises(RuntimeError, match="closed"):
            await client.registry(registry.url).ping()


def test_a_client_that_was_entered_elsewhere(make: Callable[[], oci.Client]) -> None:
    """It belongs to where it was entered, not only to where it was used first."""
    client = make()
    asyncio.run(client.__aenter__())

    with pytest.raises(RuntimeError, match="another event loop"):
        asyncio.run(client.registry("127.0.0.1:1").ping())


def test_a_client_may_be_made_before_there_is_a_loop() -> None:
    """At import time, say; what it belongs to is decided at its first use."""
    client = CLIENTS["mock transport"]()

    asyncio.run(client.registry("127.0.0.1:1").ping())


def test_tasks_that_wait_in_another_loop_do_not_hang() -> None:
    """With every slot taken, a request of another loop would wait for ever for what can never come."""
    with serve_in_thread() as registry:
        registry.faults.add(Fault(path="/v2/", delay=0.2))
        client = oci.Client(slots=oci.Slots(requests=1), auth_provider=nobody)

        async def first() -> None:
            async with anyio.create_task_group() as tasks:
                for _ in range(2):
                    tasks.start_soon(client.registry(registry.url).ping)
                await anyio.wait_all_tasks_blocked()
                with pytest.raises(RuntimeError, match="another event loop"):
                    await anyio.to_thread.run_sync(lambda: asyncio.run(client.registry(registry.url).ping()))
            await client.aclose()

        asyncio.run(first())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_after_a_fork() -> None:
    """The child is told to open its own; the parent's goes on."""
    code = """
import asyncio, os, sys, httpx
import oci_distribution as oci

async def nobody(host, repository):
    return oci.Credential()

async def main():
    answered = httpx.MockTransport(lambda request: httpx.Response(200))
    async with oci.Client(transport=answered, auth_provider=nobody) as client:
        registry = client.registry("127.0.0.1:1")
        await registry.ping()
        child = os.fork()
        if child == 0:
            try:
                await registry.ping()
            except RuntimeError as error:
                os._exit(0 if "before a fork" in str(error) else 3)
            os._exit(4)
        _, status = os.waitpid(child, 0)
        await registry.ping()
        print(os.waitstatus_to_exitcode(status))

asyncio.run(main())
"""
    run = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code], capture_output=True, check=True
    )

    assert run.stdout.split() == [b"0"]


async def test_a_reader_outlives_its_client(registry: RunningRegistry) -> None:
    """What is still to come cannot come any more, and that is said as what it is."""
    client = oci.Client(auth_provider=nobody)
    repo = client.registry(registry.url).repository("team/app")
    blob = await repo.blobs.push(bytes(64 << 20))
    async with repo.blobs.open(blob) as reader:
        await anext(reader)
        await client.aclose()

        with pytest.raises(RuntimeError, match="this client is closed"):
            async for _ in reader:
                pass


def test_a_reader_that_is_read_in_another_event_loop() -> None:
    """It says so, and does not wait for bytes that come elsewhere."""
    with serve_in_thread() as registry, asyncio.Runner() as first, asyncio.Runner() as second:
        client = oci.Client(auth_provider=nobody)

        async def opened() -> oci.BlobReader:
            repo = client.registry(registry.url).repository("team/app")
            return await repo.blobs.open(await repo.blobs.push(bytes(8 << 20)))

        async def read(reader: oci.BlobReader) -> None:
            async for _ in reader:
                pass

        reader = first.run(opened())
        with pytest.raises(RuntimeError, match="this client belongs to another event loop"):
            second.run(read(reader))
        first.run(reader.aclose())
        first.run(client.aclose())


async def test_a_writer_outlives_its_client(registry: RunningRegistry) -> None:
    """Writing, committing and giving up all need the client."""
    client = oci.Client(auth_provider=nobody)
    repo = client.registry(registry.url).repository("team/app")
    with pytest.raises(RuntimeError, match="this client is closed"):
        async with repo.blobs.writer(chunk_size=1 << 20) as writer:
            await writer.write(b"x" * (1 << 20))
            await client.aclose()
            with pytest.raises(RuntimeError, match="this client is closed"):
                await writer.write(b"x" * (2 << 20))
            with pytest.raises(RuntimeError, match="this client is closed"):
                await writer.commit()


async def test_a_retry_after_closing(registry: RunningRegistry) -> None:
    """Who sleeps between two tries finds the client closed when it wakes, also over a client that is not."""
    registry.faults.add(Fault(path="/v2/", status=503))
    async with httpx.AsyncClient() as http:
        client = oci.Client(http=http, retry=oci.RetryPolicy(base_delay=0.05), auth_provider=nobody)
        async with anyio.create_task_group() as tasks:

            def close(event: oci.Event) -> None:
                if isinstance(event, oci.RetryScheduled):
                    tasks.start_soon(client.aclose)

            with oci.observe(close), pytest.raises(RuntimeError, match="this client is closed"):
                await client.registry(registry.url).ping()


async def test_what_waits_for_a_slot_is_not_sent_after_closing() -> None:
    """Also where the `httpx.AsyncClient` under it is the user's, and stays open; what was sent may end."""
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def script(exchange: Exchange) -> None:
        arrived.set()
        await go_on.wait()
        await exchange.answer(200)

    async with hostile(script) as server, httpx.AsyncClient() as http:
        client = oci.Client(http=http, auth_provider=nobody, slots=oci.Slots(requests=1))
        pings = [asyncio.create_task(client.registry(server.url).ping()) for _ in range(3)]
        await arrived.wait()
        await client.aclose()
        go_on.set()
        results = await asyncio.gather(*pings, return_exceptions=True)

    assert [str(result) for result in results[1:]] == ["this client is closed: open a new one"] * 2
    assert not isinstance(results[0], Exception)
    assert len(server.requests) == 1


async def test_cancelled_while_closing() -> None:
    """Every connection is closed all the same, and the client says that it is."""
    arrived = anyio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, b"abc", length=1 << 20)
        arrived.set()
        await exchange.hung_up()

    async with hostile(script) as server:
        client = oci.Client(auth_provider=nobody)
        reader = await client.registry(server.url).repository("a/b").blobs.open(oci.Digest.of(b"?"))
        await arrived.wait()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await client.aclose()
        assert server.sockets_of_clients() == 0
        with pytest.raises(RuntimeError, match="closed"):
            await client.registry(server.url).ping()
        await reader.aclose()


async def test_three_hundred_tasks_share_a_client(registry: RunningRegistry, client: oci.Client) -> None:
    """Pushing and reading, each gets its own bytes."""
    repo = client.registry(registry.url).repository("team/app")
    done: list[int] = []

    async def work(number: int) -> None:
        data = f"blob {number}".encode() * 100
        blob = await repo.blobs.push(data)
        assert await repo.blobs.read(blob) == data
        done.append(number)

    async with anyio.create_task_group() as tasks:
        for number in range(300):
            tasks.start_soon(work, number)

    assert sorted(done) == list(range(300))


async def test_cancelling_half_of_the_tasks_leaves_the_others(
    registry: RunningRegistry, client: oci.Client
) -> None:
    """No slot, token or connection is lost with those who go."""
    repo = client.registry(registry.url).repository("team/app")
    blob = await repo.blobs.push(b"x" * 100_000)
    scopes = [anyio.CancelScope() for _ in range(200)]
    read: list[int] = []

    async def work(number: int) -> None:
        with scopes[number]:
            await repo.blobs.read(blob)
            read.append(number)

    async with anyio.create_task_group() as tasks:
        for number in range(200):
            tasks.start_soon(work, number)
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        for scope in scopes[::2]:
            scope.cancel()

    assert set(range(1, 200, 2)) <= set(read)
    assert await repo.blobs.read(blob) == b"x" * 100_000


async def test_a_one_shot_source_of_a_closed_client_is_not_read(registry: RunningRegistry) -> None:
    """It is still whole for another client."""
    client = oci.Client(auth_provider=nobody)
    await client.aclose()
    began = False

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal began
        began = True
        yield b"x"

    with pytest.raises(RuntimeError, match="this client is closed"):
        await client.registry(registry.url).repository("a/b").blobs.push(pieces())

    assert not began
