"""Failures: foreign exceptions and refusing answers, as errors of our tree."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING

import httpx
from pydantic import ValidationError

from oci_distribution.errors import (
    CODE_CLASSES,
    STATUS_CLASSES,
    BrokenAnswer,
    ConnectError,
    Denied,
    ErrorDetail,
    ForbiddenOrigin,
    ProtocolError,
    RequestContext,
    RequestError,
    ResponseError,
    SizeInvalid,
    TimeoutExceeded,
    TLSError,
    TransportError,
    Unauthorized,
    printable,
)
from oci_distribution.spec.headers import REQUEST_ID_HEADERS, parse_retry_after
from oci_distribution.spec.models import ErrorBody
from oci_distribution.spec.rate_limit import parse_rate_limit, retry_after_in

if TYPE_CHECKING:
    from oci_distribution.spec.endpoints import Endpoint

__all__ = [
    "PrivateAddress",
    "denial",
    "is_plain_http",
    "mapped_failures",
    "response_context",
    "response_error",
    "tls_reason",
]

_MAX_ENTRIES = 10
"""Entries of an error body that we look at."""
_WANTS_CERTIFICATE = re.compile("ALERT_.*(CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED|HANDSHAKE_FAILURE)")
"""What OpenSSL calls it when the host ends the handshake over a certificate of ours, or none."""
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_EXCERPT = 200
"""Characters of one thing that a server says, shown to the user."""


class PrivateAddress(httpx.ConnectError):
    """A name is that of a private address, and must not be (`strict_addresses`)."""


# In this order: the first that fits. A connect timeout is a timeout, and never was a connection.
_CLASSES: tuple[tuple[type[httpx.HTTPError], type[RequestError]], ...] = (
    (PrivateAddress, ForbiddenOrigin),
    (httpx.ConnectTimeout, ConnectError),
    (httpx.TimeoutException, TimeoutExceeded),
    (httpx.ConnectError, ConnectError),
    (httpx.ProxyError, ConnectError),
    (httpx.UnsupportedProtocol, ProtocolError),
    (httpx.LocalProtocolError, ProtocolError),
    (httpx.TransportError, BrokenAnswer),
    (httpx.HTTPError, TransportError),
)


class mapped_failures:  # noqa: N801 - a context manager, and no generator: it stands around every request, twice
    """Turn what httpx raises into our errors, about the request that `context` names."""

    __slots__ = ("_context",)

    def __init__(self, context: RequestContext) -> None:
        self._context = context

    def __enter__(self) -> None:
        """Nothing has failed yet."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, httpx.HTTPError):
            raise _mapped(error, self._context) from error
        if isinstance(error, httpx.InvalidURL):
            raise ProtocolError(f"not a URL that can be asked: {error}", context=self._context) from error


def _mapped(error: httpx.HTTPError, context: RequestContext) -> RequestError:
    tls = _tls_failure(error)
    if tls is not None:
        return TLSError(f"TLS failed: {tls}{_tls_hint(tls)}", context=context)
    target = next(ours for foreign, ours in _CLASSES if isinstance(error, foreign))
    # In one line: aiohttp shows what it could not read with a caret below, and it goes to a log.
    return target(" ".join(printable(str(error)).split()) or type(error).__name__, context=context)


def _tls_failure(error: BaseException) -> ssl.SSLError | None:
    """Return why the two sides do not agree on TLS; None when that is not what failed."""
    found = tls_reason(error)
    if found is None or isinstance(error, httpx.ConnectError):
        return found
    # In TLS 1.3 we take the connection to stand before the host has looked at our certificate.
    return found if _WANTS_CERTIFICATE.search(found.reason or "") else None


