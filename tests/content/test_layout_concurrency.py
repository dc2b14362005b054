"""Tasks and processes that write to one layout, that are cancelled, and that are killed."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

import oci_distribution as oci
from tests.disk import names_below, open_below
from tests.images import push_blob, push_image

BIG = bytes(range(256)) * (12 << 10)
BLOB = oci.Descriptor(media_type=oci.MediaType.OCTET_STREAM, digest=oci.Digest.of(BIG), size=len(BIG))
ROOT = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "layout"


def temporary_files(root: Path) -> list[str]:
    return [name for name in names_below(root) if name.startswith(".ingest-")]


class Halting:
    """A source that stops in the middle, for ever or until it is let go."""

    size = len(BIG)

    def __init__(self) -> None:
        self.reached = anyio.Event()
        self.go_on = anyio.Event()
        self.closed = False

    @asynccontextmanager
    async def open(self, offset: int = 0) -> AsyncGenerator[AsyncIterator[bytes]]:
        async def pieces() -> AsyncGenerator[bytes]:
            yield BIG[: 2 << 20]
            yield BIG[2 << 20 : -1]
            self.reached.set()
            await self.go_on.wait()
            yield BIG[-1:]

        try:
            yield pieces()
        finally:
            self.closed = True


async def test_tasks_lose_nothing_of_each_other(root: Path) -> None:
    """Forty tags at once, over two objects for one directory."""
    layouts = [oci.Layout(root), oci.Layout(root)]

    async with anyio.create_task_group() as group:
        for number in range(40):

            async def push(number: int = number) -> None:
                await push_image(layouts[number % 2], [str(number % 7).encode()], tag=f"v{number}")

            group.start_soon(push)

    tags = [tag async for tag in layouts[0].tags()]
    assert sorted(tags) == sorted(f"v{number}" for number in range(40))
    assert not temporary_files(root)
    assert not open_below(root)


async def test_the_same_blob_at_once(root: Path) -> None:
    """Each task has the whole blob when it is told so."""
    layout = oci.Layout(root)
    outcomes: list[oci.PushOutcome] = []

    async def push() -> None:
        outcomes.append(await layout.push_blob(BLOB, oci.BytesSource(BIG)))
        assert await layout.exists(BLOB)

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(push)

    assert oci.PushOutcome.COPIED in outcomes
    assert len(outcomes) == 8
    assert not temporary_files(root)


async def test_a_blob_is_not_there_before_it_is_whole(root: Path) -> None:
    """Nobody finds half of it, and others can write meanwhile, even the same."""
    layout, source = oci.Layout(root), Halting()

    async with anyio.create_task_group() as group:
        group.start_soon(layout.push_blob, BLOB, source)
        await source.reached.wait()

        assert not await layout.exists(BLOB)
        assert len(temporary_files(root)) == 1
        assert await layout.push_blob(BLOB, oci.BytesSource(BIG)) is oci.PushOutcome.COPIED
        await push_image(layout, tag="v1")
        source.go_on.set()

    assert await layout.exists(BLOB)
    assert not temporary_files(root)


async def cancel_by_anyio(layout: oci.Layout, source: Halting) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(layout.push_blob, BLOB, source)
        await source.reached.wait()
        group.cancel_scope.cancel()


async def cancel_by_asyncio(layout: oci.Layout, source: Halting) -> None:
    task = asyncio.create_task(layout.push_blob(BLOB, source))
    await source.reached.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


@pytest.mark.parametrize("cancel", [cancel_by_anyio, cancel_by_asyncio])
async def test_a_cancelled_push_leaves_nothing(
    root: Path, cancel: Callable[[oci.Layout, Halting], Awaitable[None]]
) -> None:
    """No file, no handle, and the source is closed, whoever cancels."""
    layout, source = oci.Layout(root), Halting()

    await cancel(layout, source)

    assert source.closed
    assert names_below(root) == [".index.json.lock", "index.json", "oci-layout"]
    assert not open_below(root)
    assert await layout.push_blob(BLOB, oci.BytesSource(BIG)) is oci.PushOutcome.COPIED


async def test_cancelled_at_any_moment_the_layout_is_whole(root: Path) -> None:
    """After any number of steps a cancelled push has listed its image or has not, and the lock is free."""
    layout = oci.Layout(root)
    kept = await push_image(layout, tag="kept")

    for steps in range(60):
        task = asyncio.create_task(push_image(layout, [str(steps).encode()], tag=f"v{steps}"))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert json.loads((root / "index.json").read_bytes())["manifests"]

    with anyio.fail_after(10):
        await push_image(layout, tag="last")
    tags = {tag async for tag in layout.tags()}
    for tag in tags:
        await layout.fetch_manifest(tag)
    assert tags >= {"kept", "last"}
    assert (await layout.resolve("kept")).digest == kept.digest
    assert not temporary_files(root)
    assert not open_below(root)


async def test_who_waits_for_the_lock_can_be_cancelled(root: Path) -> None:
    """Another process may hold it for long, and Ctrl-C must work all the same."""
    holder, waiting = oci.Layout(root), oci.Layout(root)
    await push_image(holder, tag="v1")

    with anyio.fail_after(10):
        async with holder._lock(), anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(push_tag, waiting, f"w{number}")
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        await push_image(waiting, tag="v2")

    assert [tag async for tag in holder.tags()] == ["v1", "v2"]


async def test_a_push_leaves_no_task_behind(root: Path) -> None:
    """Whatever it started has ended when it returns."""
    before = asyncio.all_tasks()

    await push_image(oci.Layout(root), tag="v1")

    assert asyncio.all_tasks() == before


async def push_tag(layout: oci.Layout, tag: str) -> None:
    await push_image(layout, tag=tag)


WORKER = """
import asyncio, sys
import oci_distribution as oci
from tests.disk import names_below, open_below
from tests.images import push_image

