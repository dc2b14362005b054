"""The record of requests, and what tests ask it."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING

import aiohttp
import pytest

from oci_distribution.testing import BasicAuth, Fault, RecordedRequest, RequestLog, TokenAuth, serve_registry

if TYPE_CHECKING:
    from tests.testing.conftest import Remote


@pytest.fixture
def log(remote: Remote) -> RequestLog:
    return remote.registry.requests


def make(method: str, path: str, status: int | None = None, connection: str = "") -> RecordedRequest:
    return RecordedRequest(method, path, "", {}, status=status, connection=connection)


async def test_lines(remote: Remote, log: RequestLog) -> None:
    """What happened can be compared with a list of readable lines."""
    await remote.push_manifest("a", "v1", b'{"mediaType": "application/vnd.example.v1+json"}', "")
    await remote.ask("HEAD", "/v2/a/manifests/v1")
    await remote.ask("HEAD", "/v2/a/manifests/v2?x=1")
    assert log.lines() == [
        "PUT /v2/a/manifests/v1 -> 201",
        "HEAD /v2/a/manifests/v1 -> 200",
        "HEAD /v2/a/manifests/v2 -> 404",
    ]


async def test_sizes_of_bodies(remote: Remote, log: RequestLog) -> None:
    """Bytes that arrived and bytes that were sent; a HEAD is answered with none."""
    digest = remote.digest_of(b"12345")
    await remote.ask("POST", f"/v2/a/blobs/uploads/?digest={digest}", data=io.BytesIO(b"12345"))
    await remote.ask("GET", f"/v2/a/blobs/{digest}", headers={"Range": "bytes=1-3"})
    await remote.ask("HEAD", f"/v2/a/blobs/{digest}")
    await remote.ask("HEAD", f"/v2/a/blobs/{remote.digest_of(b'')}")
    assert [(request.body_size, request.answer_size) for request in log] == [(5, 0), (0, 3), (0, 0), (0, 0)]


async def test_sizes_are_those_of_the_wire(remote: Remote, log: RequestLog) -> None:
    """Where a fault cuts an answer off, what it withholds was not sent."""
    digest = remote.digest_of(b"12345")
    await remote.ask("POST", f"/v2/a/blobs/uploads/?digest={digest}", data=io.BytesIO(b"12345"))
    remote.registry.faults.add(Fault(method="GET", truncate_after=2))
    await remote.ask("GET", f"/v2/a/blobs/{digest}")
    assert log[-1].answer_size == 2


async def test_code_of_a_refusal(remote: Remote, log: RequestLog) -> None:
    """The record says with which of the specification's codes the registry refused."""
    await remote.ask("GET", "/v2/a/manifests/v1")
    await remote.ask("GET", "/v2/")
    assert [request.error for request in log] == ["NAME_UNKNOWN", None]


async def test_connections_are_told_apart(remote: Remote, log: RequestLog) -> None:
    """Requests over one connection have its identity, another connection has another."""
    for _ in range(3):
        await remote.ask("GET", "/v2/")
    async with aiohttp.ClientSession(remote.registry.url) as other, other.get("/v2/"):
        pass
    first, second = log.connections
    assert [request.connection for request in log] == [first, first, first, second]


def test_matching_narrows_down() -> None:
    """Method, path and status each leave out what differs, and what is left is a log again."""
    log = RequestLog()
    for request in (
        make("GET", "/v2/a/blobs/1", 200),
        make("GET", "/v2/a/blobs/2", 404),
        make("PUT", "/v2/a/manifests/v1", 404),
    ):
        log.append(request)
    assert log.matching("GET").lines() == ["GET /v2/a/blobs/1 -> 200", "GET /v2/a/blobs/2 -> 404"]
    assert log.matching(path="*/manifests/*").matching(status=404).lines() == [
        "PUT /v2/a/manifests/v1 -> 404"
    ]
    assert log.matching("GET", "/v2/*", status=404).lines() == ["GET /v2/a/blobs/2 -> 404"]
    assert (log.count(), log.count("GET"), log.count(status=404), log.count("HEAD")) == (3, 2, 2, 0)


