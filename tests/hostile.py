"""A hostile HTTP server: it sends, byte for byte, what a script tells it to.

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.answer(200, b"abc", length=9)  # announces nine bytes, sends three
        exchange.reset()                               # and breaks the connection

    async with hostile(script) as server:
        await client.get(f"{server.url}/v2/")
    assert server.requests[0].target == "/v2/"

The script runs once for each request; the next one on its connection follows if the script has read the
body and left the connection open. To be slow, let it wait for an `anyio.Event` that the test sets. An
exception of the script (a failed `assert`, too) is raised at the end of the `async with`; that the client
hung up is no exception. For https: `hostile(script, tls=certificates().server)`.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from functools import cache
from types import TracebackType
from typing import NamedTuple, Self

import trustme

__all__ = ["Certificates", "Exchange", "HostileServer", "certificates", "hostile"]

_TURNS_OF_ACCEPTING = 4
"""Turns of the event loop between a connection in the listener's queue and `connection_made`."""

HeaderList = Iterable[tuple[str, str]]


class Certificates(NamedTuple):
    """The two sides of TLS: a server's context, and a client's that trusts it."""

    server: ssl.SSLContext
    client: ssl.SSLContext


@cache
def certificates(*names: str) -> Certificates:
    """Return contexts for the host names given, by default those of this machine."""
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*(names or ("127.0.0.1", "localhost"))).configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return Certificates(server, client)


class Exchange:
    """One request, as far as it was read, and the connection to answer it on.

    `connection` counts connections from 0; `body` is what was read of the body, chunks taken out.
    """

    def __init__(
        self, head: bytes, connection: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.head = head
        first, *lines = head.decode("utf-8", "surrogateescape").split("\r\n")
        self.method, self.target, self.version = first.split(" ", 2)
        self.headers = [
            (name, value.strip()) for name, _, value in (line.partition(":") for line in lines if line)
        ]
        self.connection = connection
        self.reader = reader
        self.writer = writer
        self.body = b""
        self._left = int(self.header("Content-Length") or 0)
        self._is_chunked = self.header("Transfer-Encoding") == "chunked"

    def header(self, name: str) -> str | None:
        """Return the first header of that name."""
        return next((value for known, value in self.headers if known.lower() == name.lower()), None)

    @property
    def is_over(self) -> bool:
        """Whether nothing of the body is left to be read, so that another request may follow."""
        return not self._left and not self._is_chunked and not self.writer.transport.is_closing()

    async def read_some(self, limit: int = 1 << 16) -> bytes:
        """Read a little of a body that has a length; nothing after its end."""
        piece = await self.reader.read(min(limit, self._left))
        if self._left and not piece:
            raise ConnectionResetError
        self._left -= len(piece)
        self.body += piece
        return piece

    async def read_body(self) -> bytes:
        """Read the whole body."""
        while self._is_chunked:
            size = int(await self.reader.readline(), 16)
            self.body += (await self.reader.readexactly(size + 2))[:-2]
            self._is_chunked = size > 0
        while self._left:
            await self.read_some()
        return self.body

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(
        self, status: int = 200, body: bytes = b"", headers: HeaderList = (), *, length: int | None = None
    ) -> None:
        """Send an answer; `length` is what it announces when that is not the truth."""
        announced = len(body) if length is None else length
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {announced}"]
        lines += [f"{name}: {value}" for name, value in headers]
        head = "\r\n".join(lines) + "\r\n\r\n"
        await self.send(head.encode() + (b"" if self.method == "HEAD" else body))

    async def send_for_ever(self, piece: bytes) -> None:
        """Send until the client hangs up."""
        while True:
            await self.send(piece)

    async def hung_up(self) -> None:
        """Wait until the client has closed the connection, reading what it still sends."""
        with suppress(ConnectionError):
            while await self.reader.read(1 << 16):
                pass

    def close(self) -> None:
        """Close the connection after what was sent."""
        self.writer.close()

    def reset(self) -> None:
        """Break the connection: the client sees a reset instead of an end."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Exchange], Awaitable[None]]


class HostileServer:
    """Runs a script on a free loopback port, while its `async with` lasts."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None) -> None:
        self.requests: list[Exchange] = []
        self.connections = 0
        self.port = 0
        self._script = script
        self._tls = tls
        self._tasks: set[asyncio.Task[object]] = set()
        self._accepted: set[asyncio.WriteTransport] = set()
        self._failures: list[Exception] = []

    @property
    def url(self) -> str:
        """Scheme, host and port."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def sockets_of_clients(self) -> int:
        """Count the sockets by which this process is still connected to the server."""
        count = 0
        for fd in list(asyncio.get_running_loop()._selector.get_map()):  # type: ignore[attr-defined]
            with suppress(OSError), socket.socket(fileno=os.dup(fd)) as sock:
                count += sock.getpeername()[1:2] == (self.port,)
        return count

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._cut_accepted()
        if self._failures and error is None:
            raise self._failures[0]

    async def _cut_accepted(self) -> None:
        """Cut what was accepted in the very moment of closing: it has no task yet, and belongs to nobody."""
        for _ in range(_TURNS_OF_ACCEPTING):
            await asyncio.sleep(0)
        for transport in self._accepted:
            transport.abort()
        while self._accepted:  # noqa: ASYNC110 - turns of the loop, and no time
            await asyncio.sleep(0)

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        return _Protocol(self._accepted, self._connected)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        number, self.connections = self.connections, self.connections + 1
        try:
            while True:
                exchange = Exchange((await reader.readuntil(b"\r\n\r\n"))[:-4], number, reader, writer)
                self.requests.append(exchange)
                await self._script(exchange)
                if not exchange.is_over:
                    break
            writer.close()
            await writer.wait_closed()
        except (ConnectionError, EOFError, ssl.SSLError, asyncio.CancelledError):
            pass
        except Exception as error:  # noqa: BLE001
            self._failures.append(error)
        finally:
            writer.transport.abort()
            self._tasks.discard(task)


class _Protocol(asyncio.StreamReaderProtocol):
    """The one of `asyncio.start_server`, which knows nobody to tell of a connection before its task runs."""

    def __init__(
        self,
        accepted: set[asyncio.WriteTransport],
        connected: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    ) -> None:
        super().__init__(asyncio.StreamReader(limit=1 << 20), connected)
        self._accepted = accepted
        self._mine: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._mine = transport
        self._accepted.add(transport)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._mine is not None:
            self._accepted.discard(self._mine)


def hostile(script: Script, *, tls: ssl.SSLContext | None = None) -> HostileServer:
    """Return a server that runs `script` for each request; see the example at the top of this module."""
    return HostileServer(script, tls)
