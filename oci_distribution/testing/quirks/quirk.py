"""A quirk, and what quirks share.

A quirk wraps handlers: it may look at the request first, change or refuse it, let the handler answer and
change the answer. The handlers themselves know nothing of quirks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import Response

from oci_distribution.spec.headers import parse_content_length
from oci_distribution.testing.calls import Call, Handler

if TYPE_CHECKING:
    from oci_distribution.testing.app import RegistryApp

__all__ = [
    "Quirk",
    "body_length",
    "drain",
    "with_parameter",
    "without_header",
    "without_parameters",
]

Wrapper: TypeAlias = Callable[[Call, Handler], Awaitable[Response]]
Server: TypeAlias = "Callable[[RegistryApp, Request], Awaitable[Response | None]]"


@dataclass(frozen=True, slots=True)
class Quirk:
    """Something that a registry does otherwise.

    Args:
        what: What it does, as the rest of a sentence that starts with the registry's name.
        source: Where that was reported.
        on: Handlers that it changes.
        wrapper: Gets the call and the handler, and returns the answer.
        serve: Answers requests for paths that the specification does not know; None for every other one.
            Whoever is let in there is its own matter.
    """

    what: str
    source: str
    on: tuple[Handler, ...]
    wrapper: Wrapper
    serve: Server | None = None

    def wrap(self, handler: Handler) -> Handler:
        """Return a handler with this quirk."""

        async def wrapped(call: Call) -> Response:
            return await self.wrapper(call, handler)

        return wrapped


def without_parameters(call: Call, *names: str) -> Call:
    """Return a call as if the query did not have these parameters."""
    pairs = [pair for pair in _query(call) if pair[0] not in names]
    return _with_query(call, pairs)


def with_parameter(call: Call, name: str, value: str) -> Call:
    """Return a call as if the query had this parameter, too."""
    return _with_query(call, [*_query(call), (name, value)])


def without_header(call: Call, name: str) -> Call:
    """Return a call as if the request did not have this header."""
    headers = [header for header in call.request.scope["headers"] if header[0] != name.lower().encode()]
    return _with_scope(call, headers=headers)


def body_length(call: Call) -> int | None:
    """Return the length that a request announces, in bytes; None when it announces none."""
    return parse_content_length(call.request.headers.get("content-length"))


async def drain(call: Call) -> None:
    """Take in the body and forget it."""
    async for _ in call.request.stream():
        pass


def _query(call: Call) -> list[tuple[str, str]]:
    return parse_qsl(call.request.scope["query_string"].decode("latin-1"), keep_blank_values=True)


def _with_query(call: Call, pairs: list[tuple[str, str]]) -> Call:
    return _with_scope(call, query_string=urlencode(pairs).encode())


def _with_scope(call: Call, **changes: object) -> Call:
    return replace(call, request=Request({**call.request.scope, **changes}, call.request.receive))