async def test_capture_has_the_requests_of_a_block(remote: Remote, log: RequestLog) -> None:
    """Neither what came before nor what comes after, whatever happens to the log meanwhile."""
    await remote.ask("GET", "/v2/")
    with log.capture() as seen:
        await remote.ask("GET", "/v2/a/tags/list")
        log.clear()
        with log.capture() as inner:
            await remote.ask("GET", "/v2/b/tags/list")
    await remote.ask("GET", "/v2/c/tags/list")
    assert seen.lines() == ["GET /v2/a/tags/list -> 404", "GET /v2/b/tags/list -> 404"]
    assert inner.lines() == ["GET /v2/b/tags/list -> 404"]
    assert log.lines() == ["GET /v2/b/tags/list -> 404", "GET /v2/c/tags/list -> 404"]


def test_capture_of_a_part() -> None:
    """A capture can be of some paths only."""
    log = RequestLog()
    with log.capture("/v2/a/*") as seen:
        for path in ("/v2/", "/v2/a/tags/list", "/v2/ab/tags/list"):
            log.append(make("GET", path))
    assert seen.lines() == ["GET /v2/a/tags/list -> None"]
    assert log.count() == 3


def test_capture_ends_with_an_error() -> None:
    """A block that fails captures no further requests either."""
    log = RequestLog()
    with pytest.raises(KeyError), log.capture() as seen:
        raise KeyError
    log.append(make("GET", "/v2/"))
    assert seen.count() == 0


async def test_basic_secrets_are_not_kept() -> None:
    """Of an Authorization only the scheme stays, of other secret headers and parameters nothing."""
    async with (
        serve_registry(auth=BasicAuth({"ann": "hunter2"})) as registry,
        aiohttp.ClientSession(registry.url) as http,
    ):
        basic = aiohttp.encode_basic_auth("ann", "hunter2")
        headers = {"Authorization": basic, "X-Registry-Token": "hunter2", "Cookie": "a=hunter2; b=hunter2"}
        query = "access_token=hunter2&Password=hunter2&sig=hunter2&design=a&flag&token="
        async with http.get(f"/v2/?{query}", headers=headers) as answer:
            assert answer.status == 200
        (request,) = registry.requests
    assert request.headers["authorization"] == "Basic ***"
    assert request.headers["x-registry-token"] == request.headers["cookie"] == "***"
    assert request.query == "access_token=***&Password=***&sig=***&design=a&flag&token="
    everything = f"{request!r} {request.headers} {request.query}"
    assert "hunter2" not in everything
    assert basic.partition(" ")[2] not in everything


async def test_token_requests_keep_their_scope() -> None:
    """What a token was asked for stays readable."""
    async with (
        serve_registry(auth=TokenAuth({"ann": "hunter2"})) as registry,
        aiohttp.ClientSession(registry.url) as http,
    ):
        async with http.get("/token?service=x&scope=repository:a:pull") as answer:
            assert answer.status == 401
        assert registry.requests[0].query == "service=x&scope=repository:a:pull"


async def test_repeated_headers_are_joined(remote: Remote, log: RequestLog) -> None:
    """Two Accept headers are one list (RFC 9110 section 5.3)."""
    await remote.ask("GET", "/v2/", headers=[("Accept", "a/b"), ("Accept", "c/d")])
    assert log[0].headers["accept"] == "a/b, c/d"


def test_failing_asserts_are_readable() -> None:
    """A request's repr says all that matters in a line, a log's has a line for each."""
    request = RecordedRequest("PUT", "/v2/a/blobs/uploads/1", "digest=x", {"accept": "*/*"}, 5, 400)
    request.error, request.connection = "DIGEST_INVALID", "127.0.0.1:9"
    assert repr(request) == (
        "<PUT /v2/a/blobs/uploads/1?digest=x -> 400 DIGEST_INVALID, 5 bytes in, 0 out, from 127.0.0.1:9>"
    )
    log = RequestLog()
    assert repr(log) == "<no requests>"
    log.append(request)
    log.append(make("GET", "/v2/"))
    assert repr(log) == f"{request!r}\n<GET /v2/ -> None, 0 bytes in, 0 out, from >"


def test_reading_while_another_thread_adds() -> None:
    """The log can be read in a test's thread while the server's adds to it."""
    log, stop = RequestLog(limit=1000), threading.Event()

    def add() -> None:
        while not stop.is_set():
            log.append(make("GET", "/v2/", 200))

    writer = threading.Thread(target=add)
    writer.start()
    try:
        for _ in range(300):
            lines = log.lines()
            assert lines == ["GET /v2/ -> 200"] * len(lines)
            with log.capture() as seen:
                assert seen.count("PUT") == 0
    finally:
        stop.set()
        writer.join()
