"""Faults: each does what it says, to the requests that it is for, and to no others."""

from __future__ import annotations

import asyncio
import io
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import httpx
import pytest
from pydantic import ValidationError

from oci_distribution.testing import Fault, Faults, RegistryApp, RunningRegistry, TokenAuth, serve_registry
from tests.testing.conftest import Remote

DATA = bytes(range(256)) * 40
UPLOADS = "/v2/*/blobs/uploads/*"


@pytest.fixture
async def registry() -> AsyncIterator[RunningRegistry]:
    async with serve_registry() as registry:
        yield registry


async def _ping(remote: Remote) -> int:
    return (await remote.ask("GET", "/v2/")).status


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"method": "PUT", "path": "/v2/", "delay": 0, "headers": {}, "reset": False},
        {"reset": True, "status": 500},
        {"reset_after": 5, "redirect": "http://localhost/"},
        {"status": 500, "truncate_after": 5},
        {"body": b"x"},
        {"retry_after_date": True, "status": 429},
        {"status": 100},
        {"status": 1000},
        {"nth": 0, "reset": True},
        {"times": 0, "reset": True},
        {"probability": 1.5, "reset": True},
        {"probability": 0, "reset": True},
        {"reset_after": -1},
        {"bytes_per_second": 0},
        {"per_second": 0, "reset": True},
        {"per_second": 20},
        {"delay": float("inf")},
        {"method": "put", "reset": True},
        {"path": "v2/*", "reset": True},
        {"explode": True},
    ],
)
def test_fault_that_cannot_be(options: dict[str, Any]) -> None:
    """What does nothing, contradicts itself, or is not known is refused when it is made."""
    with pytest.raises(ValidationError):
        Fault(**options)


async def test_fault_strikes_what_it_matches(remote: Remote, registry: RunningRegistry) -> None:
    """Another method or path is left in peace."""
    fault = registry.faults.add(Fault(method="GET", path="/v2/a/*", status=503))
    assert (await remote.ask("GET", "/v2/a/tags/list")).status == 503
    assert (await remote.ask("HEAD", "/v2/a/manifests/v1")).status == 404
    assert (await remote.ask("GET", "/v2/b/tags/list")).status == 404
    assert registry.faults.strikes(fault) == 1


async def test_nth_and_times(remote: Remote, registry: RunningRegistry) -> None:
    """`nth` is one request, `times` the first ones, and the first fault that was added has its way."""
    registry.faults.add(Fault(nth=2, status=502))
    registry.faults.add(Fault(times=2, status=503))
    assert [await _ping(remote) for _ in range(4)] == [503, 502, 503, 200]


async def test_probability(remote: Remote, registry: RunningRegistry) -> None:
    """The same seed strikes the same requests."""

    async def struck(seed: int) -> list[bool]:
        registry.faults.clear()
        registry.faults.add(Fault(probability=0.5, seed=seed, status=500))
        return [await _ping(remote) == 500 for _ in range(20)]

    first = await struck(7)
    assert first == await struck(7)
    assert set(first) == {True, False}
    assert first != await struck(8)


async def test_removed_fault(remote: Remote, registry: RunningRegistry) -> None:
    """A fault that was taken away does nothing, and the others stay."""
    fault = registry.faults.add(Fault(status=500))
    other = registry.faults.add(Fault(method="PUT", status=501))
    registry.faults.remove(fault)
    assert await _ping(remote) == 200
    assert list(registry.faults) == [other]


async def test_status_headers_and_body(remote: Remote, registry: RunningRegistry) -> None:
    """An answer can be made up; the request is not carried out."""
    registry.faults.add(
        Fault(method="POST", status=502, body=b"<html>", headers={"Content-Type": "text/html"})
    )
    answer = await remote.ask("POST", "/v2/a/blobs/uploads/")
    assert (answer.status, answer.body, answer.headers["Content-Type"]) == (502, b"<html>", "text/html")
    assert not registry.app.uploads
    assert registry.requests[-1].status == 502


async def test_status_alone_has_a_body_as_specified(remote: Remote, registry: RunningRegistry) -> None:
    """An error that is only a number looks like one of the registry's."""
    registry.faults.add(Fault(status=429))
    assert (await remote.ask("GET", "/v2/")).error == (429, "TOOMANYREQUESTS")


async def test_retry_after(remote: Remote, registry: RunningRegistry) -> None:
    """Both forms: seconds, and a date."""
    registry.faults.add(Fault(nth=1, status=429, retry_after=1.5))
    registry.faults.add(Fault(nth=2, status=429, retry_after=60, retry_after_date=True))
    assert (await remote.ask("GET", "/v2/")).headers["Retry-After"] == "1.5"
    when = parsedate_to_datetime((await remote.ask("GET", "/v2/")).headers["Retry-After"])
    assert timedelta(seconds=50) < when - datetime.now(UTC) <= timedelta(seconds=60)


