"""Strict mode: what clients do that the specifications forbid, noted while the registry answers as ever.

Judged is what a client could know. An upload's newest Location, for instance, is the newest that was sent to
it: not one in an answer that a fault swallowed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oci_distribution.spec.headers import OCI_CHUNK_MIN_LENGTH, parse_chunk_min_length
from oci_distribution.testing.calls import route_path
from oci_distribution.testing.exchange import Conversation, Exchange
from oci_distribution.testing.injection import CONNECTION
from oci_distribution.testing.record import RecordedRequest
from oci_distribution.testing.rules import RULES

if TYPE_CHECKING:
    from oci_distribution.testing.uploads import UploadSession

__all__ = ["StrictMode", "StrictViolation", "Violation"]

_KEPT_BODY = 4 << 20
"""Bytes of a manifest that are kept to be looked at, as many as the registry accepts."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A request by which a client did what a specification forbids.

    Args:
        rule: Short name of the rule.
        section: Where it is written; with SHOULD where that is all that is said there.
        request: Method, path and query, without secrets.
        problem: What was wrong.
    """

    rule: str
    section: str
    request: str
    problem: str

    def __str__(self) -> str:
        return f"{self.request}: {self.problem} [{self.rule}: {self.section}]"


class StrictViolation(AssertionError):
    """A client did what the specifications forbid.

    Args:
        violations: What it did, in order.
    """

    def __init__(self, violations: Sequence[Violation]) -> None:
        super().__init__("\n".join(["the client broke the specifications:", *map(str, violations)]))
        self.violations: tuple[Violation, ...] = tuple(violations)


class StrictMode:
    """Watches requests on their way to a registry, and their answers.

    Args:
        uploads: The registry's open uploads, by identifier.
    """

    def __init__(self, uploads: Mapping[str, UploadSession]) -> None:
        self._uploads = uploads
        self._conversations: dict[str, Conversation] = {}
        self.violations: list[Violation] = []
        """What was noted so far."""

    async def watch(
        self, app: ASGIApp, record: RecordedRequest, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Let the registry answer a request, and note what is wrong with it.

        Args:
            app: The registry.
            record: The record of the request, which the registry fills.
            scope: The request.
            receive: Its body.
            send: Takes the answer.
        """
        exchange = self._exchange(record, scope)

        async def watched_receive() -> Message:
            message = await receive()
            if exchange.is_manifest_push and len(exchange.body) <= _KEPT_BODY:
                exchange.body += message.get("body", b"")
                exchange.is_whole = message["type"] == "http.request" and not message.get("more_body", False)
            return message

        async def watched_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._listen(exchange, scope, Headers(raw=list(message["headers"])))
                self._judge(exchange)  # before the client, which may be in another thread, can ask
            await send(message)

        try:
            await app(scope, watched_receive, watched_send)
        finally:
            self._judge(exchange)

    def _exchange(self, record: RecordedRequest, scope: Scope) -> Exchange:
        exchange = Exchange.of(record, route_path(Request(scope)), scope)
        session = self._uploads.get(exchange.upload_id)
        conversation = self._conversations.get(exchange.upload_id)
        if session is not None and conversation is not None:
            exchange.conversation, exchange.upload_size = conversation, session.size
        return exchange

    def _listen(self, exchange: Exchange, scope: Scope, headers: Headers) -> None:
        """Remember what an answer tells a client of an upload."""
        status, location = exchange.record.status or 0, headers.get("location", "")
        identifier = location.partition("?")[0].rpartition("/")[2]
        session = self._uploads.get(identifier)
        transport = scope.get("extensions", {}).get(CONNECTION)
        if exchange.record.method in {"PUT", "DELETE"} and status < 300:
            self._conversations.pop(exchange.upload_id, None)
        if session is None or not (200 <= status < 300 or status == 416):
            return
        if transport is not None and transport.is_closing():
            return  # nobody hears it any more
        before = self._conversations.get(identifier)
        if before is None:
            before = Conversation(
                start_length=exchange.headers.get("content-length"),
                minimum=parse_chunk_min_length(headers.get(OCI_CHUNK_MIN_LENGTH)),
            )
        self._conversations[identifier] = replace(
            before,
            locations=(*before.locations, location),
            offset=session.size,
            had_short_chunk=before.had_short_chunk or (status == 202 and exchange.is_short_chunk),
        )

    def _judge(self, exchange: Exchange) -> None:
        if exchange.is_judged:
            return
        exchange.is_judged = True
        request = exchange.record.request_line
        for rule in RULES:
            problem = rule.check(exchange)
            if problem is not None:
                self.violations.append(Violation(rule.name, rule.section, request, problem))
