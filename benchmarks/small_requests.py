"""Small manifest GETs at 100 tasks, through `Registry`, beside raw aiohttp against the same server."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import aiohttp

import oci_distribution as oci
from benchmarks.services import distribution

TASKS = 100
REQUESTS = 3000
RATIO_LIMIT = 0.55
CPU_LIMIT = 300
"""Microseconds of our processor that a request may cost."""
ROUNDS = 7


async def push_image(repository: oci.Repository) -> None:
    """Push an image with a manifest as most are, tagged v1."""
    config = await repository.blobs.push(b"{}", media_type=oci.MediaType.IMAGE_CONFIG)
    manifest = oci.Manifest.of(oci.ImageManifest(config=config, layers=(config,) * 4))
    await repository.manifests.push(manifest, tags=["v1"])


async def drive(get: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """Call `get` from all tasks, and return requests a second, and microseconds of our CPU a request."""
    left = REQUESTS

    async def task() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await get()

    began, cpu = perf_counter(), process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(TASKS):
            group.create_task(task())
    return REQUESTS / (perf_counter() - began), (process_time() - cpu) / REQUESTS * 1e6


async def compare(host: str, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Measure both in turn."""
    figures: dict[str, list[tuple[float, float]]] = {"oci-distribution": [], "aiohttp": []}
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        oci.Client(slots=oci.Slots(requests=TASKS)) as client,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        repository = client.repository(f"{host}/bench/small")
        await push_image(repository)
        url = f"http://{host}/v2/bench/small/manifests/v1"
        headers = {"Accept": oci.manifest_accept_header()}

        async def raw() -> None:
            async with session.get(url, headers=headers) as response:
                assert response.status == 200
                await response.read()

        registry = repository.registry
        for number in range(rounds + 1):
            for tool, get in {
                "oci-distribution": lambda: registry.get_manifest("bench/small", "v1"),
                "aiohttp": raw,
            }.items():
                figure = await drive(get)
                if number:
                    figures[tool].append(figure)
    return figures


def run(rounds: int = ROUNDS) -> bool:
    """Run the benchmark, print its table, and say whether the limits hold."""
    with tempfile.TemporaryDirectory(prefix="oci-bench-") as name, distribution(Path(name)) as host:
        figures = asyncio.run(compare(host, rounds))
    rates = {tool: median(rate for rate, _ in values) for tool, values in figures.items()}
    costs = {tool: median(cpu for _, cpu in values) for tool, values in figures.items()}
    ratio = rates["oci-distribution"] / rates["aiohttp"]
    print(f"manifest GETs at {TASKS} tasks against distribution v3, median of {rounds}")
    for tool, rate in rates.items():
        print(f"  {tool:<18} {rate:6.0f} /s   {costs[tool]:4.0f} µs of our processor each")
    print(f"  {ratio:.2f} × aiohttp (at least {RATIO_LIMIT}), at most {CPU_LIMIT} µs")
    return ratio >= RATIO_LIMIT and costs["oci-distribution"] <= CPU_LIMIT
