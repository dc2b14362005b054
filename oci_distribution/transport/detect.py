"""Which scheme a registry speaks, for those who have to find out: the client itself never falls back."""

from __future__ import annotations

import ssl
from contextlib import AsyncExitStack

import httpx

from oci_distribution.errors import RequestContext, TLSError, TransportError
from oci_distribution.spec.endpoints import Kind
from oci_distribution.spec.reference import check_registry
from oci_distribution.transport.calls import Timeouts
from oci_distribution.transport.engine import AiohttpTransport
from oci_distribution.transport.failures import is_plain_http, mapped_failures, tls_reason
from oci_distribution.transport.host_table import host_origin
from oci_distribution.transport.hosts import Scheme
from oci_distribution.transport.http_client import USER_AGENT

__all__ = ["detect_scheme"]

_PATIENCE = Timeouts(connect=10.0, read=10.0)


async def detect_scheme(host: str, *, transport: httpx.AsyncBaseTransport | None = None) -> Scheme:
    """Find out whether a registry speaks https or http; no credential is sent.

    https is asked first, and http only where nobody speaks TLS: a certificate that is not trusted is https.
    Somebody on the way can make it look like http, so use it to tell a user, or to write a configuration,
    and not before each use.

    Args:
        host: `host` or `host:port`.
        transport: What sends; by default an engine of its own. It is not closed.

    Raises:
        InvalidReference: `host` is no host.
        TransportError: Neither is spoken there, or nothing answers.
    """
    name = check_registry(host)
    async with AsyncExitStack() as stack:
        if transport is None:
            transport = await stack.enter_async_context(AiohttpTransport())
        try:
            await _ask(transport, name, "https")
        except TransportError as error:
            if _is_timeout(error):
                raise  # nobody knows what it would have said
            if not _speaks_tls(error):
                await _ask_after(error, transport, name)
                return "http"
    return "https"


def _is_timeout(error: TransportError) -> bool:
    return isinstance(error.__cause__, httpx.TimeoutException)


def _speaks_tls(error: TransportError) -> bool:
    """Say whether TLS is spoken, and it is only that the two sides do not agree."""
    reason = tls_reason(error)
    is_refusal = isinstance(error, TLSError) and reason is not None and not is_plain_http(reason)
    return is_refusal and not isinstance(reason, ssl.SSLEOFError)


async def _ask_after(error: TransportError, transport: httpx.AsyncBaseTransport, name: str) -> None:
    """Ask over http; where nothing answers that, either, the first error says more."""
    try:
        await _ask(transport, name, "http")
    except TransportError:
        raise error from error.__cause__


async def _ask(transport: httpx.AsyncBaseTransport, name: str, scheme: Scheme) -> None:
    """Ask `/v2/`; whatever is answered is an answer."""
    origin = host_origin(name, scheme=scheme)
    url = f"{origin}/v2/"
    request = httpx.Request(
        "GET",
        url,
        headers={"Host": origin.netloc, "User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
        extensions={"timeout": _PATIENCE.of(Kind.REQUEST)},
    )
    with mapped_failures(RequestContext("GET", url, name)):
        response = await transport.handle_async_request(request)
        await response.aclose()
