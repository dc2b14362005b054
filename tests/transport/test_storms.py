"""429 storms: hundreds of tasks at a host that lets few through, on a clock that waits for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

import oci_distribution as oci
from oci_distribution.spec.endpoints import Kind
from oci_distribution.testing import Fault, RunningRegistry, serve_registry
from oci_distribution.transport.engine import AiohttpTransport
from oci_distribution.transport.pacing import Timing
from tests.sweep.clock import JumpingLoop

TASKS, RATE = 500, 20


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    """A loop whose clock jumps where nothing happens: client and server see half a minute pass in a second."""
    return "asyncio", {"loop_factory": JumpingLoop}


@asynccontextmanager
async def new_client(hosts: Mapping[str, oci.HostConfig] | None = None) -> AsyncGenerator[oci.Client]:
    async with oci.Client(transport=AiohttpTransport(proxies={}), hosts=hosts) as client:
        client._sender.timing = Timing(now=asyncio.get_running_loop().time)
        yield client


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
    ],
)
async def test_a_storm_goes_at_the_rate_that_the_host_allows(refusal: dict[str, Any]) -> None:
    """500 tasks at 20 requests a second: all succeed, hardly later than they must, and few are refused."""
    async with serve_registry() as registry, new_client() as client:
        registry.faults.add(Fault(per_second=RATE, **refusal))
        took = await ping_often(client, registry, TASKS)
        refused = registry.requests.count("GET", "/v2/", status=429)

    assert (TASKS - RATE) / RATE - 1 <= took < 1.4 * TASKS / RATE
    assert refused <= TASKS * 0.1


async def test_another_host_is_not_affected() -> None:
    """While one host refuses, a hundred requests to another go as if nothing were."""
    async with serve_registry() as busy, serve_registry() as idle, new_client() as client:
        busy.faults.add(Fault(per_second=RATE, status=429, retry_after=1))
        async with anyio.create_task_group() as group:
            group.start_soon(ping_often, client, busy, 100)
            await anyio.sleep(0.5)  # of the jumping clock: the other has refused by now, and is left alone
            assert busy.requests.count("GET", "/v2/", status=429)
            took = await ping_often(client, idle, 100)
            assert busy.requests.count("GET", "/v2/", status=200) < 100

    assert took < 1
    assert idle.requests.count("GET", "/v2/", status=200) == 100


async def test_a_host_whose_limit_is_known_never_refuses() -> None:
    """With `Limits(requests_per_second=...)` a storm is a queue."""
    async with serve_registry() as registry:
        registry.faults.add(Fault(per_second=RATE, status=429))
        hosts = {registry.host: oci.HostConfig(limits=oci.Limits(requests_per_second=RATE))}
        async with new_client(hosts=hosts) as client:
            took = await ping_often(client, registry, 200)
        refused = registry.requests.count("GET", "/v2/", status=429)

    assert refused == 0
    assert took == pytest.approx(199 / RATE, abs=0.5)


async def test_slots_come_back_after_a_storm() -> None:
    """When a host has stopped refusing, as much goes at once as before."""
    async with serve_registry() as registry, new_client() as client:
        fault = registry.faults.add(Fault(per_second=RATE, status=429, retry_after=1))
        await ping_often(client, registry, 100)
        registry.faults.remove(fault)
        await anyio.sleep(60)
        took = await ping_often(client, registry, 1000)
        (pace,) = client._sender._paces.values()

    assert took < 3
    assert pace._budgets[Kind.REQUEST].size == client._sender.slots.requests
