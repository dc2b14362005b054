"""Redirects, followed by hand: httpx would change the method, and send a body that is used up."""

from __future__ import annotations

from oci_distribution.errors import ProtocolError
from oci_distribution.spec.urls import resolve_url
from oci_distribution.transport.answers import OpenAnswer
from oci_distribution.transport.calls import Call

__all__ = ["MAX_REDIRECTS", "REDIRECTS", "redirect_target"]

MAX_REDIRECTS = 5
"""Hops after which we stop: a registry with storage behind it needs one, behind a CDN two."""
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_METHOD_KEEPING = frozenset({307, 308})


def redirect_target(call: Call, answer: OpenAnswer) -> str:
    """Return the absolute URL that an answer redirects a request to.

    Raises:
        ProtocolError: It names none, or the method would be lost.
    """
    context = answer.context
    if call.endpoint.method not in {"GET", "HEAD"} and answer.status not in _METHOD_KEEPING:
        hint = f"status {answer.status} redirects a {call.endpoint.method}, which would lose its method"
        raise ProtocolError(f"{hint}; is the registry elsewhere, or https?", context=context)
    location = answer.headers.get("Location")
    if location is None:
        raise ProtocolError(f"status {answer.status} without a Location", context=context)
    try:
        return resolve_url(call.url, location)
    except ValueError as error:
        raise ProtocolError(f"status {answer.status} with a bad Location: {error}", context=context) from None
