"""What every request has to go through: redirects, refusals, limits, retries, events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest

import oci_distribution as oci
from oci_distribution.spec import endpoints
from oci_distribution.spec.endpoints import Kind
from oci_distribution.spec.urls import Origin
from oci_distribution.transport import answers, sender as sender_module
from oci_distribution.transport.calls import Host
from oci_distribution.transport.http_client import RegistryHTTPClient
from oci_distribution.transport.pacing import Slots, Timing
from oci_distribution.transport.sender import Sender
from tests.hostile import Exchange, HostileServer, hostile

GET = endpoints.get_manifest("a/b", "v1")
BLOB = endpoints.get_blob("a/b", "sha256:" + "0" * 64)
LIMIT = 1000
BIG = bytes(32 << 20)
"""More than the buffers between two sockets of this machine hold."""


class Naps:
    """A clock that moves only by sleeping, and remembers how long."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def naps() -> Naps:
    return Naps()


@pytest.fixture
async def sender(naps: Naps) -> AsyncGenerator[Sender]:
    async with RegistryHTTPClient() as http:
        timing = Timing(now=lambda: naps.now, sleep=naps.sleep, random=lambda: 1.0)
        yield Sender(http, retry=oci.RetryPolicy(base_delay=1.0), timing=timing)


def host(server: HostileServer) -> Host:
    return Host("registry.test", Origin.of(server.url))


def upload(server: HostileServer) -> endpoints.Endpoint:
    return endpoints.put_upload("a/b", f"{server.url}/upload?_state=x%20y", "sha256:" + "0" * 64)


async def test_a_location_is_used_byte_for_byte(sender: Sender) -> None:
    """What a registry signed arrives as it was spelled, with the digest appended."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.answer(201)

    async with hostile(script) as server:
        location = f"{server.url}/u;v=1/[x]?_state=a%2Bb%20c+d&empty=&flag&q='\"%C3%A9"
        endpoint = endpoints.put_upload("a/b", location, "sha256:" + "0" * 64)
        await sender.request(host(server), endpoint, limit=LIMIT, body=b"")

    expected = location.removeprefix(server.url) + "&digest=sha256:" + "0" * 64
    assert server.requests[0].target == expected


async def test_a_body_has_its_length_and_no_chunks(sender: Sender) -> None:
    """ECR, GAR and Nexus refuse bodies without a Content-Length."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.answer(201)

    async with hostile(script) as server:
        await sender.request(host(server), upload(server), limit=LIMIT, body=oci.BytesSource(b"x" * 70_000))

    (request,) = server.requests
    assert request.header("Content-Length") == "70000"
    assert request.header("Transfer-Encoding") is None
    assert request.body == b"x" * 70_000


async def test_a_redirected_get_keeps_its_range_and_loses_its_secrets(sender: Sender) -> None:
    """Storage behind a registry gets what it needs, and nothing of what the registry was told."""

    async def storage(exchange: Exchange) -> None:
        await exchange.answer(206, b"xy")

    async with hostile(storage) as other:

        async def registry(exchange: Exchange) -> None:
            await exchange.answer(307, headers=[("Location", f"{other.url}/signed?sig=a%2Fb")])

        async with hostile(registry) as server:
            secret = replace(sender, headers=[("X-Api-Key", "secret")])
            async with await secret.open(host(server), BLOB, headers=[("Range", "bytes=1-2")]) as answer:
                assert (await answer.read(LIMIT)).content == b"xy"

    assert server.requests[0].header("X-Api-Key") == "secret"
    assert other.requests[0].target == "/signed?sig=a%2Fb"
    assert other.requests[0].header("Range") == "bytes=1-2"
    assert other.requests[0].header("X-Api-Key") is None
    assert other.requests[0].header("Host") == f"127.0.0.1:{other.port}"


@pytest.mark.parametrize(
    ("target", "is_told"), [("/v2/a/b/manifests/v2", True), ("/v2/c/d/manifests/v1", False)]
)
async def test_within_the_registry_only_the_same_repository_is_told(
    sender: Sender, target: str, is_told: bool
) -> None:
    """What we say of ourselves may be meant for one repository (oras-go#1430)."""

    async def registry(exchange: Exchange) -> None:
        if len(server.requests) == 1:
            await exchange.answer(307, headers=[("Location", target)])
        else:
            await exchange.answer(200)

    async with hostile(registry) as server:
        await replace(sender, headers=[("X-Api-Key", "secret")]).request(host(server), GET, limit=LIMIT)

    assert (server.requests[1].header("X-Api-Key") is not None) is is_told