async def test_redirect(remote: Remote, registry: RunningRegistry) -> None:
    """The client is sent elsewhere, with the status that is asked for."""
    registry.faults.add(Fault(nth=1, redirect="http://localhost/x"))
    registry.faults.add(Fault(nth=2, redirect="/v2/", status=301))
    for status, location in ((307, "http://localhost/x"), (301, "/v2/")):
        answer = await remote.ask("GET", "/v2/a/tags/list", allow_redirects=False)
        assert (answer.status, answer.headers["Location"]) == (status, location)


async def test_headers_of_the_real_answer(remote: Remote, registry: RunningRegistry) -> None:
    """A header is missing or wrong, and the work was done."""
    registry.faults.add(Fault(method="POST", headers={"Location": None, "Docker-Upload-UUID": "wrong"}))
    answer = await remote.ask("POST", "/v2/a/blobs/uploads/")
    assert (answer.status, answer.headers["Docker-Upload-UUID"]) == (202, "wrong")
    assert "Location" not in answer.headers
    assert len(registry.app.uploads) == 1


async def test_corrupted_and_truncated_bodies(remote: Remote, registry: RunningRegistry) -> None:
    """One byte is another, or the end is missing, and only the digest could tell."""
    digest = (await remote.push_blob("a", DATA))["digest"]
    registry.faults.add(Fault(nth=1, method="GET", corrupt_at=1000))
    registry.faults.add(Fault(nth=2, method="GET", truncate_after=1000))
    corrupted, truncated = [await remote.ask("GET", f"/v2/a/blobs/{digest}") for _ in range(2)]
    different = [index for index, byte in enumerate(corrupted.body) if byte != DATA[index]]
    assert (len(corrupted.body), different) == (len(DATA), [1000])
    assert (truncated.status, truncated.body) == (200, DATA[:1000])


async def test_expired_token() -> None:
    """A good token is answered as one that has expired, and the next request passes again."""
    async with (
        serve_registry(auth=TokenAuth({"ann": "secret"}, anonymous_pull=True)) as registry,
        aiohttp.ClientSession(registry.url) as session,
    ):
        remote = Remote(session, registry)
        token = (await remote.ask("GET", "/token")).json["token"]
        registry.faults.add(Fault(path="/v2/", expire_token=True, times=1))
        headers = {"Authorization": f"Bearer {token}"}
        refused = await remote.ask("GET", "/v2/", headers=headers)
        assert refused.status == 401
        assert 'error="invalid_token"' in refused.headers["WWW-Authenticate"]
        assert (await remote.ask("GET", "/v2/", headers=headers)).status == 200


class Raw:
    """A connection that shows how it ends: in order, or reset."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def to(cls, registry: RunningRegistry) -> Raw:
        host, _, port = registry.host.rpartition(":")
        return cls(*await asyncio.open_connection(host, int(port)))

    async def exchange(self, request: bytes) -> tuple[bytes, bool]:
        """Return all that comes until the connection ends, and whether it was reset."""
        self._writer.write(request)
        received = bytearray()
        try:
            while piece := await self._reader.read(65536):
                received += piece
        except ConnectionResetError:
            return bytes(received), True
        finally:
            self._writer.close()
        return bytes(received), False

    async def leave(self, request: bytes) -> None:
        """Hang up in the middle of a request."""
        self._writer.write(request)
        self._writer.close()
        await self._writer.wait_closed()


async def test_reset_before_the_answer(registry: RunningRegistry) -> None:
    """The connection is reset, and not a byte was answered."""
    registry.faults.add(Fault(reset=True))
    connection = await Raw.to(registry)
    assert await connection.exchange(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n") == (b"", True)
    assert registry.requests[-1].status is None


async def test_reset_in_the_body_of_a_request(registry: RunningRegistry) -> None:
    """The connection is reset once so much has come, while the client waits to send the rest."""
    registry.faults.add(Fault(method="POST", path="/v2/a/blobs/uploads/", reset_after=1000))
    connection = await Raw.to(registry)
    head = b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
    assert await connection.exchange(head + DATA[:1000]) == (b"", True)
    assert not registry.app.uploads


async def test_nothing_to_reset(caplog: pytest.LogCaptureFixture) -> None:
    """A client that has hung up before is no error of the server's."""
    async with serve_registry() as registry:
        registry.faults.add(Fault(method="POST", reset_after=1000))
        connection = await Raw.to(registry)
        head = b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
        await connection.leave(head + DATA[:10])
        while not registry.requests:  # noqa: ASYNC110 - turns of the loop, and no time
            await asyncio.sleep(0)
    assert not caplog.records


async def test_lost_answer(remote: Remote, registry: RunningRegistry) -> None:
    """The work is done, and nobody hears of it."""
    registry.faults.add(Fault(method="POST", answer_lost=True))
    connection = await Raw.to(registry)
    request = b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    assert await connection.exchange(request) == (b"", True)
    assert len(registry.app.uploads) == 1


