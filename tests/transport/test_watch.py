"""What becomes of each request is told to whoever listens, from its start to the end of its answer."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

import oci_distribution as oci
from oci_distribution.spec import endpoints
from oci_distribution.spec.urls import Origin
from oci_distribution.testing import RunningRegistry, TokenAuth, serve_registry
from oci_distribution.transport.calls import Host
from oci_distribution.transport.http_client import RegistryHTTPClient
from oci_distribution.transport.pacing import Slots, Timing
from oci_distribution.transport.sender import Sender
from oci_distribution.transport.watch import watch
from tests.hostile import Exchange, HostileServer, hostile

GET = endpoints.get_manifest("a/b", "v1")
BLOB = endpoints.get_blob("a/b", "sha256:" + "0" * 64)
UPLOAD = endpoints.put_upload("a/b", "/upload?_state=secret", "sha256:" + "0" * 64)
LIMIT = 1000


class Heard(list[oci.Event]):
    """A sink that keeps what it hears."""

    def __call__(self, event: oci.Event) -> None:
        self.append(event)

    @property
    def names(self) -> list[str]:
        return [type(event).__name__ for event in self]


class Clock:
    """Goes on by a second whenever somebody looks at it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


async def at_once(_: float) -> None:
    """Sleep no time at all."""


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def sender() -> AsyncGenerator[Sender]:
    async with RegistryHTTPClient() as http:
        yield Sender(http, timing=Timing(sleep=at_once), slots=Slots(downloads=1))


def host(server: HostileServer) -> Host:
    return Host("registry.test", Origin.of(server.url))


async def empty(exchange: Exchange) -> None:
    await exchange.read_body()
    await exchange.answer(200)


def test_nobody_listens(caplog: pytest.LogCaptureFixture) -> None:
    """Then there is no watch, and nothing to pay for."""
    caplog.set_level(logging.WARNING, "oci_distribution")

    assert watch(None, Clock()) is None


async def test_a_request_and_its_answer(sender: Sender, heard: Heard) -> None:
    """Sent, received, ended: of one number, with the seconds since it left and the bytes that came."""
    sender.timing = Timing(now=Clock())

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, b"abc")

    async with hostile(script) as server:
        with oci.observe(heard):
            await sender.request(host(server), GET, limit=LIMIT)

    sent, received, ended = heard
    assert isinstance(sent, oci.RequestSent)
    about = (sent.number, "GET", f"{server.url}/v2/a/b/manifests/v1", 1)
    assert heard == [
        oci.RequestSent(*about, resends=0),
        oci.ResponseReceived(*about, 200, received.seconds),  # type: ignore[attr-defined]
        oci.ResponseEnded(*about, 200, 3, ended.seconds, is_whole=True),  # type: ignore[attr-defined]
    ]
    assert 0 < received.seconds < ended.seconds  # type: ignore[attr-defined]


async def test_the_requests_of_hundreds_of_tasks_are_told_apart(sender: Sender, heard: Heard) -> None:
    """Each number has its start, its answer and its end, whatever comes in between."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, exchange.target.encode())

    async with hostile(script) as server:
        with oci.observe(heard):
            async with anyio.create_task_group() as tasks:
                for number in range(300):
                    endpoint = endpoints.get_manifest("a/b", f"v{number}")
                    tasks.start_soon(lambda e: sender.request(host(server), e, limit=LIMIT), endpoint)

    by_number: dict[int, list[oci.RequestEvent]] = defaultdict(list)
    for event in heard:
        assert isinstance(event, oci.RequestEvent)
        by_number[event.number].append(event)
    assert len(by_number) == 300
    for events in by_number.values():
        assert [type(event) for event in events] == [oci.RequestSent, oci.ResponseReceived, oci.ResponseEnded]
        assert len({event.url for event in events}) == 1


async def test_a_redirect_is_told(sender: Sender, heard: Heard) -> None:
    """From where and to where, without what a signed URL holds; the next request is a resend."""

    async def script(exchange: Exchange) -> None:
        if exchange.target.startswith("/v2/"):
            await exchange.answer(307, headers=[("Location", f"{server.url}/storage?sig=secret&n=1")])
        else:
            await exchange.answer(200, b"abc")

    async with hostile(script) as server:
        with oci.observe(heard):
            await sender.request(host(server), BLOB, limit=LIMIT)

    redirected = next(event for event in heard if isinstance(event, oci.Redirected))
    sent = [event for event in heard if isinstance(event, oci.RequestSent)]
    assert redirected.target == f"{server.url}/storage?sig=***&n=1"
    assert (redirected.number, redirected.url) == (sent[0].number, sent[0].url)
    assert [(event.attempt, event.resends) for event in sent] == [(1, 0), (1, 1)]
    assert sent[1].url == redirected.target


async def test_a_retry_has_another_number(sender: Sender, heard: Heard) -> None:
    """And says which try it is."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(503 if len(server.requests) == 1 else 200, b"no")

    async with hostile(script) as server:
        with oci.observe(heard):
            await sender.request(host(server), GET, limit=LIMIT)

    first, second = [event for event in heard if isinstance(event, oci.RequestSent)]
    assert first.number != second.number
    assert (second.attempt, second.resends) == (2, 1)
    assert heard.names == [
        *("RequestSent", "ResponseReceived", "ResponseEnded"),
        "RetryScheduled",
        *("RequestSent", "ResponseReceived", "ResponseEnded"),
    ]


