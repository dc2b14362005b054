"""One run of a job that is cancelled on its way, and what is wrong afterwards."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import sys
import warnings
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from contextlib import asynccontextmanager, contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, TypeAlias

import anyio

import oci_distribution as oci
from tests.sweep.jobs import JOBS, Job
from tests.sweep.more_jobs import MORE_JOBS
from tests.sweep.slow import SlowApp, SlowTransport
from tests.sweep.suspensions import Place, Watch, install, is_ours, place_of, watched
from tests.sweep.world import World, inconsistencies, leaks, new_client, open_world

__all__ = ["ALL_JOBS", "Aim", "How", "Outcome", "attempt_all"]

PATIENCE = 2.5
"""Seconds for a job of some 50 ms: less than any deadline of the package, so that running into one is found."""
MOMENT = 0.05
"""Seconds after which we look again; where the machine itself stood still for long, it was one such moment."""
STUCK = 60.0
"""Seconds after which an event loop that does not even go on is ended: longer than a machine stands still."""

TOO_MANY = 5
"""Hung runs after which no more are made: each takes its time, and they tell enough."""
ALL_JOBS = JOBS | MORE_JOBS

How: TypeAlias = Literal["task", "scope"]


class Aim(NamedTuple):
    """Where a job is cancelled: the k-th suspension, named so that runs which interleave otherwise find it, too.

    Args:
        job: Name of the job.
        places: Where a task of the job is suspended; of several the first that comes, and none for nowhere.
        before: How often one was suspended there before.
        how: By `Task.cancel` or by `CancelScope.cancel`, as asyncio's and anyio's users do.
        in_company: Whether the client does the same to another target meanwhile, which is not cancelled.
    """

    job: str
    places: frozenset[Place] = frozenset()
    before: int = 0
    how: How = "task"
    in_company: bool = False


@dataclass
class Outcome:
    """What a run did.

    Args:
        aim: Where it was to be cancelled.
        hit: Where it was; None when no task came by.
        seen: How often tasks were suspended where, before that.
        leaked: What was left behind.
        hung: Where tasks were when time was over.
        wrong: What else is not as it must be.
    """

    aim: Aim
    hit: Place | None = None
    seen: Counter[Place] = field(default_factory=Counter[Place])
    leaked: list[str] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        aim, company = self.aim, " in company" if self.aim.in_company else ""
        where = " < ".join(map(str, self.hit)) if self.hit else "outside of the package"
        return f"{aim.job}{company}, {aim.how} cancelled in suspension {aim.before + 1} at {where}"


def attempt_all(aims: Iterable[Aim]) -> list[Outcome]:
    """Make a run for each aim, one after the other, in an event loop of their own."""
    return asyncio.run(_attempt_all(aims))


async def _attempt_all(aims: Iterable[Aim]) -> list[Outcome]:
    install(asyncio.get_running_loop())
    gc.freeze()  # what is there already is not searched for garbage after every run
    outcomes: list[Outcome] = []
    try:
        for aim in aims:
            outcomes.append(await _attempt(aim))
            if sum(bool(outcome.hung) for outcome in outcomes) == TOO_MANY:
                break
        return outcomes
    finally:
        faulthandler.cancel_dump_traceback_later()


async def _attempt(aim: Aim) -> Outcome:
    # Where not even the event loop goes on, nobody else could tell.
    faulthandler.dump_traceback_later(STUCK, exit=True, file=sys.__stderr__ or sys.stderr)
    job, outcome = ALL_JOBS[aim.job], Outcome(aim)
    async with open_world(SlowApp) as world, new_client(SlowTransport) as client:
        with _complaints() as complaints:
            async with _company(job, outcome, client, world):
                await _disturbed(job, outcome, client, world)
            outcome.leaked += _open_generators()
            gc.collect()
        outcome.leaked += await leaks(world, client)
        outcome.wrong += complaints + inconsistencies(world)
        if not outcome.hung:
            await _undisturbed(job, outcome, client, world, "the run after it")
            outcome.leaked += [f"{what} by the run after it" for what in await leaks(world, client)]
    return outcome


@asynccontextmanager
async def _company(job: Job, outcome: Outcome, client: oci.Client, world: World) -> AsyncGenerator[None]:
    """Do the same to another target meanwhile, if the aim says so: nobody fails for another's cancel."""
    if not outcome.aim.in_company:
        yield
        return
    elsewhere = replace(world, target_name="team/elsewhere")
    company = asyncio.create_task(_undisturbed(job, outcome, client, elsewhere, "the run beside it"))
    yield
    await company