async def main(root, name):
    layout = oci.Layout(root)
    for number in range(10):
        await push_image(layout, [b"shared" * 100_000, str(number).encode()], tag=f"{name}-{number}")

asyncio.run(main(*sys.argv[1:]))
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


async def test_processes_lose_nothing_of_each_other(root: Path) -> None:
    """Three processes make one layout together, from nothing."""
    names = ["one", "two", "three"]

    workers = [start(WORKER, root, name) for name in names]
    outputs = [await asyncio.to_thread(worker.communicate, timeout=50) for worker in workers]

    assert [worker.returncode for worker in workers] == [0, 0, 0], outputs
    tags = [tag async for tag in oci.Layout(root).tags()]
    assert tags == sorted(f"{name}-{number}" for name in names for number in range(10))
    assert not temporary_files(root)


KILLED = """
import asyncio, sys
from contextlib import asynccontextmanager
import oci_distribution as oci
from tests.content.test_layout_concurrency import BLOB, Halting

async def main(root):
    layout, source = oci.Layout(root), Halting()

    async def tell():
        await source.reached.wait()
        async with layout._lock():
            print("reached", flush=True)
            await asyncio.sleep(3600)

    await asyncio.gather(layout.push_blob(BLOB, source), tell())

asyncio.run(main(sys.argv[1]))
"""


async def test_a_killed_process_leaves_no_half_content(root: Path) -> None:
    """It leaves a file that is not taken for a blob, and no lock."""
    worker = start(KILLED, root)
    assert worker.stdout is not None
    assert await asyncio.to_thread(worker.stdout.readline) == "reached\n"
    worker.kill()
    await asyncio.to_thread(worker.communicate)
    layout = oci.Layout(root)

    assert len(temporary_files(root)) == 1
    assert not await layout.exists(BLOB)
    assert "blobs" not in names_below(root)
    with anyio.fail_after(10):
        assert await push_blob(layout, BIG, BLOB.media_type) == BLOB
        await push_image(layout, tag="v1")
    assert [tag async for tag in layout.tags()] == ["v1"]
