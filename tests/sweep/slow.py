"""Servers and sockets that take their time, so that tasks wait in the middle of a body."""

from __future__ import annotations

import asyncio
import socket

import aiohttp
from starlette.types import Message, Receive, Scope, Send

from oci_distribution.transport.engine import AiohttpTransport
from tests.sweep.world import CountingApp

__all__ = ["SlowApp", "SlowTransport"]

PIECE, PAUSE = 64 << 10, 0.002
"""Bytes that a server sends at once, and the seconds until the next ones."""
NARROW = 32 << 10
"""Bytes of a request that the operating system takes before the server does."""


class SlowApp(CountingApp):
    """A registry that sends bodies in pieces."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_pieces(message: Message) -> None:
            body = message.get("body", b"")
            while len(body) > PIECE:
                await send({**message, "body": body[:PIECE], "more_body": True})
                await asyncio.sleep(PAUSE)
                body = body[PIECE:]
            await send({**message, "body": body} if "body" in message else message)

        await super().__call__(scope, receive, send_pieces)


class SlowTransport(AiohttpTransport):
    """The engine over sockets that take little at once."""

    def _new_session(self, resolver: aiohttp.ThreadedResolver) -> aiohttp.ClientSession:
        session = super()._new_session(resolver)
        assert isinstance(session.connector, aiohttp.TCPConnector)
        session.connector._socket_factory = _narrow_socket
        return session


def _narrow_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, NARROW)
    return made