async def test_no_answer(sender: Sender, heard: Heard) -> None:
    """What fails has no end of an answer, but says why in our words."""

    async def script(exchange: Exchange) -> None:
        exchange.reset()

    async with hostile(script) as server:
        with oci.observe(heard), pytest.raises(oci.BrokenAnswer):
            await sender.request(host(server), UPLOAD, limit=LIMIT, body=b"x")

    sent, failed = heard
    assert isinstance(sent, oci.RequestSent)
    assert isinstance(failed, oci.RequestFailed)
    assert (failed.number, failed.error) == (sent.number, "BrokenAnswer")
    assert failed.reason
    assert failed.seconds > 0
    assert "secret" not in repr(heard)


async def test_what_the_source_of_a_body_raises(sender: Sender, heard: Heard) -> None:
    """Its name is told, and not its text, which is not ours."""

    class Broken:
        size = 100

        @asynccontextmanager
        async def open(self, offset: int = 0) -> AsyncIterator[AsyncIterator[bytes]]:
            async def pieces() -> AsyncIterator[bytes]:
                yield b"x"
                raise LookupError("hunter2")

            yield pieces()

    async with hostile(empty) as server:
        with oci.observe(heard), pytest.raises(LookupError):
            await sender.request(host(server), UPLOAD, limit=LIMIT, body=Broken())

    failed = heard[-1]
    assert isinstance(failed, oci.RequestFailed)
    assert (failed.error, failed.reason) == ("LookupError", "")


async def test_cancelled_while_it_waits_for_an_answer(sender: Sender, heard: Heard) -> None:
    """That is an end like any other, or a consumer would wait for one for ever."""
    arrived = anyio.Event()

    async def script(exchange: Exchange) -> None:
        arrived.set()
        await exchange.hung_up()

    async with hostile(script) as server:
        with oci.observe(heard):
            task = asyncio.create_task(sender.request(host(server), GET, limit=LIMIT))
            await arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    assert [getattr(event, "error", None) for event in heard] == [None, "CancelledError"]


async def test_cancelled_while_it_waits_for_a_slot(sender: Sender, heard: Heard) -> None:
    """What never left has no events."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, b"abc", length=10)
        await exchange.hung_up()

    async with hostile(script) as server, await sender.open(host(server), BLOB):
        with oci.observe(heard), anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(lambda: sender.open(host(server), BLOB))
                await anyio.wait_all_tasks_blocked()
                scope.cancel()

    assert heard == []


async def test_a_body_that_is_left(sender: Sender, heard: Heard) -> None:
    """It ends where its reader closes it, and says how much had come; who heard the start hears that."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, b"abc", length=10)
        await exchange.hung_up()

    async with hostile(script) as server:
        with oci.observe(heard):
            answer = await sender.open(host(server), BLOB)
        async for piece in answer:
            assert piece == b"abc"
            break
        assert heard.names == ["RequestSent", "ResponseReceived"]
        await answer.aclose()
        await answer.aclose()

    ended = heard[-1]
    assert isinstance(ended, oci.ResponseEnded)
    assert (ended.size, ended.is_whole, ended.error) == (3, False, None)
    assert len(heard) == 3


