"""The fault sweep: every request of a job, and everything that can go wrong with it.

A job is run once and its requests are noted. Then it is run again for each of them and each fault that
applies, and every run has to end as `expected` says, with nothing lost and nothing left behind.
"""

from __future__ import annotations

import asyncio
import random
import sys
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from operator import itemgetter

import oci_distribution as oci
from tests.sweep.clock import JumpingLoop
from tests.sweep.expected import COMPLETES, Rule, expectation
from tests.sweep.jobs import JOBS, Job
from tests.sweep.targets import SILENCE, Shot, aim, faults_at
from tests.sweep.world import World, inconsistencies, leaks, new_client, open_world

__all__ = ["Outcome", "failures", "fire_all", "problems", "summary", "sweep", "table"]

PATIENCE = 24 * 3600.0
"""Seconds of a clock that jumps, after which a job hangs."""
_BATCH = 20
"""Runs that a process makes in one event loop after another before it says how they ended."""


@dataclass
class Outcome:
    """How a run ended.

    Args:
        shot: What was done to it.
        ending: `COMPLETES`, or the name of the error.
        lost: What is wrong with the result, or is not as expected.
        leaked: What was left behind.
        hung: Where it stood when time was over.
    """

    shot: Shot
    ending: str = ""
    lost: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)


def fire_all(shots: Iterable[Shot], seed: int) -> list[Outcome]:
    """Make a run for each shot, one after the other, in an event loop of their own."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return [runner.run(_fire(shot, seed)) for shot in shots]


async def _fire(shot: Shot, seed: int) -> Outcome:
    job, outcome = JOBS[shot.job], Outcome(shot)
    async with open_world() as world, new_client() as client:
        registry = getattr(world, shot.target.side)
        fault = registry.faults.add(faults_at(shot.target, seed)[shot.fault])
        outcome.ending = await _run(job, outcome, client, world)
        if outcome.hung:
            return outcome
        if registry.faults.strikes(fault) != 1:
            outcome.lost.append("the fault did not strike")
        registry.faults.clear()
        await asyncio.sleep(2 * SILENCE)  # until silent servers have done what they were asked
        _judge(outcome, await leaks(world, client), inconsistencies(world))
        for registry in world.registries:
            registry.app.uploads.clear()
        again = await _run(job, outcome, client, world)
        if again != COMPLETES:
            outcome.lost.append(f"the job started again: {again}")
    return outcome


def _judge(outcome: Outcome, left: list[str], broken: list[str]) -> None:
    """Compare how a run ended with how it must end."""
    shot = outcome.shot
    expected = expectation(shot.target.label, shot.fault)
    if outcome.ending not in expected.endings:
        outcome.lost.append(f"it ended with {outcome.ending}, and not with {' or '.join(expected.endings)}")
    sessions = [what for what in left if "upload session" in what]
    allowed = sessions[:1] if expected.orphan else []
    outcome.leaked += [what for what in left if what not in allowed or left.count(what) > len(allowed)]
    outcome.lost += broken


async def _run(job: Job, outcome: Outcome, client: oci.Client, world: World) -> str:
    """Run the job, and return how it ended."""
    task = asyncio.ensure_future(job.run(client, world))
    await asyncio.wait({task}, timeout=PATIENCE)
    if not task.done():
        outcome.hung += [
            line.strip() for frame in task.get_stack() for line in traceback.format_stack(frame)[-1:]
        ]
        task.cancel()
        await asyncio.wait({task}, timeout=PATIENCE)
        return "hung"
    error = task.exception()
    if error is None:
        outcome.lost += job.shortcomings(world)
        return COMPLETES
    return " + ".join(sorted({type(cause).__name__ for cause in _causes(error)}))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Return what a fan-out failed of; an error that is none of ours stands for itself."""
    if isinstance(error, oci.CopyError):
        for cause in error.errors:
            yield from _causes(cause)
    else:
        yield error


def sweep(jobs: Iterable[str], seed: int, *, processes: int | None = None) -> list[Outcome]:
    """Do to some jobs everything that can be done to them.

    Args:
        jobs: Their names.
        seed: Chooses where bodies break, and the order.
        processes: How many run at once; as many as there are cores when None.
    """
    shots = [shot for job in jobs for shot in aim(job, seed)]
    random.Random(seed).shuffle(shots)
    outcomes: list[Outcome] = []
    told = 0
    with ProcessPoolExecutor(processes) as pool:
        batches = [shots[start : start + _BATCH] for start in range(0, len(shots), _BATCH)]
        for batch in as_completed([pool.submit(fire_all, batch, seed) for batch in batches]):
            outcomes += batch.result()
            if len(outcomes) - told >= len(shots) / 20:
                told = len(outcomes)
                print(f"sweep: {told} of {len(shots)} runs", file=sys.stderr)
    return outcomes


def table(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Yield a line for each kind of request and what its faults led to, with the reason."""
    rows: dict[tuple[str, Rule], list[Outcome]] = {}
    for outcome in outcomes:
        label = outcome.shot.target.label
        rows.setdefault((label, expectation(label, outcome.shot.fault)), []).append(outcome)
    before = ""
    for (label, rule), group in sorted(rows.items(), key=itemgetter(0)):
        if label != before:
            yield f"\n{label}"
        before = label
        endings = Counter(outcome.ending for outcome in group)
        yield f"    {', '.join(f'{ending} {count}' for ending, count in endings.most_common())}: {rule.reason}"
        yield f"        {', '.join(sorted({outcome.shot.fault for outcome in group}))}"


def problems(outcomes: Iterable[Outcome]) -> Iterator[str]:
    """Yield what is wrong, run by run."""
    for outcome in outcomes:
        for kind in ("lost", "leaked", "hung"):
            yield from (f"{kind}: {outcome.shot}: {what}" for what in getattr(outcome, kind))


def failures(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Yield why the sweep failed: something was wrong."""
    failed = sum(bool(outcome.lost or outcome.leaked or outcome.hung) for outcome in outcomes)
    if failed:
        yield f"faults failed: {failed} of {len(outcomes)} runs lost something, left something behind or hung"


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return how many runs ended how."""
    completed = sum(outcome.ending == COMPLETES for outcome in outcomes)
    lost, leaked, hung = (
        sum(bool(getattr(outcome, kind)) for outcome in outcomes) for kind in ("lost", "leaked", "hung")
    )
    errors = len(outcomes) - completed - hung
    counts = f"{completed} completed, {errors} typed errors, {lost} lost, {leaked} leaked, {hung} hung"
    return f"sweep: {len(outcomes)} runs, {counts}"
