"""`Timeouts.total`: whatever an operation does, it is over in time, says what took so long, and leaves nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

import oci_distribution as oci
from oci_distribution.testing import Fault, RunningRegistry, TokenAuth, serve_registry
from tests.jumping import JUMPING, jumping_client

TOTAL = 5.0
DATA = bytes(range(256)) * 2000


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return JUMPING


@pytest.fixture
async def registry() -> AsyncIterator[RunningRegistry]:
    async with serve_registry() as registry:
        yield registry


@asynccontextmanager
async def patient(
    registry: RunningRegistry, slots: oci.Slots | None = None, auth_provider: oci.AuthProvider | None = None
) -> AsyncGenerator[oci.Repository]:
    """Open a client that takes 5 seconds for an operation; nothing may be left in use at its end."""
    timeouts = oci.Timeouts(total=TOTAL)
    async with jumping_client(timeouts=timeouts, slots=slots, auth_provider=auth_provider) as client:
        yield client.repository(f"{registry.host}/team/app")
        for pace in client._sender._paces.values():
            assert [budget.used for budget in pace._budgets.values()] == [0, 0, 0]


@asynccontextmanager
async def in_time(doing: str, grace: float = 2) -> AsyncGenerator[pytest.ExceptionInfo[oci.DeadlineExceeded]]:
    """Expect that time is up after 5 seconds, or earlier where waiting longer is no use; and for cleaning up."""
    began = anyio.current_time()
    with pytest.raises(oci.DeadlineExceeded, match=doing) as raised:
        yield raised
    assert anyio.current_time() - began <= TOTAL + grace


async def test_a_silent_host_is_left(registry: RunningRegistry) -> None:
    """The error is a timeout, and says which request was waited for."""
    registry.faults.add(Fault(delay=100))
    async with (
        patient(registry) as repo,
        in_time("not done after 5 seconds, while waiting for the answer") as raised,
    ):
        await repo.registry.ping()

    assert isinstance(raised.value, TimeoutError)
    assert raised.value.method == "GET"
    assert raised.value.url == f"{registry.url}/v2/"


async def test_retries_are_over_in_time(registry: RunningRegistry) -> None:
    """No pause is begun that would end too late, and the refusal is the cause."""
    registry.faults.add(Fault(status=503, retry_after=2))
    async with (
        patient(registry) as repo,
        in_time("waiting 2 seconds to try again after status 503") as raised,
    ):
        await repo.registry.ping()

    assert [attempt.reason for attempt in raised.value.attempts] == ["status 503"] * 3
    assert isinstance(raised.value.__cause__, oci.ResponseError)
    assert len(registry.requests) == 3


async def test_waiting_for_a_slot_counts(registry: RunningRegistry) -> None:
    """Who never gets a slot is told so."""
    registry.faults.add(Fault(path="*/blobs/*", delay=100))
    digest = oci.Digest.of(DATA)
    async with patient(registry, oci.Slots(downloads=1)) as repo, anyio.create_task_group() as group:

        async def hold_the_slot() -> None:
            with pytest.raises(oci.DeadlineExceeded):
                await repo.blobs.read(digest, limit=1)

        group.start_soon(hold_the_slot)
        await anyio.sleep(0.1)
        repo.registry.sender.timeouts = oci.Timeouts(total=1)
        async with in_time("waiting for one of the slots of"):
            await repo.blobs.read(digest, limit=1)


async def test_waiting_for_a_hosts_pace_counts(registry: RunningRegistry) -> None:
    """A host that wants to be left alone for longer than there is time."""
    async with patient(registry) as repo:
        registry.faults.add(Fault(times=1, status=503, retry_after=30))
        with pytest.raises(oci.DeadlineExceeded):
            await repo.registry.ping()
        async with in_time("waiting for .*: retry-after"):
            await repo.registry.ping()


async def test_waiting_for_a_token_counts() -> None:
    """The token server is a part of it."""

    async def provider(host: str, repository: str | None) -> oci.Credential:
        return oci.Credential(username="ann", password="secret")

    auth = TokenAuth({"ann": "secret"})
    async with serve_registry(auth=auth) as registry, patient(registry, auth_provider=provider) as repo:
        registry.faults.add(Fault(path="*token*", delay=100))
        async with in_time("waiting for credentials or a token"):
            await repo.manifests.get("v1")


async def test_waiting_for_the_token_of_another_task_is_told() -> None:
    """One asks for what all need, and what all wait for is not the registry."""
    async with serve_registry(auth=TokenAuth(users={"ann": "secret"})) as registry, patient(registry) as repo:
        registry.faults.add(Fault(path="*token*", delay=100))

        async def pull() -> None:
            with pytest.raises(oci.DeadlineExceeded, match="while waiting for credentials or a token"):
                await repo.manifests.get("v1")

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(pull)


async def test_waiting_for_a_provider_is_told(registry: RunningRegistry) -> None:
    """It is the user's own code that takes so long."""

    async def slow(host: str, repository: str | None) -> oci.Credential:
        await anyio.sleep_forever()
        raise AssertionError

    async with (
        patient(registry, auth_provider=slow) as repo,
        in_time("while waiting for credentials or a token"),
    ):
        await repo.manifests.get("v1")


