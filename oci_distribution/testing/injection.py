"""Faults, carried out: between the server and the registry, where an answer can still be spoilt."""

from __future__ import annotations

import socket
import struct
import sys
from asyncio import Transport
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import anyio
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oci_distribution.testing.answers import RegistryError
from oci_distribution.testing.faults import Fault

if sys.platform == "linux":
    from fcntl import ioctl

    _SIOCOUTQNSD = 0x894B

__all__ = ["CONNECTION", "inject"]

CONNECTION = "oci_distribution.connection"
"""Extension of the ASGI scope: the transport of the connection, so that it can be cut."""
_EXPIRED = (b"authorization", b"Bearer expired")
_TICK = 0.05
"""Seconds between the pieces of a slow body."""
_CODES = {
    400: "UNSUPPORTED",
    401: "UNAUTHORIZED",
    403: "DENIED",
    404: "NAME_UNKNOWN",
    405: "UNSUPPORTED",
    413: "SIZE_INVALID",
    416: "BLOB_UPLOAD_INVALID",
    429: "TOOMANYREQUESTS",
}


class _CutError(Exception):
    """The connection has to be cut now."""


async def inject(fault: Fault, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request as a fault says.

    Args:
        fault: What goes wrong.
        app: Answers requests as they should be.
        scope: The request.
        receive: Its body.
        send: Takes the answer.

    Raises:
        ConnectionAbortedError: A connection is to be cut where the server, not ours, does not let us.
    """
    await anyio.sleep(fault.delay)
    try:
        if fault.reset:
            raise _CutError
        if fault.reset_after is not None:
            await _drain(receive, fault.reset_after)
        if fault.status is not None or fault.redirect is not None:
            await _made_up(fault)(scope, receive, send)
            return
        if fault.expire_token:
            scope = {**scope, "headers": [*_without_authorization(scope), _EXPIRED]}
        await app(scope, receive, _Spoiler(fault, send))
    except _CutError:
        await _cut(scope, receive)


async def _drain(receive: Receive, limit: int) -> None:
    """Take in the body up to a limit, and cut."""
    taken, more = 0, True
    while more and taken < limit:
        message = await receive()
        taken += len(message.get("body", b""))
        more = message.get("more_body", False)
    raise _CutError


def _made_up(fault: Fault) -> Response:
    status = fault.status or 307
    if fault.body is not None:
        response = Response(fault.body, status)
    elif status < 400:
        response = Response(status_code=status)
    else:
        response = RegistryError(status, _CODES.get(status, "UNKNOWN"), "told to fail").response()
    if fault.redirect is not None:
        response.headers["Location"] = fault.redirect
    _change_headers(fault, response.headers)
    return response


def _change_headers(fault: Fault, headers: MutableHeaders) -> None:
    if fault.retry_after is not None:
        headers["Retry-After"] = _retry_after(fault.retry_after, as_date=fault.retry_after_date)
    for name, value in fault.headers.items():
        if value is None:
            del headers[name]
        else:
            headers[name] = value


def _retry_after(seconds: float, *, as_date: bool) -> str:
    if not as_date:
        return f"{seconds:g}"
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


def _without_authorization(scope: Scope) -> list[tuple[bytes, bytes]]:
    return [(name, value) for name, value in scope["headers"] if name != b"authorization"]


async def _cut(scope: Scope, receive: Receive) -> None:
    """Reset the connection, and wait until the server has noticed, or it would still answer something."""
    transport: Transport | None = scope.get("extensions", {}).get(CONNECTION)
    if transport is None:
        msg = "told to cut the connection, which only serve_registry can"
        raise ConnectionAbortedError(msg)
    await _taken(transport)
    if not transport.is_closing():
        # A socket that does not linger is reset, and not closed in order.
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass


async def _taken(transport: Transport) -> None:
    """Wait until the client's side has all that was sent: a reset drops what is on its way."""
    sock = transport.get_extra_info("socket")
    # Nothing tells when the other side has it.
    while not transport.is_closing() and (transport.get_write_buffer_size() or _unsent(sock)):  # noqa: ASYNC110
        await anyio.sleep(0.001)


def _unsent(sock: socket.socket) -> int:
    """Return how many bytes the kernel has not even sent, where it tells."""
    if sys.platform != "linux":
        return 0
    try:
        return int(struct.unpack("i", ioctl(sock.fileno(), _SIOCOUTQNSD, bytes(4)))[0])
    except OSError:
        return 0


class _Spoiler:
    """Takes an answer of the registry, and sends what a fault makes of it."""

    def __init__(self, fault: Fault, send: Send) -> None:
        self._fault = fault
        self._send = send
        self._sent = 0

    async def __call__(self, message: Message) -> None:
        if self._fault.answer_lost:
            raise _CutError
        if message["type"] == "http.response.start":
            await self._start(message)
        else:
            await self._body(message.get("body", b""), more=message.get("more_body", False))

    async def _start(self, message: Message) -> None:
        headers = MutableHeaders(raw=list(message["headers"]))
        limit = self._fault.truncate_after
        if limit is not None and int(headers.get("Content-Length", "0")) > limit:
            headers["Content-Length"] = str(limit)
        _change_headers(self._fault, headers)
        await self._send({**message, "headers": headers.raw})

    async def _body(self, data: bytes, *, more: bool) -> None:
        fault = self._fault
        data = self._corrupted(data)
        if fault.truncate_after is not None:
            data = data[: max(fault.truncate_after - self._sent, 0)]
        if fault.reset_answer_after is not None and self._sent + len(data) >= fault.reset_answer_after:
            await self._pass_on(data[: fault.reset_answer_after - self._sent], more=True)
            raise _CutError
        await self._pass_on(data, more=more)

    def _corrupted(self, data: bytes) -> bytes:
        offset = self._fault.corrupt_at
        if offset is None or not 0 <= offset - self._sent < len(data):
            return data
        index = offset - self._sent
        return data[:index] + bytes([data[index] ^ 0xFF]) + data[index + 1 :]

    async def _pass_on(self, data: bytes, *, more: bool) -> None:
        rate = self._fault.bytes_per_second
        step = len(data) if rate is None else max(int(rate * _TICK), 1)
        while len(data) > step:
            piece, data = data[:step], data[step:]
            await self._emit(piece, more=True)
            await anyio.sleep(len(piece) / (rate or step))
        await self._emit(data, more=more)

    async def _emit(self, data: bytes, *, more: bool) -> None:
        self._sent += len(data)
        await self._send({"type": "http.response.body", "body": data, "more_body": more})
