"""Threads that touch files are waited for, whoever cancels."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import anyio.lowlevel
import pytest

import oci_distribution as oci
from oci_distribution.content.files import open_file, read_pieces
from oci_distribution.waiting import in_thread
from tests.disk import open_below

Canceller: TypeAlias = Callable[["Cancellable"], None]


class Cancellable:
    """Some work in a task that can be cancelled by anyio and by asyncio."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.scope = anyio.CancelScope()
        self.task = asyncio.create_task(self._run(work))

    async def _run(self, work: Callable[[], Any]) -> None:
        with self.scope:
            await work()
            await anyio.lowlevel.checkpoint()

    async def has_ended(self) -> bool:
        """Give the task every chance to end, and say whether it did."""
        for _ in range(20):
            await asyncio.sleep(0)
        return self.task.done()

    async def end(self) -> None:
        with anyio.fail_after(10):
            await asyncio.wait([self.task])
        assert self.scope.cancelled_caught or self.task.cancelled()


def by_anyio(work: Cancellable) -> None:
    work.scope.cancel()


def by_asyncio(work: Cancellable) -> None:
    work.task.cancel()


@pytest.fixture(params=[by_anyio, by_asyncio])
def cancel(request: pytest.FixtureRequest) -> Canceller:
    canceller: Canceller = request.param
    return canceller


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    """A file that makes whoever opens it to read wait for who writes, and the other way round."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


async def test_a_cancelled_thread_is_waited_for(cancel: Canceller) -> None:
    """What it does is done when the cancellation is seen."""
    started, release, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        release.wait()
        done.set()

    running = Cancellable(lambda: in_thread(work))
    await asyncio.to_thread(started.wait)
    cancel(running)

    assert not await running.has_ended()
    release.set()
    await running.end()
    assert done.is_set()


async def test_asyncio_may_cancel_as_often_as_it_likes() -> None:
    """The second Ctrl-C does not let go of the thread, either."""
    started, release = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        release.wait()

    running = Cancellable(lambda: in_thread(work))
    await asyncio.to_thread(started.wait)
    for _ in range(3):
        running.task.cancel()
        assert not await running.has_ended()

    release.set()
    await running.end()


async def test_a_thread_that_fails_after_a_cancellation_is_not_reported_twice(cancel: Canceller) -> None:
    """asyncio's cancellation goes before the failure; anyio's comes later, so the failure is heard."""
    started, release = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        release.wait()
        raise OSError("disk")

    running = Cancellable(lambda: in_thread(work))
    await asyncio.to_thread(started.wait)
    cancel(running)
    release.set()

    (task,), _ = await asyncio.wait([running.task])
    assert task.cancelled() or isinstance(task.exception(), OSError)


async def test_a_file_that_is_opened_for_a_cancelled_task_is_closed(fifo: Path, cancel: Canceller) -> None:
    """The thread opens it all the same, and nobody else knows of it."""

    async def work() -> None:
        async with open_file(fifo, "rb") as file:
            await file.read(1)

    running = Cancellable(work)
    assert not await running.has_ended()
    cancel(running)
    assert not await running.has_ended()

    os.close(await asyncio.to_thread(os.open, fifo, os.O_WRONLY))
    await running.end()
    assert not open_below(fifo)


async def test_a_file_is_not_closed_under_a_read(fifo: Path, cancel: Canceller) -> None:
    """A cancelled read is waited for; then the handle goes, and with it the last that is open."""
    reading = anyio.Event()

    async def work() -> None:
        async with open_file(fifo, "rb") as file:
            reading.set()
            async for _ in read_pieces(fifo, file):
                pass

    running = Cancellable(work)
    writer = await asyncio.to_thread(os.open, fifo, os.O_WRONLY)
    await reading.wait()
    cancel(running)

    assert not await running.has_ended()
    assert len(open_below(fifo)) == 2
    os.close(writer)
    await running.end()
    assert not open_below(fifo)


async def test_reading_can_be_cancelled_between_pieces(tmp_path: Path) -> None:
    """Every call is shielded, and so there must be a place where a long file is left."""
    path = tmp_path / "file"
    path.write_bytes(bytes(3 << 20))
    read = 0

    with anyio.CancelScope() as scope:
        async with open_file(path, "rb") as file:
            async for piece in read_pieces(path, file):
                read += len(piece)
                scope.cancel()

    assert scope.cancelled_caught
    assert read == 1 << 20


async def test_a_file_that_is_not_there_is_an_error_of_ours(tmp_path: Path) -> None:
    """The operating system's own error is the cause, for those who want the details."""
    with pytest.raises(oci.StoreError, match="missing") as caught:
        async with open_file(tmp_path / "missing", "rb"):
            pass

    assert isinstance(caught.value.__cause__, FileNotFoundError)


async def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    """What is opened to write is new."""
    path = tmp_path / "file"
    path.write_bytes(b"old")

    with pytest.raises(oci.StoreError):
        async with open_file(path, "xb"):
            pass

    assert path.read_bytes() == b"old"