async def test_a_slow_body_is_left(registry: RunningRegistry) -> None:
    """A stream ends at the deadline of its opening, with its connection and its slot given back."""
    async with patient(registry) as repo:
        blob = await repo.blobs.push(DATA)
        registry.faults.add(Fault(method="GET", path="*/blobs/*", bytes_per_second=20_000))
        async with in_time("reading the answer's body"):
            await repo.blobs.read(blob)


async def test_a_body_that_breaks_again_and_again_is_left(registry: RunningRegistry) -> None:
    """All the connections of one stream have one deadline."""
    async with patient(registry) as repo:
        blob = await repo.blobs.push(DATA)
        registry.faults.add(Fault(method="GET", path="*/blobs/*", delay=1, reset_answer_after=1000))
        repo.registry.sender.retry = oci.RetryPolicy(attempts=1000, base_delay=0.1)
        async with in_time("not done after 5 seconds"):
            await repo.blobs.read(blob)


async def test_several_connections_have_one_deadline(registry: RunningRegistry) -> None:
    """A part that is fetched later has no more time than the first."""
    async with patient(registry) as repo:
        blob = await repo.blobs.push(bytes(40 << 20))
        registry.faults.add(Fault(method="GET", path="*/blobs/*", delay=2))
        async with in_time("not done after 5 seconds"), repo.blobs.open(blob, connections=2) as reader:
            async for _ in reader:
                pass


async def test_the_readers_own_time_counts(registry: RunningRegistry) -> None:
    """A stream that somebody keeps open for too long is over, too."""
    async with patient(registry) as repo:
        blob = await repo.blobs.push(DATA * 20)
        async with in_time("not done after 5 seconds"), repo.blobs.open(blob) as reader:
            async for _ in reader:
                await anyio.sleep(1)


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_an_upload_is_left_and_cleaned_up(registry: RunningRegistry, method: str) -> None:
    """Whichever of its requests takes too long, the registry keeps no session."""
    async with patient(registry) as repo:
        registry.faults.add(Fault(method=method, path="*/uploads/*", times=1, delay=TOTAL + 1))
        async with in_time("while waiting for the", grace=5):
            await repo.blobs.push(DATA)
        await anyio.sleep(10)  # of the jumping clock: whatever the registry still does is done

    assert registry.app.uploads == {}


async def test_a_push_with_retries_has_one_deadline(registry: RunningRegistry) -> None:
    """All attempts at one blob together."""
    async with patient(registry) as repo:
        registry.faults.add(Fault(method="PUT", path="*/uploads/*", delay=2, status=500))
        async with in_time("not done after 5 seconds"):
            await repo.blobs.push(DATA)

    assert registry.app.uploads == {}


async def test_without_a_total_there_is_none(registry: RunningRegistry) -> None:
    """Nobody knows how long a transfer takes: the default is no limit."""
    async with patient(registry) as repo:
        repo.registry.sender.timeouts = oci.Timeouts()
        registry.faults.add(Fault(delay=50))

        await repo.registry.ping()
