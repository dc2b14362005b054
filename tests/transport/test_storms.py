"""429 storms: hundreds of tasks at a host that lets few through, on a clock that waits for nothing."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import oci_distribution as oci
from oci_distribution.spec.endpoints import Kind
from oci_distribution.testing import Fault, RunningRegistry, serve_registry
from tests.jumping import JUMPING, jumping_client

TASKS, RATE = 500, 20


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """A loop whose clock jumps where nothing happens: client and server see half a minute pass in a second."""
    return JUMPING


async def ping_often(client: oci.Client, registry: RunningRegistry, count: int) -> float:
    """Send so many pings at once, and return the seconds that they took."""
    target, began = client.registry(registry.url), anyio.current_time()
    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(target.ping)
    return anyio.current_time() - began


@pytest.mark.parametrize(
    "refusal",
    [
        pytest.param({"status": 429, "retry_after": 1}, id="retry-after"),
        pytest.param({"status": 429, "retry_after": 2, "retry_after_date": True}, id="date"),
        pytest.param({"status": 429}, id="no word of when"),
        pytest.param({"status": 503}, id="as nginx does it"),
    ],
)
async def test_a_storm_goes_at_the_rate_that_the_host_allows(refusal: dict[str, Any]) -> None:
    """500 tasks at 20 requests a second: all succeed, hardly later than they must, and few are refused."""
    async with serve_registry() as registry, jumping_client() as client:
        registry.faults.add(Fault(per_second=RATE, **refusal))
        took = await ping_often(client, registry, TASKS)
        refused = registry.requests.count("GET", "/v2/", status=429)

    assert (TASKS - RATE) / RATE - 1 <= took < 1.4 * TASKS / RATE
    assert refused <= TASKS * 0.1


async def test_a_host_that_lets_hardly_anything_through_is_asked_slowly() -> None:
    """Two requests a second: after the first moment hardly any is refused, and none gives up."""
    async with serve_registry() as registry, jumping_client() as client:
        registry.faults.add(Fault(per_second=2, status=429, retry_after=1))
        took = await ping_often(client, registry, 60)
        refused = registry.requests.count("GET", "/v2/", status=429)

    assert took < 40
    assert refused <= client._sender.slots.requests + 10


async def test_another_host_is_not_affected() -> None:
    """While one host refuses, a hundred requests to another go as if nothing were."""
    async with serve_registry() as busy, serve_registry() as idle, jumping_client() as client:
        busy.faults.add(Fault(per_second=RATE, status=429, retry_after=1))
        async with anyio.create_task_group() as group:
            group.start_soon(ping_often, client, busy, 100)
            await anyio.sleep(0.5)  # of the jumping clock: the other has refused by now, and is left alone
            assert busy.requests.count("GET", "/v2/", status=429)
            took = await ping_often(client, idle, 100)
            assert busy.requests.count("GET", "/v2/", status=200) < 100

    assert took < 3  # what this machine takes; the other needs four seconds more
    assert idle.requests.count("GET", "/v2/", status=200) == 100


async def test_a_host_whose_limit_is_known_never_refuses() -> None:
    """With `Limits(requests_per_second=...)` a storm is a queue."""
    async with serve_registry() as registry:
        registry.faults.add(Fault(per_second=RATE, status=429))
        hosts = {registry.host: oci.HostConfig(limits=oci.Limits(requests_per_second=RATE))}
        async with jumping_client(hosts=hosts) as client:
            took = await ping_often(client, registry, 200)
        refused = registry.requests.count("GET", "/v2/", status=429)

    assert refused == 0
    assert 199 / RATE - 0.2 < took < 1.4 * 199 / RATE


async def test_slots_come_back_after_a_storm() -> None:
    """When a host has stopped refusing, as much goes at once as before."""
    async with serve_registry() as registry, jumping_client() as client:
        fault = registry.faults.add(Fault(per_second=RATE, status=429, retry_after=1))
        await ping_often(client, registry, 100)
        registry.faults.remove(fault)
        await anyio.sleep(60)
        took = await ping_often(client, registry, 1000)
        (pace,) = client._sender._paces.values()

    assert took < 20  # at that rate it would be fifty seconds
    assert pace._budgets[Kind.REQUEST].size == client._sender.slots.requests


async def test_a_quota_of_hours_that_is_used_up_is_final() -> None:
    """Docker Hub's 100 pulls: who comes too late is told so at once, and nobody asks twice."""
    events = list[oci.Event]()
    async with serve_registry(profile="docker-hub") as registry, jumping_client() as client:
        repo = client.repository(f"{registry.host}/team/app")
        pushed = await repo.manifests.push(oci.Manifest.of(oci.ImageIndex(manifests=())))
        refused = list[oci.TooManyRequests]()

        async def pull() -> None:
            try:
                await repo.manifests.get(str(pushed.digest))
            except oci.TooManyRequests as error:
                refused.append(error)

        with registry.requests.capture() as seen, oci.observe(events.append):
            async with anyio.create_task_group() as group:
                for _ in range(130):
                    group.start_soon(pull)
            await repo.manifests.stat(str(pushed.digest))

    assert seen.count("GET", "/v2/*/manifests/*") == 130
    assert len(refused) == 30
    assert {error.retry_after for error in refused} == {21600}
    assert repo.registry.rate_limit == oci.RateLimit(0, limit=100, window=21600)
    assert sum(isinstance(event, oci.RateLimitLow) for event in events) == 1