@pytest.mark.parametrize("status", [307, 308])
async def test_a_redirected_body_is_opened_anew(sender: Sender, status: int) -> None:
    """A PUT that is sent elsewhere arrives whole there."""

    async def storage(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.answer(201)

    async with hostile(storage) as other:

        async def registry(exchange: Exchange) -> None:
            await exchange.read_body()
            await exchange.answer(status, headers=[("Location", f"{other.url}/there")])

        async with hostile(registry) as server:
            await sender.request(host(server), upload(server), limit=LIMIT, body=oci.BytesSource(b"whole"))

    assert other.requests[0].body == b"whole"
    assert other.requests[0].method == "PUT"


@pytest.mark.parametrize("status", [301, 302, 303])
async def test_a_redirect_that_would_change_the_method_is_refused(sender: Sender, status: int) -> None:
    """A PUT never becomes a GET."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.answer(status, headers=[("Location", "/elsewhere")])

    async with hostile(script) as server:
        with pytest.raises(oci.ProtocolError, match="lose its method"):
            await sender.request(host(server), upload(server), limit=LIMIT, body=b"x")

    assert len(server.requests) == 1


async def test_redirects_end(sender: Sender) -> None:
    """A registry that sends us in circles is told so."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(307, headers=[("Location", exchange.target)])

    async with hostile(script) as server:
        with pytest.raises(oci.ProtocolError, match="redirected more than"):
            await sender.request(host(server), GET, limit=LIMIT)


@pytest.mark.parametrize(
    "location", [None, "", "ftp://x/", "http://a b/", "http://u:p@127.0.0.1/", "http:///x"]
)
async def test_bad_locations_are_refused(sender: Sender, location: str | None) -> None:
    """A redirect leads to a URL or nowhere."""
    headers = [("Location", location)] if location is not None else []

    async def script(exchange: Exchange) -> None:
        await exchange.answer(307, headers=headers)

    async with hostile(script) as server:
        with pytest.raises((oci.ProtocolError, oci.ForbiddenOrigin)):
            await sender.request(host(server), GET, limit=LIMIT)


@pytest.mark.parametrize(
    "target", ["http://169.254.169.254/latest", "http://localhost/", "http://[::1]/", "https://10.0.0.1/"]
)
async def test_a_public_registry_may_not_send_us_home(sender: Sender, target: str) -> None:
    """The rule is about the registry's own name: here it only plays a public one."""
    public = Host("registry.test", Origin.of("https://registry.example"))
    with pytest.raises(oci.ForbiddenOrigin):
        sender.check_target(public, target, oci.RequestContext())


async def test_trusted_origins_are_the_users_exception(sender: Sender) -> None:
    """What the user trusts is gone to."""
    public = Host("registry.test", Origin.of("https://registry.example"))

    sender.trusted_origins = frozenset({Origin.of("http://10.0.0.1")})

    sender.check_target(public, "http://10.0.0.1/x", oci.RequestContext())


async def test_a_passing_failure_is_tried_again_and_noted(sender: Sender, naps: Naps) -> None:
    """Two failures and a success: the answer, two pauses, and events for both."""
    seen: list[oci.Event] = []

    async def script(exchange: Exchange) -> None:
        await exchange.answer(503 if len(server.requests) < 3 else 200, b"ok")

    async with hostile(script) as server:
        with oci.observe(seen.append):
            answer = await sender.request(host(server), GET, limit=LIMIT)

    assert answer.content == b"ok"
    assert naps.slept == [1.0, 2.0]
    retries = [event for event in seen if isinstance(event, oci.RetryScheduled)]
    assert [(event.attempt, event.reason, event.delay) for event in retries] == [
        (1, "status 503", 1.0),
        (2, "status 503", 2.0),
    ]


async def test_patience_ends_with_the_history_in_the_error(sender: Sender) -> None:
    """The error knows how often it was tried, and why each try failed."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(502, b"<html>bad gateway</html>", [("X-Request-Id", "abc")])

    async with hostile(script) as server:
        with pytest.raises(oci.ResponseError) as caught:
            await sender.request(host(server), GET, limit=LIMIT)

    error = caught.value
    assert len(server.requests) == 5
    assert [attempt.reason for attempt in error.attempts] == ["status 502"] * 4
    assert (error.method, error.status, error.registry, error.request_id) == (
        "GET",
        502,
        "registry.test",
        "abc",
    )
    assert "after 5 attempts" in str(error)


async def test_a_pause_that_only_the_message_asks_for_is_kept(sender: Sender, naps: Naps) -> None:
    """GHCR has no header for it: `retry-after: 880.092µs, allowed: 44000/minute`."""

    async def script(exchange: Exchange) -> None:
        first = len(server.requests) == 1
        message = "retry-after: 20.5s, allowed: 44000/minute"
        body = json.dumps({"errors": [{"code": "TOOMANYREQUESTS", "message": message}]}).encode()
        await exchange.answer(429 if first else 200, body if first else b"")

    events: list[oci.Event] = []
    async with hostile(script) as server:
        with oci.observe(events.append):
            await sender.request(host(server), GET, limit=LIMIT)

    assert naps.slept == [20.5]
    assert [event.delay for event in events if isinstance(event, oci.RetryScheduled)] == [20.5]


async def test_storage_that_refuses_is_left_alone_and_not_the_registry(sender: Sender, naps: Naps) -> None:
    """A `Retry-After` of the host behind a redirect is for that host."""

    async def storage(exchange: Exchange) -> None:
        await exchange.answer(503, headers=[("Retry-After", "30")])

    async with hostile(storage) as other:

        async def registry(exchange: Exchange) -> None:
            is_blob = "/blobs/" in exchange.target
            headers = [("Location", f"{other.url}/signed")] if is_blob else []
            await exchange.answer(307 if is_blob else 200, headers=headers)

        async with hostile(registry) as server:
            impatient = replace(sender, retry=oci.RetryPolicy(attempts=1))
            with pytest.raises(oci.ResponseError):
                await impatient.open(host(server), BLOB)
            await impatient.request(host(server), GET, limit=LIMIT)
            assert naps.slept == []
            with pytest.raises(oci.ResponseError):
                await impatient.open(host(server), BLOB)

    assert naps.slept == [30.0]


async def test_retry_after_is_waited_by_everybody(sender: Sender, naps: Naps) -> None:
    """What one task is told holds for the host."""

    async def script(exchange: Exchange) -> None:
        first = len(server.requests) == 1
        await exchange.answer(429 if first else 200, headers=[("Retry-After", "30")] if first else [])

    async with hostile(script) as server:
        await sender.request(host(server), GET, limit=LIMIT)

    assert sum(naps.slept) == 30.0


async def test_a_broken_answer_is_asked_for_again(sender: Sender) -> None:
    """A body that stops in the middle is not an answer."""

    async def script(exchange: Exchange) -> None:
        if len(server.requests) == 1:
            await exchange.answer(200, b"half", length=8)
            exchange.close()
        else:
            await exchange.answer(200, b"complete")

    async with hostile(script) as server:
        answer = await sender.request(host(server), GET, limit=LIMIT)

    assert answer.content == b"complete"


async def test_an_upload_of_unknown_outcome_is_not_repeated(sender: Sender) -> None:
    """Whether the PUT was carried out must be asked, not guessed."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        exchange.reset()

    async with hostile(script) as server:
        with pytest.raises(oci.BrokenAnswer) as caught:
            await sender.request(host(server), upload(server), limit=LIMIT, body=oci.BytesSource(b"x"))

    assert len(server.requests) == 1
    assert "_state=***" in caught.value.url


async def test_an_early_refusal_stops_the_body(sender: Sender) -> None:
    """A 413 in the middle of an upload is the answer; the rest is not read from the source."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_some()
        await exchange.answer(413, b"too much")
        await exchange.hung_up()

    source = Endless()
    async with hostile(script) as server:
        with pytest.raises(oci.ResponseError) as caught:
            await sender.request(host(server), upload(server), limit=LIMIT, body=source)

    assert caught.value.status == 413
    assert source.closed


@pytest.mark.parametrize("body", [BIG, oci.BytesSource(BIG)], ids=["bytes", "source"])
async def test_an_answer_before_the_body_is_none(sender: Sender, body: bytes | oci.BytesSource) -> None:
    """A registry that has not taken in all cannot have stored it, though all of it is one piece."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(201)
        await exchange.hung_up()

    async with hostile(script) as server:
        with pytest.raises(oci.BrokenAnswer, match="before the whole body"):
            await sender.request(host(server), upload(server), limit=LIMIT, body=body)


class Endless:
    """A source that says it has a terabyte, and gives it slowly enough to be stopped."""

    size = 1 << 40
    closed = False

    @asynccontextmanager
    async def open(self, offset: int = 0) -> AsyncGenerator[AsyncIterator[bytes]]:
        async def pieces() -> AsyncGenerator[bytes]:
            while True:
                yield bytes(1 << 16)

        try:
            yield pieces()
        finally:
            self.closed = True


@pytest.mark.parametrize("announced", [2, 4])
async def test_a_source_of_another_length_is_found_out(sender: Sender, announced: int) -> None:
    """Neither a short source hangs nor a long one is cut."""

    class Lying(oci.BytesSource):
        @property
        def size(self) -> int:
            return announced

    async def script(exchange: Exchange) -> None:
        await exchange.hung_up()

    async with hostile(script) as server:
        with anyio.fail_after(10), pytest.raises(oci.SizeMismatch):
            await sender.request(host(server), upload(server), limit=LIMIT, body=Lying(b"abc"))


async def test_success_before_the_whole_body_is_none(sender: Sender) -> None:
    """What the host did not read it cannot have stored, and we did not verify it."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_some()
        await exchange.answer(201)
        await exchange.hung_up()

    async with hostile(script) as server:
        with pytest.raises(oci.BrokenAnswer, match="whole body"):
            await sender.request(host(server), upload(server), limit=LIMIT, body=Endless())


@pytest.mark.parametrize("target", ["http://999.1.1.1/x", "http://127.0.0.1/" + "x" * 70_000])
async def test_what_httpx_takes_for_no_url_is_in_the_tree(sender: Sender, target: str) -> None:
    """httpx has rules of its own, and its `InvalidURL` is no error of ours."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(307, headers=[("Location", target)])

    async with hostile(script) as server:
        with pytest.raises(oci.OCIError):
            await sender.request(host(server), GET, limit=LIMIT)


async def test_an_error_of_the_source_comes_out_as_itself(sender: Sender) -> None:
    """What goes wrong while reading is not mistaken for a broken connection, and not retried."""

    class Failing(Endless):
        @asynccontextmanager
        async def open(self, offset: int = 0) -> AsyncGenerator[AsyncIterator[bytes]]:
            async def pieces() -> AsyncGenerator[bytes]:
                yield b"x"
                raise oci.DigestMismatch("wrong")

            yield pieces()

    async def script(exchange: Exchange) -> None:
        await exchange.hung_up()

    async with hostile(script) as server:
        with pytest.raises(oci.DigestMismatch):
            await sender.request(host(server), upload(server), limit=LIMIT, body=Failing())

    assert len(server.requests) <= 1


async def test_an_answer_too_long_is_cut(sender: Sender) -> None:
    """A server cannot make us hold more than we said."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, length=1 << 40)
        await exchange.send_for_ever(bytes(1 << 16))

    async with hostile(script) as server:
        with anyio.fail_after(10), pytest.raises(oci.LimitExceeded):
            await sender.request(host(server), GET, limit=LIMIT)


async def test_an_endless_error_body_is_cut(sender: Sender) -> None:
    """A refusal is understood by its beginning."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(404, length=1 << 40)
        await exchange.send_for_ever(b"no! " * 1000)

    async with hostile(script) as server:
        with anyio.fail_after(10), pytest.raises(oci.ManifestUnknown):
            await sender.request(host(server), GET, limit=LIMIT)


@pytest.mark.parametrize(("status", "headers"), [(404, []), (307, [("Location", "/v2/a/b/manifests/v2")])])
async def test_the_body_of_a_refusal_that_drips_is_not_waited_for(
    sender: Sender, monkeypatch: pytest.MonkeyPatch, status: int, headers: list[tuple[str, str]]
) -> None:
    """What came by then is what it says; nobody can hold us with one byte a second."""
    monkeypatch.setattr(answers, "HEAD_PATIENCE", 0.1)

    async def script(exchange: Exchange) -> None:
        if exchange.target.endswith("/v2"):
            await exchange.answer(404)
            return
        await exchange.answer(status, b"gone", headers, length=60_000)
        await exchange.hung_up()

    async with hostile(script) as server:
        with pytest.raises(oci.NotFound):
            await sender.request(host(server), GET, limit=LIMIT)


async def test_nobody_there_is_a_connect_error(sender: Sender) -> None:
    """A port where nobody listens is told at once, with the name of the registry."""
    async with hostile(lambda exchange: exchange.answer()) as server:
        gone = host(server)

    with pytest.raises(oci.ConnectError) as caught:
        await sender.request(gone, GET, limit=LIMIT)

    assert caught.value.registry == "registry.test"
    assert len(caught.value.attempts) == 4


async def test_http_where_https_was_meant_is_said(sender: Sender) -> None:
    """TLS against a plain port fails at once, with what to write instead."""

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        origin = Origin("https", "127.0.0.1", server.sockets[0].getsockname()[1])
        with pytest.raises(oci.TLSError, match="write http://"):
            await sender.request(Host("registry.test", origin), GET, limit=LIMIT)


@pytest.mark.parametrize(
    "garbage",
    [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"],
)
async def test_what_is_not_http_is_a_broken_answer(sender: Sender, garbage: bytes) -> None:
    """Another protocol on that port is a typed error."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(garbage)
        exchange.close()

    async with hostile(script) as server:
        with pytest.raises(oci.TransportError):
            await sender.request(host(server), GET, limit=LIMIT)


@pytest.mark.parametrize("line", [b"HTTP/1.1 103 Early Hints", b"HTTP/1.1 100 Continue"])
@pytest.mark.parametrize("body", [None, b"body"])
async def test_interim_answers_do_not_stop_the_clock(sender: Sender, line: bytes, body: bytes | None) -> None:
    """A server that says "wait" and then nothing is silent all the same."""
    sender.timeouts = oci.Timeouts(connect=0.05, read=0.05, commit=0.05)
    sender.retry = oci.RetryPolicy(attempts=1)

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.send(line + b"\r\n\r\n")
        await exchange.hung_up()

    async with hostile(script) as server:
        with anyio.fail_after(10), pytest.raises(oci.TimeoutExceeded):
            endpoint = upload(server) if body else GET
            await sender.request(host(server), endpoint, limit=LIMIT, body=body)


async def test_a_slot_is_free_again_after_whatever_happened(sender: Sender) -> None:
    """With one slot, each way out gives it back: refusal, break, early close, cancel, end."""
    sender.slots = Slots(requests=1, downloads=1, uploads=1)
    sender.retry = oci.RetryPolicy(attempts=1)
    reached = anyio.Event()

    async def script(exchange: Exchange) -> None:
        match len(server.requests):
            case 1:
                await exchange.answer(404)
            case 2:
                exchange.reset()
            case 3:
                await exchange.answer(200, length=1 << 30)
                await exchange.hung_up()
            case 4:
                reached.set()
                await exchange.hung_up()
            case _:
                await exchange.answer(200, b"x")

    async with hostile(script) as server:
        with anyio.fail_after(20):
            for expected in (oci.BlobUnknown, oci.BrokenAnswer):
                with pytest.raises(expected):
                    await sender.open(host(server), BLOB)
            async with await sender.open(host(server), BLOB):
                pass
            async with anyio.create_task_group() as group:
                group.start_soon(sender.open, host(server), BLOB)
                await reached.wait()
                group.cancel_scope.cancel()
            for _ in range(2):
                answer = await sender.open(host(server), BLOB)
                assert (await answer.read(LIMIT)).content == b"x"


async def test_hosts_that_we_are_sent_to_are_not_remembered_for_ever(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A registry may redirect to ever new ones; one that is in use keeps its pace all the same."""
    monkeypatch.setattr(sender_module, "MAX_PACES", 3)
    registry = Host("registry.test", Origin.of("https://registry.test"))
    storages = [Origin.of(f"https://s{number}.test") for number in range(20)]
    used = sender._pace(registry, storages[0])
    admission = await used.acquire(Kind.DOWNLOAD)
    del used

    for storage in storages:
        sender._pace(registry, storage)

    assert len(sender._paces) == 3
    assert sender._pace(registry, storages[0]) is admission._pace
    admission.release()


async def test_events_name_no_secret(sender: Sender) -> None:
    """Whoever listens sees methods, statuses and redacted URLs."""
    seen: list[oci.Event] = []

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        await exchange.answer(201)

    async with hostile(script) as server:
        with oci.observe(seen.append):
            await sender.request(host(server), upload(server), limit=LIMIT, body=b"x")

    assert [type(event) for event in seen] == [oci.RequestSent, oci.ResponseReceived, oci.ResponseEnded]
    assert "x%20y" not in repr(seen)