async def _disturbed(job: Job, outcome: Outcome, client: oci.Client, world: World) -> None:
    """Run the job, and cancel it where the aim says."""
    aim, loop = outcome.aim, asyncio.get_running_loop()
    scope = anyio.CancelScope()

    async def run() -> None:
        try:
            with scope:
                await job.run(client, world)
        finally:
            # Here, and not a turn later: whoever awaited the job goes on in this very moment.
            others = [other for other in watch.unfinished if other is not asyncio.current_task()]
            outcome.leaked += [f"the task {_standing(other)}" for other in others]

    def on_suspension(place: Place, before: int) -> None:
        if outcome.hit is not None:
            return
        outcome.seen[place] += 1
        if place in aim.places and before == aim.before:
            outcome.hit = place
            (task if aim.how == "task" else scope).cancel()

    watch, context = Watch(on_suspension), copy_context()
    context.run(watched.set, watch)
    task = loop.create_task(run(), context=context)
    if await _ends(task):
        outcome.wrong += _ending(job, outcome, task, scope, world)
    else:
        outcome.hung += [_standing(other) for other in watch.unfinished]
    await _end(watch)


def _ending(
    job: Job, outcome: Outcome, task: asyncio.Task[None], scope: anyio.CancelScope, world: World
) -> list[str]:
    """Return what is wrong with how the job ended: cancelled, or done, and then whole."""
    how = outcome.aim.how if outcome.hit is not None else "not"
    if task.cancelled():
        return [] if how == "task" else [f"cancelled, and was {how}"]
    error = task.exception()
    if error is not None:
        return [f"raised {error!r}"]
    if scope.cancelled_caught:
        return []
    # A scope's cancellation may come after the last point where it could be felt; a task's never does.
    return ["the cancellation was swallowed"] if how == "task" else job.shortcomings(world)


async def _undisturbed(job: Job, outcome: Outcome, client: oci.Client, world: World, which: str) -> None:
    """Run the job with the same client, to its end."""
    task = asyncio.ensure_future(job.run(client, world))
    if not await _ends(task):
        outcome.hung.append(f"{which}: {_standing(task)}")
        task.cancel()
        await _ends(task)
    elif task.cancelled():
        outcome.wrong.append(f"{which} was cancelled")
    elif (error := task.exception()) is not None:
        outcome.wrong.append(f"{which} raised {error!r}")
    else:
        outcome.wrong += [f"{what} after {which}" for what in job.shortcomings(world)]


async def _ends(task: asyncio.Task[Any]) -> bool:
    """Wait until a task is done, and say so; False when our patience ends before."""
    for _ in range(round(PATIENCE / MOMENT)):
        await asyncio.wait({task}, timeout=MOMENT)
        if task.done():
            break
    return task.done()


async def _end(watch: Watch) -> None:
    """End what is left, so that the next run starts from nothing."""
    for _ in range(10):
        for task in watch.unfinished:
            task.cancel()
        if watch.unfinished:
            await asyncio.wait(watch.unfinished, timeout=PATIENCE / 10)


def _open_generators() -> list[str]:
    """Return the package's generators that nobody closed: the collector would, some time, in a task of its own."""
    loop: Any = asyncio.get_running_loop()
    still_open = [found for found in loop._asyncgens if found.ag_frame is not None]
    return [f"{found!r}" for found in still_open if is_ours(found.ag_code.co_filename)]


def _standing(task: asyncio.Task[Any]) -> str:
    coroutine = task.get_coro()
    name = getattr(coroutine, "__qualname__", repr(coroutine))
    return f"the task {name} at {' < '.join(map(str, place_of(coroutine)))}"


@contextmanager
def _complaints() -> Generator[list[str]]:
    """Collect what Python and asyncio only log: exceptions that nobody got, coroutines that nobody awaited."""
    found: list[str] = []
    loop = asyncio.get_running_loop()
    before: Callable[[Any], object] = sys.unraisablehook
    loop.set_exception_handler(lambda _, context: found.append(f"asyncio says: {context}"))
    sys.unraisablehook = lambda unraisable: found.append(f"unraisable: {unraisable.exc_value!r}")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield found
        found += [f"warned: {warning.message}" for warning in caught]
    finally:
        sys.unraisablehook = before
        loop.set_exception_handler(None)
