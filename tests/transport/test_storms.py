"""429 storms: hundreds of tasks at a host that lets few through, on a clock that waits for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

import oci_distribution as oci
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
async def new_client() -> AsyncGenerator[oci.Client]:
    async with oci.Client(transport=AiohttpTransport(proxies={})) as client:
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
        print(f"{took:.1f} s, {refused} refused")

    assert (TASKS - RATE) / RATE - 1 <= took < 1.4 * TASKS / RATE
    assert refused <= TASKS * 0.1
