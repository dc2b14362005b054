"""Refusing answers become the error that they mean."""

from __future__ import annotations

import json
import ssl

import httpx
import pytest

from oci_distribution import errors
from oci_distribution.errors import RequestContext
from oci_distribution.spec import endpoints
from oci_distribution.transport.failures import (
    PrivateAddress,
    mapped_failures,
    response_context,
    response_error,
)

MANIFEST = endpoints.get_manifest("a/b", "v1")
BLOB = endpoints.get_blob("a/b", "sha256:" + "0" * 64)
TAGS = endpoints.list_tags("a/b")


def error_of(endpoint: endpoints.Endpoint, status: int, content: bytes | str = b"") -> errors.RequestError:
    data = content.encode() if isinstance(content, str) else content
    return response_error(endpoint, RequestContext("GET", "https://r/v2/", "r", status), data)


def body(code: str, message: str = "why") -> str:
    return json.dumps({"errors": [{"code": code, "message": message, "detail": None}]})


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (404, "BLOB_UNKNOWN", errors.BlobUnknown),
        (400, "BLOB_UPLOAD_INVALID", errors.BlobUploadInvalid),
        (404, "BLOB_UPLOAD_UNKNOWN", errors.BlobUploadUnknown),
        (400, "DIGEST_INVALID", errors.DigestInvalid),
        (404, "MANIFEST_BLOB_UNKNOWN", errors.ManifestBlobUnknown),
        (400, "MANIFEST_INVALID", errors.ManifestInvalid),
        (404, "MANIFEST_UNKNOWN", errors.ManifestUnknown),
        (400, "NAME_INVALID", errors.NameInvalid),
        (404, "NAME_UNKNOWN", errors.NameUnknown),
        (400, "SIZE_INVALID", errors.SizeInvalid),
        (401, "UNAUTHORIZED", errors.Unauthorized),
        (403, "DENIED", errors.Denied),
        (405, "UNSUPPORTED", errors.Unsupported),
        (429, "TOOMANYREQUESTS", errors.TooManyRequests),
        (404, "SOMETHING_NEW", errors.ManifestUnknown),
        (401, "DENIED", errors.Unauthorized),
        (400, "UNSUPPORTED", errors.Unsupported),
        (500, "UNKNOWN", errors.ResponseError),
    ],
)
def test_each_code_has_its_class(status: int, code: str, expected: type[errors.ResponseError]) -> None:
    """The class says what is meant, and the codes are kept as they were spelled."""
    error = error_of(MANIFEST, status, body(code))

    assert type(error) is expected
    assert isinstance(error, errors.ResponseError)
    assert error.codes == (code,)
    assert "why" in str(error)


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [(MANIFEST, errors.ManifestUnknown), (BLOB, errors.BlobUnknown), (TAGS, errors.NameUnknown)],
)
def test_a_404_without_a_body_is_about_what_was_asked(
    endpoint: endpoints.Endpoint, expected: type[errors.ResponseError]
) -> None:
    """The answer to a HEAD has no body, so the endpoint decides."""
    error = error_of(endpoint, 404)

    assert type(error) is expected
    assert isinstance(error, errors.NotFound)


@pytest.mark.parametrize(
    "content", ["<html><h1>502 Bad Gateway</h1>", b"\xff\xfe\x00", '{"errors": 7}', "[]", "null"]
)
def test_a_body_that_is_not_the_specified_one_is_quoted(content: bytes | str) -> None:
    """Proxies answer HTML; the user sees the beginning of it, and no control characters."""
    error = error_of(MANIFEST, 502, content)

    assert type(error) is errors.ResponseError
    assert str(error).isprintable()
    assert "status 502" in str(error)


@pytest.mark.parametrize(
    "content", ['{"errors": [{"code": 7, "message": null}]}', '{"code": "DENIED", "message": "no"}']
)
def test_sloppy_bodies_are_understood(content: str) -> None:
    """Numbers for codes and bodies without the list are seen in the wild."""
    error = error_of(MANIFEST, 400, content)

    assert isinstance(error, errors.ResponseError)
    assert len(error.codes) == 1


def test_what_a_server_says_cannot_move_the_cursor() -> None:
    """Escape sequences and line ends in an error body do not reach a terminal, nor does a novel."""
    error = error_of(MANIFEST, 403, body("DENIED", "\x1b]0;owned\x07\x1b[2J\r\nerror: fake " + "x" * 10_000))

    assert str(error).isprintable()
    assert len(str(error)) < 1000


def test_an_unexpected_success_is_a_protocol_error() -> None:
    """A 204 where content was asked for is no refusal, and no answer either."""
    assert type(error_of(MANIFEST, 204)) is errors.ProtocolError


def test_the_head_of_the_answer_goes_into_the_context() -> None:
    """Request id and Retry-After are what a user needs to complain or to wait."""
    headers = httpx.Headers({"x-github-request-id": "AB:12", "retry-after": "7"})

    context = response_context(RequestContext("GET", "u", "ghcr.io"), 429, headers)

    assert (context.status, context.request_id, context.retry_after) == (429, "AB:12", 7.0)