def tls_reason(error: BaseException) -> ssl.SSLError | None:
    """Return what OpenSSL said that led to an error; None when it was not asked."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLError):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


def is_plain_http(error: ssl.SSLError) -> bool:
    """Say whether what answered does not speak TLS at all."""
    return error.reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"}


def _tls_hint(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return " (HostConfig.ca_file or SSL_CERT_FILE names further certificate authorities)"
    if _WANTS_CERTIFICATE.search(error.reason or ""):
        return " (it wants a certificate of ours, or another one: HostConfig.client_cert)"
    if is_plain_http(error):
        return " (it seems to speak plain http: write http:// before its name if that is right)"
    return ""


def response_context(context: RequestContext, status: int, headers: Mapping[str, str]) -> RequestContext:
    """Return `context` with what the head of an answer says."""
    said = (_printable(headers[name]).strip() for name in REQUEST_ID_HEADERS if name in headers)
    request_id = next(filter(None, said), None)
    retry_after = parse_retry_after(headers.get("Retry-After"))
    if retry_after is None and status == 429:
        retry_after = _until_more(headers)
    return replace(context, status=status, request_id=request_id, retry_after=retry_after)


def _until_more(headers: Mapping[str, str]) -> float | None:
    """Return the seconds until there is more of a rate limit that is used up, or at most (Docker Hub)."""
    told = parse_rate_limit(headers)
    if told is None or told.remaining:
        return None
    return told.window if told.reset is None else told.reset


def response_error(endpoint: Endpoint, context: RequestContext, content: bytes) -> RequestError:
    """Return the error that an answer means which is none of the accepted ones.

    Args:
        endpoint: What was asked.
        context: With the status in it.
        content: The body, or its beginning.
    """
    status = context.status or 0
    if status < 400:
        return ProtocolError(f"unexpected status {status}", context=context)
    if status == 429 and context.retry_after is None:
        context = replace(context, retry_after=retry_after_in(content.decode("utf-8", "replace")))
    details = _details(content)
    cls = _class_for(endpoint, status, details)
    return cls(_message(cls, status, details, content), context=context, errors=details)


def denial(refusal: RequestError) -> RequestError:
    """Return the error that a refusal means which no other token would help against."""
    if not isinstance(refusal, Unauthorized):
        return refusal
    message = f"{refusal.args[0]} (with a token that was made for this)"
    return Denied(message, context=refusal.context, errors=refusal.errors)


def _details(content: bytes) -> tuple[ErrorDetail, ...]:
    try:
        body = ErrorBody.model_validate_json(content)
    except ValidationError:
        return ()
    return tuple(
        ErrorDetail(_printable(entry.code), _printable(entry.message or ""), entry.detail)
        for entry in body.errors[:_MAX_ENTRIES]
    )


def _class_for(endpoint: Endpoint, status: int, details: tuple[ErrorDetail, ...]) -> type[ResponseError]:
    # The status settles what it is clear about: GHCR says DENIED in a 401, others UNAUTHORIZED in a 403.
    if status in STATUS_CLASSES:
        return STATUS_CLASSES[status]
    named = next((CODE_CLASSES[detail.code] for detail in details if detail.code in CODE_CLASSES), None)
    if status == 404 and (named is None or not details):
        return endpoint.unknown
    # A proxy's web page has no code. Without a body of ours, it is something else that is too long.
    refused = SizeInvalid if status == 413 and endpoint.method in _WITH_BODY else ResponseError
    return named or refused


def _message(cls: type[ResponseError], status: int, details: tuple[ErrorDetail, ...], content: bytes) -> str:
    said = "; ".join(
        f"{detail.code}: {detail.message}" if detail.message else detail.code for detail in details
    )
    meaning = "" if cls is ResponseError or said else _words(cls)
    return ": ".join(part for part in (f"status {status}", meaning, said or _excerpt(content)) if part)


def _words(cls: type[ResponseError]) -> str:
    """Say what a class means: `ManifestUnknown` is "manifest unknown"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", cls.__name__).lower()


def _excerpt(content: bytes) -> str:
    return _printable(content[: _EXCERPT * 4].decode("utf-8", "replace").strip())


def _printable(text: str) -> str:
    return printable(text, _EXCERPT)
