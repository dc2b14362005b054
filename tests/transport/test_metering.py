"""A cap on bytes: what passes, how fast, and who gets how much of it; on a clock that waits for nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

import oci_distribution as oci
from oci_distribution.spec.endpoints import Kind
from oci_distribution.testing import RunningRegistry, serve_registry
from oci_distribution.transport.metering import ByteCap
from oci_distribution.transport.pacing import Timing
from tests.jumping import JUMPING, jumping_client

RATE = 100_000
DATA = bytes(range(256)) * 4000


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return JUMPING


@asynccontextmanager
async def capped(registry: RunningRegistry, rate: float = RATE) -> AsyncGenerator[oci.Repository]:
    hosts = {registry.host: oci.HostConfig(limits=oci.Limits(bytes_per_second=rate))}
    async with jumping_client(hosts=hosts) as client:
        yield client.repository(f"{registry.host}/team/app")


@pytest.fixture
async def registry() -> AsyncIterator[RunningRegistry]:
    async with serve_registry() as registry:
        yield registry


async def stored(registry: RunningRegistry, data: bytes) -> oci.Descriptor:
    """Put a blob there without a cap."""
    async with jumping_client() as client:
        return await client.repository(f"{registry.host}/team/app").blobs.push(data)


def assert_lasted(began: float) -> None:
    """Make sure that a megabyte took its ten seconds; what this machine takes itself comes on top."""
    assert 0.95 * len(DATA) / RATE < anyio.current_time() - began < 1.4 * len(DATA) / RATE


async def test_a_download_comes_no_faster_than_allowed(registry: RunningRegistry) -> None:
    """A megabyte at 100 kB/s takes ten seconds, and comes in small pieces."""
    async with capped(registry) as repo:
        blob = await stored(registry, DATA)
        began, sizes = anyio.current_time(), list[int]()
        async with repo.blobs.open(blob) as reader:
            async for piece in reader:
                sizes.append(len(piece))

        assert sum(sizes) == len(DATA)
        assert_lasted(began)
        assert max(sizes) <= RATE / 10


async def test_an_upload_goes_no_faster_than_allowed(registry: RunningRegistry) -> None:
    """A megabyte at 100 kB/s takes ten seconds, whole and in chunks."""
    async with capped(registry) as repo:
        for chunk_size in (None, 300_000):
            began = anyio.current_time()
            await repo.blobs.push(DATA + str(chunk_size).encode(), chunk_size=chunk_size)

            assert_lasted(began)


async def test_reading_and_writing_have_a_cap_each(registry: RunningRegistry) -> None:
    """A line gives both ways at once."""
    async with capped(registry) as repo:
        blob, began = await stored(registry, DATA), anyio.current_time()
        async with anyio.create_task_group() as group:
            group.start_soon(repo.blobs.read, blob)
            group.start_soon(repo.blobs.push, DATA[1:])

        assert_lasted(began)


async def test_streams_share_a_cap_evenly(registry: RunningRegistry) -> None:
    """Four blobs of a size that start together end together."""
    async with capped(registry) as repo:
        blobs = [await stored(registry, DATA[number:] + DATA[:number]) for number in range(4)]
        ends = list[float]()

        async def read(blob: oci.Descriptor) -> None:
            await repo.blobs.read(blob)
            ends.append(anyio.current_time())

        async with anyio.create_task_group() as group:
            for blob in blobs:
                group.start_soon(read, blob)

    assert max(ends) - min(ends) < 3  # of forty


async def test_a_body_that_is_no_stream_is_made_up_for(registry: RunningRegistry) -> None:
    """A manifest goes at once; what follows it waits for as long as it would have taken."""
    async with capped(registry) as repo:
        manifest = oci.Manifest.of(oci.ImageIndex(manifests=(), annotations={"a": "x" * RATE}))
        await repo.manifests.push(manifest)
        began = anyio.current_time()
        await repo.blobs.push(DATA[:100_000])

    assert anyio.current_time() - began > 1


async def test_what_we_hold_back_is_not_too_slow(registry: RunningRegistry) -> None:
    """A cap below `Timeouts.minimum_rate` is no reason to replace a connection."""
    async with capped(registry, rate=500) as repo:
        blob = await stored(registry, DATA[:100_000])
        # An observer counts the bytes, which is another stream around the same body.
        with registry.requests.capture() as seen, oci.observe(lambda event: None):
            await repo.blobs.read(blob)

    assert seen.count("GET", "/v2/*/blobs/*") == 1


async def test_who_leaves_holds_nobody_up(registry: RunningRegistry) -> None:
    """A stream that is cancelled while it waits for its turn gives turn, slot and connection back."""
    async with capped(registry) as repo:
        blob = await stored(registry, DATA)
        with anyio.move_on_after(2) as scope:
            async with anyio.create_task_group() as group:
                for _ in range(10):
                    group.start_soon(repo.blobs.read, blob)
        began = anyio.current_time()
        await repo.blobs.read(blob)
        (pace,) = repo.registry.sender._paces.values()

    assert scope.cancelled_caught
    assert_lasted(began)
    assert pace._budgets[Kind.DOWNLOAD].used == 0


@pytest.mark.parametrize(("rate", "step"), [(100, 1024), (100_000, 10_000), (1e9, 65_536)])
def test_a_turn_is_neither_too_small_nor_too_large(rate: float, step: int) -> None:
    """A tenth of a second's bytes, so that many streams have their turns; not less than a kibibyte."""
    pieces = ByteCap(Timing(), rate).steps(bytes(1 << 20))

    assert len(pieces[0]) == step
    assert sum(map(len, pieces)) == 1 << 20


async def test_storage_behind_a_registry_is_capped_with_it() -> None:
    """Where blobs come from another origin, the cap is still the registry's."""
    async with serve_registry(profile="gitlab") as registry, capped(registry) as repo:
        blob = await stored(registry, DATA)
        began = anyio.current_time()
        await repo.blobs.read(blob)

    assert_lasted(began)
