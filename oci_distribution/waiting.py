"""Waiting for what nobody may let go of: a thread at work, a process that is being started.

A cancelled `await` leaves such work alone: it goes on writing, or opens what nobody will close. So it is
waited for, whoever cancels: anyio's scopes, or asyncio itself, whose `timeout` and `TaskGroup` do not mind
anyio's shields.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

__all__ = ["in_thread", "to_its_end"]

T = TypeVar("T")


async def to_its_end(work: Awaitable[T]) -> T:
    """Wait until `work` is done, whatever cancels us meanwhile; asyncio's own cancellation follows then.

    anyio's is not lost either: it comes at the next `await` that is not shielded.
    """
    future = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is None:
        return future.result()
    if not future.cancelled():
        future.exception()
    raise cancelled


async def in_thread(work: Callable[[], T]) -> T:
    """Call `work`, which touches the disk, in a thread, to its end."""
    return await to_its_end(asyncio.get_running_loop().run_in_executor(None, work))
