"""The client of our application: sent to as fast as it takes, and watched, since it may leave."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from oci_distribution.errors import TimeoutExceeded

__all__ = ["WebClient"]

_CLIENT_CLOSED_REQUEST = 499
"""nginx's word for it. Nobody reads the answer, but middleware insists on one."""


class WebClient:
    """Whoever sent a request.

    Args:
        scope: The request.
        receive: Tells when the client has left.
        send: Takes the answer.
        patience: Seconds that the client may take to accept a piece.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, patience: float) -> None:
        self.headers: Headers = Headers(scope=scope)
        self.is_asking_for_head: bool = scope["method"] == "HEAD"
        self._receive = receive
        self._send = send
        self._patience = patience
        self.has_answer: bool = False
        """Whether a status was sent, which cannot be taken back."""

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Send status and headers."""
        self.has_answer = True
        await self._send_in_time({"type": "http.response.start", "status": status, "headers": headers})

    async def send(self, piece: bytes) -> None:
        """Send a piece of the body, as soon as the client has taken most of those before."""
        await self._send_in_time({"type": "http.response.body", "body": piece, "more_body": True})

    async def end(self) -> None:
        """End the body."""
        await self._send_in_time({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_in_time(self, message: Message) -> None:
        with anyio.move_on_after(self._patience) as scope:
            await self._send(message)
        if scope.cancelled_caught:
            raise TimeoutExceeded(f"the client has taken nothing for {self._patience:g} seconds")

    async def while_here(self, job: Callable[[], Awaitable[None]]) -> None:
        """Do a job, and cancel it when the client leaves, whatever it is waiting for."""
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._cancel_when_left, tasks.cancel_scope)
            try:
                await job()
            except Exception as error:  # noqa: BLE001 - raised below: out of a task group it would be wrapped
                failure = error
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure
        if not self.has_answer:
            await self.start(_CLIENT_CLOSED_REQUEST, [])
            await self.end()

    async def _cancel_when_left(self, scope: anyio.CancelScope) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        scope.cancel()
