"""Where tasks are suspended: a task factory that tells, and the `await` lines of the package.

A place is the lines of the package in which a task waits, from the outside in: `copy.py:75 < engine.py:126`.
Only tasks of the watched job count: those whose context has the watch, which tasks inherit from who starts them.
(From Python 3.12 on, aiohttp starts its sending task past every factory; its places are not seen there.)
"""

from __future__ import annotations

import ast
import asyncio
import gc
import inspect
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from contextvars import Context, ContextVar
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, TypeAlias

import oci_distribution

__all__ = ["Line", "Place", "Watch", "await_lines", "install", "is_ours", "place_of", "watched"]

PACKAGE = Path(oci_distribution.__file__).parent
SERVER = PACKAGE / "testing"


class Line(NamedTuple):
    """A line of the package."""

    path: str
    number: int

    def __str__(self) -> str:
        return f"{self.path}:{self.number}"


Place: TypeAlias = tuple[Line, ...]


class Watch:
    """Counts the suspensions of one job's tasks by place.

    Args:
        on_suspension: Called at each, with the place and how often a task was suspended there before.
    """

    def __init__(self, on_suspension: Callable[[Place, int], None] = lambda place, before: None) -> None:
        self.seen: Counter[Place] = Counter()
        self.tasks: set[asyncio.Task[Any]] = set()
        self._on_suspension = on_suspension

    def suspended(self, coroutine: object) -> None:
        """Note that a task has just been suspended."""
        place = place_of(coroutine)
        self.seen[place] += 1
        self._on_suspension(place, self.seen[place] - 1)

    @property
    def unfinished(self) -> list[asyncio.Task[Any]]:
        """The tasks that are not done."""
        return [task for task in self.tasks if not task.done()]


watched: ContextVar[Watch | None] = ContextVar("watched", default=None)


def install(loop: asyncio.AbstractEventLoop) -> None:
    """Let the loop make tasks that tell the watch of their context."""

    def factory(
        loop: asyncio.AbstractEventLoop,
        coroutine: Any,
        *,
        context: Context | None = None,
        **options: Any,
    ) -> asyncio.Task[Any]:
        watch = watched.get() if context is None else context.get(watched)
        if watch is None:
            return asyncio.Task(coroutine, loop=loop, context=context, **options)
        told = _Told(coroutine, watch)
        task: asyncio.Task[Any] = asyncio.Task(told, loop=loop, context=context, **options)
        watch.tasks.add(task)
        return task

    loop.set_task_factory(factory)


class _Told(Coroutine[Any, Any, Any]):
    """A coroutine that tells a watch whenever it is suspended, and is else the one that it wraps."""

    def __init__(self, wrapped: Any, watch: Watch) -> None:
        self.wrapped = wrapped
        self._watch = watch

    def send(self, value: Any, /) -> Any:
        awaited = self.wrapped.send(value)
        self._watch.suspended(self.wrapped)
        return awaited

    def throw(self, *error: Any) -> Any:
        awaited = self.wrapped.throw(*error)
        self._watch.suspended(self.wrapped)
        return awaited

    def close(self) -> None:
        self.wrapped.close()

    def __await__(self) -> Generator[Any, None, Any]:
        generator: Generator[Any, None, Any] = self.wrapped.__await__()
        return generator

    def __getattr__(self, name: str) -> Any:
        return getattr(self.wrapped, name)  # `cr_frame` and its like, by which anyio knows its state


def place_of(coroutine: object) -> Place:
    """Return the lines of the package in which a suspended coroutine waits."""
    lines = [_line(frame) for frame in _frames(coroutine)]
    return tuple(line for line in lines if line is not None)


def _frames(waiting: object) -> Iterator[FrameType]:
    """Follow what a coroutine waits for, to where nobody knows any more (a future, or code in C)."""
    while waiting is not None:
        if isinstance(waiting, _Told):
            waiting = waiting.wrapped
        if inspect.iscoroutine(waiting):
            frame, inner = waiting.cr_frame, waiting.cr_await
        elif inspect.isasyncgen(waiting):
            frame, inner = waiting.ag_frame, waiting.ag_await
        elif inspect.isgenerator(waiting):
            frame, inner = waiting.gi_frame, waiting.gi_yieldfrom
        else:
            frame, inner = None, _behind(waiting)
        if frame is not None:
            yield frame
        waiting = inner


def _behind(waiting: object) -> object:
    """Return the generator behind `asend()` and the like, which do not tell whom they drive."""
    if type(waiting).__name__ not in {
        "async_generator_asend",
        "async_generator_athrow",
        "coroutine_wrapper",
        "anext_awaitable",
    }:
        return None
    is_driven = (AsyncGenerator, Coroutine)
    return next((found for found in gc.get_referents(waiting) if isinstance(found, is_driven)), None)


def _line(frame: FrameType) -> Line | None:
    path = frame.f_code.co_filename
    return _await_at(path, frame.f_lineno) if is_ours(path) else None


@cache
def is_ours(path: str) -> bool:
    return Path(path).is_relative_to(PACKAGE) and not Path(path).is_relative_to(SERVER)


@cache
def _await_at(path: str, number: int) -> Line:
    """Return the line where the `await` begins in which a frame stands."""
    starts = [start for start, end in _awaits(Path(path)) if start <= number <= end]
    return Line(_relative(Path(path)), max(starts, default=number))


@cache
def await_lines() -> frozenset[Line]:
    """Return where the package can be suspended: its `await`, `async for` and `async with` lines."""
    files = [path for path in PACKAGE.rglob("*.py") if is_ours(str(path))]
    return frozenset(Line(_relative(path), start) for path in files for start, _ in _awaits(path))


def _relative(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@cache
def _awaits(path: Path) -> list[tuple[int, int]]:
    """Return the first and last line of each `await`, and of the heads of `async for` and `async with`."""
    found: list[tuple[int, int]] = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Await):
            found.append((node.lineno, node.end_lineno or node.lineno))
        elif isinstance(node, ast.AsyncFor | ast.AsyncWith):
            found.append((node.lineno, max(node.lineno, node.body[0].lineno - 1)))
        elif isinstance(node, ast.comprehension) and node.is_async:
            found.append((node.target.lineno, node.iter.end_lineno or node.iter.lineno))
    return found
