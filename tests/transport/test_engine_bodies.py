"""What the engine guarantees about the body of a request, whatever goes wrong."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import suppress

import anyio
import httpx
import pytest

from oci_distribution.errors import SizeMismatch
from oci_distribution.transport import upload
from oci_distribution.transport.engine import AiohttpTransport
from tests.hostile import Exchange, certificates, hostile

PIECE = bytes(256 << 10)
BIG = {"Content-Length": str(1 << 40)}


class Watched(httpx.AsyncByteStream):
    """An endless body that knows whether somebody is iterating it; it takes its time to close."""

    def __init__(self) -> None:
        self.is_running = False
        self.is_closed = False
        self.sent = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while True:
                self.is_running = True
                await asyncio.sleep(0)
                self.sent += len(PIECE)
                self.is_running = False
                yield PIECE
        finally:
            self.is_running = True
            try:
                for _ in range(10):
                    await asyncio.sleep(0)
            finally:
                self.is_running = False
                self.is_closed = True


class Pieces(httpx.AsyncByteStream):
    def __init__(self, *pieces: bytes, error: BaseException | None = None) -> None:
        self.pieces = pieces
        self.error = error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            await asyncio.sleep(0)
            yield piece
        if self.error is not None:
            raise self.error


@pytest.fixture(params=["http", "https"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[AiohttpTransport]:
    async with AiohttpTransport(proxies={}, ssl_context=certificates().client) as engine:
        engine.tls = certificates().server if request.param == "https" else None  # type: ignore[attr-defined]
        yield engine


def tls_of(engine: AiohttpTransport) -> object:
    return engine.tls  # type: ignore[attr-defined]


async def answer(exchange: Exchange) -> None:
    await exchange.read_body()
    await exchange.answer(201)


def put(url: str, stream: httpx.AsyncByteStream, length: int, **timeout: float) -> httpx.Request:
    headers = {"Content-Length": str(length)}
    return httpx.Request("PUT", url, stream=stream, headers=headers, extensions={"timeout": timeout})


@pytest.mark.parametrize("pieces", [(b"abc",), (b"abc", b"defgh"), (b"abcdefgh",), (), (b"abcde", b"", b"f")])
async def test_a_body_of_another_length_fails(pieces: tuple[bytes, ...]) -> None:
    """A short body does not hang, a long one is not cut, and the host never holds all that was announced."""
    async with hostile(answer) as server, AiohttpTransport(proxies={}) as engine:
        with pytest.raises(SizeMismatch):
            await engine.handle_async_request(put(server.url, Pieces(*pieces), 5))
    assert all(len(exchange.body) < 5 for exchange in server.requests)


@pytest.mark.parametrize("length", ["0", "2", "4"])
async def test_bytes_of_another_length_fail(length: str) -> None:
    """The same holds for a body that is in memory, and for one that is missing."""
    async with hostile(answer) as server, AiohttpTransport(proxies={}) as engine:
        for content in (b"abc", b"" if length != "0" else b"abc"):
            request = httpx.Request("PUT", server.url, content=content, headers={"Content-Length": length})
            with pytest.raises(SizeMismatch):
                await engine.handle_async_request(request)


@pytest.mark.parametrize("announced", [3, 10])
@pytest.mark.parametrize(
    "error", [ValueError("bad"), OSError(5, "disk"), TimeoutError(), httpx.ReadError("up")]
)
async def test_an_error_of_the_source_comes_out_as_itself(error: Exception, announced: int) -> None:
    """Even one after the last byte, and even one that looks like the network's own."""
    async with hostile(answer) as server, AiohttpTransport(proxies={}) as engine:
        with pytest.raises(type(error)) as caught:
            await engine.handle_async_request(put(server.url, Pieces(b"abc", error=error), announced))
    assert caught.value is error
    assert error.__cause__ is None
    assert error.__context__ is None
    assert all(exchange.body == b"" or announced == 10 for exchange in server.requests)


async def test_an_early_answer_is_seen_while_the_body_is_on_its_way(engine: AiohttpTransport) -> None:
    """A 401 or 413 arrives; once the answer is closed, nobody iterates the body."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_some()
        await exchange.answer(413, b"too large")
        await exchange.hung_up()

    body = Watched()
    async with hostile(script, tls=tls_of(engine)) as server:  # type: ignore[arg-type]
        response = await engine.handle_async_request(put(server.url, body, 1 << 40))
        assert response.status_code == 413
        assert await anext(aiter(response.stream)) == b"too large"  # type: ignore[arg-type]
        await response.aclose()
        assert body.is_closed
        assert not body.is_running


async def test_an_early_answer_that_never_ends_is_closed_all_the_same(engine: AiohttpTransport) -> None:
    """Neither side of the exchange is waited for."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_some()
        await exchange.answer(200, b"begins", length=1000)
        await asyncio.Event().wait()

    body = Watched()
    async with hostile(script, tls=tls_of(engine)) as server:  # type: ignore[arg-type]
        response = await engine.handle_async_request(put(server.url, body, 1 << 40))
        await response.aclose()
        assert body.is_closed


async def test_after_a_cancel_nobody_iterates_the_body(engine: AiohttpTransport) -> None:
    """The caller may close what the body reads from as soon as the request has raised."""
    body = Watched()
    arrived = anyio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.read_some()
        arrived.set()
        await asyncio.Event().wait()

    async def send() -> None:
        try:
            await engine.handle_async_request(put(server.url, body, 1 << 40))
        finally:
            assert body.is_closed
            assert not body.is_running

    async with hostile(script, tls=tls_of(engine)) as server, anyio.create_task_group() as group:  # type: ignore[arg-type]
        group.start_soon(send)
        await arrived.wait()
        group.cancel_scope.cancel()
    assert body.is_closed


