"""An event loop that waits for nothing: when nobody can do anything, its clock jumps to the next timer.

Client and servers of a sweep live in one loop, on loopback: where nothing is readable or writable, and no
thread is at work, nothing will happen before the next timer. So a timeout of a minute costs no time, and
every timeout of the package and of the libraries below it is the real one.

Threads are those of the loop's own executor: what anyio's do is not seen, and would be jumped over.
"""

from __future__ import annotations

import asyncio
import selectors
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple, Unpack

__all__ = ["JumpingLoop"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_GRACE = 0.001
"""Seconds of real time that the kernel gets to move bytes from one socket to the other."""
_DEADLOCK = 5.0
"""Seconds of real time without any timer, socket or thread, after which nothing will ever happen."""


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop with a clock that jumps."""

    def __init__(self) -> None:
        self.skipped = 0.0
        self.working = 0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        """Return the time, with what was jumped over."""
        return super().time() + self.skipped

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run something in a thread, and do not jump meanwhile."""
        future = super().run_in_executor(executor, func, *args)
        self.working += 1
        future.add_done_callback(self._done)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait until the threads have ended, which is their own time, too."""
        self.working += 1
        try:
            if sys.version_info >= (3, 12):
                await super().shutdown_default_executor(timeout)
            else:
                await super().shutdown_default_executor()
        finally:
            self.working -= 1

    def _done(self, _: object) -> None:
        self.working -= 1


class _Jumping(selectors.BaseSelector):
    """A selector that does not wait."""

    def __init__(self, loop: JumpingLoop) -> None:
        self._loop = loop
        self._real = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if self._loop.working:
            return self._real.select(timeout)
        ready = self._real.select(_GRACE)
        if ready:
            return ready
        if timeout is None:
            return self._real.select(_DEADLOCK)
        self._loop.skipped += timeout
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()