@pytest.mark.parametrize(
    ("headers", "request_id"),
    [
        ({"X-Request-ID": "a1"}, "a1"),
        ({"x-amzn-requestid": "b2"}, "b2"),
        ({"X-MS-Correlation-Request-Id": "c3"}, "c3"),
        ({"x-amz-request-id": "d4"}, "d4"),
        ({"x-ms-request-id": "e5"}, "e5"),
        ({"X-GUploader-UploadID": "f6"}, "f6"),
        ({"CF-RAY": "7a-FRA"}, "7a-FRA"),
        ({"CF-RAY": "7a-FRA", "X-GitHub-Request-Id": "AB:12"}, "AB:12"),
        ({"X-Request-Id": " ", "Cf-Ray": "7a"}, "7a"),
        ({"X-Request-Id": ""}, None),
        ({"X-Request-Id": "a\x1b[2Jb\u202e"}, "a [2Jb"),
        ({"X-Request-Id": "x" * 5000}, "x" * 200),
        ({}, None),
    ],
)
def test_what_the_server_calls_a_request(headers: dict[str, str], request_id: str | None) -> None:
    """In every spelling, the registry's own name before its proxy's, printable, and not too long."""
    encoded = httpx.Headers([(name.encode(), value.encode()) for name, value in headers.items()])

    assert response_context(RequestContext(), 500, encoded).request_id == request_id


def test_what_the_http_library_says_is_one_line() -> None:
    """It quotes what a server sent, which could break a log's lines or move a terminal's cursor."""
    with pytest.raises(errors.BrokenAnswer) as caught, mapped_failures(RequestContext("GET", "u", "r")):
        raise httpx.RemoteProtocolError("not an HTTP answer:\n\n  b'\x1b[2J'\n     ^")

    assert str(caught.value) == "GET u: not an HTTP answer: b' [2J' ^"


FOREIGN = [
    (httpx.ConnectError("no"), errors.ConnectError),
    (httpx.ConnectTimeout("no"), errors.ConnectError),
    (httpx.ReadTimeout("no"), errors.TimeoutExceeded),
    (httpx.WriteTimeout("no"), errors.TimeoutExceeded),
    (httpx.PoolTimeout("no"), errors.TimeoutExceeded),
    (httpx.ReadError("no"), errors.BrokenAnswer),
    (httpx.WriteError("no"), errors.BrokenAnswer),
    (httpx.CloseError("no"), errors.BrokenAnswer),
    (httpx.RemoteProtocolError("no"), errors.BrokenAnswer),
    (httpx.LocalProtocolError("no"), errors.ProtocolError),
    (httpx.UnsupportedProtocol("no"), errors.ProtocolError),
    (httpx.ProxyError("no"), errors.ConnectError),
    (PrivateAddress("no"), errors.ForbiddenOrigin),
    (httpx.DecodingError("no"), errors.TransportError),
    (httpx.TooManyRedirects("no"), errors.TransportError),
    (httpx.InvalidURL("no"), errors.ProtocolError),
]


@pytest.mark.parametrize(
    ("foreign", "expected"), FOREIGN, ids=lambda value: getattr(value, "__name__", repr(value))
)
def test_what_httpx_raises_is_mapped(foreign: Exception, expected: type[errors.RequestError]) -> None:
    """Nothing of httpx's reaches a caller, and the original is the cause."""
    with pytest.raises(errors.RequestError) as caught, mapped_failures(RequestContext("GET", "u", "r")):
        raise foreign

    assert type(caught.value) is expected
    assert caught.value.__cause__ is foreign
    assert caught.value.registry == "r"


def test_every_class_of_httpx_is_in_the_table() -> None:
    """A class that httpx adds fails here first."""

    def below(cls: type[httpx.HTTPError]) -> set[type[httpx.HTTPError]]:
        return {cls}.union(*(below(child) for child in cls.__subclasses__()))

    abstract: set[type[httpx.HTTPError]] = {httpx.HTTPError, httpx.RequestError, httpx.TransportError}
    abstract |= {httpx.TimeoutException, httpx.NetworkError, httpx.ProtocolError, httpx.HTTPStatusError}

    assert below(httpx.HTTPError) - abstract <= {type(foreign) for foreign, _ in FOREIGN}


def test_tls_is_told_apart_by_its_cause() -> None:
    """A connect error that stems from TLS is one of TLS, with a hint where there is one."""
    cause = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
    cause.reason = "WRONG_VERSION_NUMBER"
    foreign = httpx.ConnectError("no")
    foreign.__cause__ = cause

    with pytest.raises(errors.TLSError, match="http://"), mapped_failures(RequestContext()):
        raise foreign


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "0;w=21600"}, 21600.0),
        ({"RateLimit-Remaining": "0", "RateLimit-Reset": "7", "RateLimit-Policy": "9;w=60"}, 7.0),
        ({"Retry-After": "3", "RateLimit-Remaining": "0;w=21600"}, 3.0),
        ({"RateLimit-Remaining": "5;w=21600"}, None),
    ],
)
def test_a_rate_limit_that_is_used_up_says_when_there_is_more(
    headers: dict[str, str], expected: float | None
) -> None:
    """Where it has no `Retry-After`; of a window it may be all."""
    context = RequestContext("GET", "https://r/v2/", "r")

    assert response_context(context, 429, httpx.Headers(headers)).retry_after == expected
    assert (
        response_context(context, 404, httpx.Headers({"RateLimit-Remaining": "0;w=60"})).retry_after is None
    )