async def test_after_a_native_cancel_nobody_iterates_the_body(engine: AiohttpTransport) -> None:
    """The same for `Task.cancel`."""
    body = Watched()
    arrived = anyio.Event()

    async def script(exchange: Exchange) -> None:
        arrived.set()
        await exchange.hung_up()

    async with hostile(script, tls=tls_of(engine)) as server:  # type: ignore[arg-type]
        task = asyncio.ensure_future(engine.handle_async_request(put(server.url, body, 1 << 40)))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert body.is_closed


async def test_after_a_failure_nobody_iterates_the_body(engine: AiohttpTransport) -> None:
    """A connection that breaks in the middle of an upload is a write error."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_some()
        exchange.reset()

    body = Watched()
    async with hostile(script, tls=tls_of(engine)) as server:  # type: ignore[arg-type]
        with pytest.raises((httpx.WriteError, httpx.RemoteProtocolError)):
            await engine.handle_async_request(put(server.url, body, 1 << 40))
        assert body.is_closed


async def test_a_body_is_not_touched_when_there_is_no_connection() -> None:
    """A request that could not be sent leaves the body as it was."""
    async with hostile(answer) as server:
        pass
    body = Watched()
    async with AiohttpTransport(proxies={}) as engine:
        with pytest.raises(httpx.ConnectError):
            await engine.handle_async_request(put(server.url, body, 10))
    assert body.sent == 0


async def test_a_source_that_will_not_stop_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting for it has a deadline."""
    monkeypatch.setattr(upload, "_GRACE", 0.01)
    released, finished = asyncio.Event(), asyncio.Event()

    class Stubborn(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"abc"
            while not released.is_set():
                with suppress(asyncio.CancelledError):
                    await released.wait()
            finished.set()

    async def script(exchange: Exchange) -> None:
        await exchange.read_some()
        await exchange.answer(401)

    async with hostile(script) as server, AiohttpTransport(proxies={}) as engine:
        response = await engine.handle_async_request(put(server.url, Stubborn(), 6))
        await response.aclose()
        assert not finished.is_set()
        released.set()
        await finished.wait()


async def test_a_host_that_takes_nothing_is_a_write_timeout(engine: AiohttpTransport) -> None:
    """It is not waited for, not even to close the connection."""

    async def script(exchange: Exchange) -> None:
        exchange.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    body = Watched()
    async with hostile(script, tls=tls_of(engine)) as server:  # type: ignore[arg-type]
        with pytest.raises(httpx.WriteTimeout):
            await engine.handle_async_request(put(server.url, body, 1 << 40, write=0.05))
        assert body.is_closed


async def test_an_upload_leaves_no_task_and_no_socket_behind(engine: AiohttpTransport) -> None:
    """Neither when it was cut off nor when it failed; pytest makes an error of every ResourceWarning."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_some()
        await exchange.answer(401, b"no")

    async with hostile(script, tls=tls_of(engine)) as server:  # type: ignore[arg-type]
        before = asyncio.all_tasks()
        response = await engine.handle_async_request(put(server.url, Watched(), 1 << 40))
        await response.aclose()
        with pytest.raises(SizeMismatch):
            await engine.handle_async_request(put(server.url, Pieces(b"abc"), 10))
        after = {task for task in asyncio.all_tasks() - before if "Hostile" not in repr(task)}
        assert after == set()
    await engine.aclose()
    gc.collect()


class FailingWhenStuck(httpx.AsyncByteStream):
    """Fails as soon as something waits in our own buffer, as the system's are full."""

    def __init__(self, engine: AiohttpTransport) -> None:
        self.engine = engine

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            (protocol,) = self.engine._session.connector._acquired  # type: ignore[union-attr]
            if protocol.transport.get_write_buffer_size():  # type: ignore[union-attr]
                raise ValueError("stuck")
            yield bytes(1024)


async def test_a_host_that_takes_nothing_does_not_keep_the_socket(engine: AiohttpTransport) -> None:
    """Closing politely would wait until it has taken what is buffered, which may be never."""

    async def script(exchange: Exchange) -> None:
        exchange.writer.transport.pause_reading()  # type: ignore[attr-defined]
        if exchange.target == "/early":
            await exchange.answer(401)
        await asyncio.Event().wait()

    async with hostile(script, tls=tls_of(engine)) as server:  # type: ignore[arg-type]
        response = await engine.handle_async_request(put(f"{server.url}/early", Watched(), 1 << 40))
        await response.aclose()
        with pytest.raises(ValueError, match="stuck"):
            await engine.handle_async_request(put(server.url, FailingWhenStuck(engine), 1 << 40))
        with anyio.move_on_after(0.05):
            await engine.handle_async_request(put(server.url, Watched(), 1 << 40))
        await anyio.wait_all_tasks_blocked()
        assert server.sockets_of_clients() == 0


async def test_the_connection_of_a_finished_upload_is_used_again(engine: AiohttpTransport) -> None:
    """Also when the host answers the very moment that it has the last byte."""
    async with hostile(answer, tls=tls_of(engine)) as server:  # type: ignore[arg-type]
        for _ in range(20):
            response = await engine.handle_async_request(
                put(server.url, Pieces(b"abc", PIECE, b"de"), len(PIECE) + 5)
            )
            await response.aclose()
    assert server.connections == 1