async def test_a_body_that_breaks(sender: Sender, heard: Heard) -> None:
    """The end names what broke it."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, b"abc", length=10)
        exchange.reset()

    async with hostile(script) as server:
        with oci.observe(heard):
            answer = await sender.open(host(server), BLOB)
            with pytest.raises(oci.BrokenAnswer):
                await answer.read(LIMIT)
            await answer.aclose()

    ended = heard[-1]
    assert isinstance(ended, oci.ResponseEnded)
    assert (ended.size, ended.is_whole) == (3, False)
    assert ended.error


async def test_a_watched_body_leaves_no_connection(sender: Sender, heard: Heard) -> None:
    """Leaving it early closes what is under it, as without anybody listening."""
    closed = anyio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, b"x" * 100_000, length=200_000)
        await exchange.hung_up()
        closed.set()

    async with hostile(script) as server:
        with oci.observe(heard):
            with pytest.raises(oci.LimitExceeded):
                await sender.request(host(server), GET, limit=LIMIT)
            with anyio.fail_after(10):
                await closed.wait()

    assert heard.names[-1] == "ResponseEnded"


async def test_a_sink_that_raises_at_every_event(sender: Sender) -> None:
    """The request goes through, a cancelled one is cancelled, and each exception is told."""
    told: list[object] = []
    arrived = anyio.Event()

    def broken(event: oci.Event) -> None:
        raise ZeroDivisionError

    async def script(exchange: Exchange) -> None:
        if len(server.requests) == 2:
            arrived.set()
            await exchange.hung_up()
        else:
            await exchange.answer(200, b"abc")

    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context["exception"]))
    try:
        async with hostile(script) as server:
            with oci.observe(broken):
                assert (await sender.request(host(server), GET, limit=LIMIT)).content == b"abc"
                task = asyncio.create_task(sender.request(host(server), GET, limit=LIMIT))
                await arrived.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
    finally:
        loop.set_exception_handler(None)

    assert [type(error) for error in told] == [ZeroDivisionError] * 5


@pytest.fixture
async def guarded() -> AsyncGenerator[RunningRegistry]:
    async with serve_registry(auth=TokenAuth({"ann": "hunter2"})) as registry:
        yield registry


async def ann(host: str, repository: str | None) -> oci.Credential:
    return oci.Credential(username="ann", password="hunter2")


async def test_tokens_are_told(guarded: RunningRegistry, heard: Heard) -> None:
    """Asked for and got: from whom, for what, how long it took; never the token."""
    async with oci.Client(auth_provider=ann) as client:
        with oci.observe(heard):
            await client.registry(guarded.url).repository("team/app").blobs.push(b"x")

    asked = next(event for event in heard if isinstance(event, oci.TokenRequested))
    got = next(event for event in heard if isinstance(event, oci.TokenReceived))
    assert (asked.registry, asked.realm, asked.scope) == (got.registry, got.realm, got.scope)
    assert asked.registry == guarded.host
    assert asked.realm.startswith("http://127.0.0.1")
    assert "repository:team/app:" in asked.scope
    assert got.seconds > 0
    between = heard[heard.index(asked) + 1 : heard.index(got)]
    assert [type(event).__name__ for event in between] == ["RequestSent", "ResponseReceived", "ResponseEnded"]
    again = next(event for event in heard[heard.index(got) :] if isinstance(event, oci.RequestSent))
    assert (again.attempt, again.resends) == (1, 1)
    assert "hunter2" not in repr(heard)
    assert "eyJ" not in repr(heard)  # how every JSON Web Token begins


async def test_a_clients_observer_hears_all_its_requests(guarded: RunningRegistry, heard: Heard) -> None:
    """From whatever task, tokens included, and each once, also where it listens to the context besides."""
    async with oci.Client(auth_provider=ann, observer=heard) as client:
        repo = client.registry(guarded.url).repository("team/app")
        blob = await repo.blobs.push(b"x")
        with oci.observe(heard):
            await _read(repo, blob)
        await asyncio.get_running_loop().create_task(_read(repo, blob))

    numbers = [event.number for event in heard if isinstance(event, oci.RequestSent)]
    assert len(numbers) == len(set(numbers)) == len(guarded.requests)
    assert {"TokenRequested", "TokenReceived"} <= set(heard.names)
    assert heard.names.count("RequestSent") == heard.names.count("ResponseEnded")


async def _read(repo: oci.Repository, blob: oci.Descriptor) -> None:
    assert await repo.blobs.read(blob) == b"x"


async def test_two_clients_have_observers_of_their_own(guarded: RunningRegistry, heard: Heard) -> None:
    """What one does is no business of the other's."""
    async with oci.Client(auth_provider=ann, observer=heard), oci.Client(auth_provider=ann) as other:
        await other.registry(guarded.url).ping()

    assert heard == []