@pytest.mark.parametrize("count", [0, 1000])
async def test_reset_in_the_body_of_an_answer(remote: Remote, registry: RunningRegistry, count: int) -> None:
    """So many bytes come, and the connection is reset."""
    digest = (await remote.push_blob("a", DATA))["digest"]
    registry.faults.add(Fault(method="GET", reset_answer_after=count))
    connection = await Raw.to(registry)
    request = f"GET /v2/a/blobs/{digest} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    received, was_reset = await connection.exchange(request)
    assert received.partition(b"\r\n\r\n")[2] == DATA[:count]
    assert was_reset


async def test_slow_body(remote: Remote, registry: RunningRegistry) -> None:
    """A slow body comes in pieces, and whole."""
    digest = (await remote.push_blob("a", DATA))["digest"]
    registry.faults.add(Fault(method="GET", bytes_per_second=200_000))
    async with remote.http.get(f"/v2/a/blobs/{digest}") as answer:
        first = await answer.content.readany()
        assert 0 < len(first) < len(DATA)
        assert first + await answer.read() == DATA


@pytest.mark.usefixtures("impatient")
async def test_delay(remote: Remote, registry: RunningRegistry) -> None:
    """A delayed request waits, and others do not."""
    registry.faults.add(Fault(path="/v2/", delay=3600))
    waiting = asyncio.create_task(_ping(remote))
    await remote.wait_until(lambda: len(registry.requests) == 1)
    assert (await remote.ask("GET", "/v2/a/tags/list")).status == 404
    assert not waiting.done()
    waiting.cancel()


async def test_one_fault_can_do_several_things(remote: Remote, registry: RunningRegistry) -> None:
    """A wrong header comes with a wrong body."""
    digest = (await remote.push_blob("a", DATA))["digest"]
    registry.faults.add(Fault(method="GET", corrupt_at=0, truncate_after=10, headers={"ETag": None}))
    answer = await remote.ask("GET", f"/v2/a/blobs/{digest}")
    assert answer.body == b"\xff" + DATA[1:10]
    assert "ETag" not in answer.headers


async def test_cut_where_the_server_is_not_ours() -> None:
    """Without a connection of ours there is nothing to cut, and it says so."""
    app = RegistryApp()
    app.faults.add(Fault(reset=True))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://registry") as client:
        with pytest.raises(ConnectionAbortedError, match="serve_registry"):
            await client.get("/v2/")


async def test_faults_over_http() -> None:
    """The admin endpoint adds, lists and clears."""
    async with serve_registry(admin=True) as registry, aiohttp.ClientSession(registry.url) as session:
        remote = Remote(session, registry)
        added = await remote.ask(
            "POST", "/_admin/faults", json={"path": "/v2/", "status": 418, "body": "tea"}
        )
        assert (added.status, added.json["strikes"]) == (201, 0)
        assert (await remote.ask("GET", "/v2/")).body == b"tea"
        (listed,) = (await remote.ask("GET", "/_admin/faults")).json
        assert listed == {"path": "/v2/", "status": 418, "body": "tea", "strikes": 1}
        assert (await remote.ask("DELETE", "/_admin/faults")).status == 204
        assert await _ping(remote) == 200


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"explode": true}', b'{"status": "often"}', b"\xff", b"x" * (2 << 20)]
)
async def test_malformed_fault_over_http(body: bytes) -> None:
    """It is refused with what is wrong, and nothing is added."""
    async with serve_registry(admin=True) as registry, aiohttp.ClientSession(registry.url) as session:
        remote = Remote(session, registry)
        answer = await remote.ask("POST", "/_admin/faults", data=io.BytesIO(body))
        assert answer.status in {400, 413}
        assert answer.error[1] in {"UNSUPPORTED", "SIZE_INVALID"}
        assert not registry.faults


async def test_no_faults_over_http_unless_asked_for(remote: Remote) -> None:
    """The admin endpoint is off by default."""
    assert (await remote.ask("POST", "/_admin/faults", json={"status": 500})).status == 404


def test_resets_can_be_told_from_closes() -> None:
    """The connection of these tests sees a close in order for what it is."""

    async def main() -> None:
        async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        server = await asyncio.start_server(close, "127.0.0.1", 0, family=socket.AF_INET)
        async with server:
            connection = Raw(*await asyncio.open_connection(*server.sockets[0].getsockname()))
            assert await connection.exchange(b"") == (b"", False)

    asyncio.run(main())


async def test_more_than_so_many_a_second_are_refused(registry: RunningRegistry, remote: Remote) -> None:
    """One in a hundred seconds goes through, and those that follow at once do not."""
    fault = registry.faults.add(Fault(path="/v2/", per_second=0.01, status=429))

    assert [await _ping(remote) for _ in range(3)] == [200, 429, 429]
    assert registry.faults.strikes(fault) == 2


async def test_the_requests_of_a_second_are_let_through_at_once() -> None:
    """Twenty a second: twenty at once, and not one more."""
    faults = Faults()
    faults.add(Fault(per_second=20, status=429))

    assert [faults.choose("GET", "/v2/") is None for _ in range(25)] == [True] * 20 + [False] * 5
