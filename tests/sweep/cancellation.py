"""The cancellation sweep: cancel every job wherever one of its tasks is suspended, and look what is left.

First each job runs undisturbed, and all suspensions of its tasks are counted. Then it runs again for each, and
is cancelled there. Afterwards there must be no task, no open generator, no connection and no slot in use, no
upload session, no temporary file and no open one, nothing that points at something missing; and the same
client must do the same job, whole.

A line is reached when a task was suspended at it: where an `await` goes on at once, nobody can be cancelled.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import TypeAlias

from tests.sweep.attempts import Aim, How, Outcome, attempt_all
from tests.sweep.jobs import JOBS
from tests.sweep.suspensions import Line, Place, await_lines

__all__ = ["Tally", "failures", "plan", "problems", "summary", "sweep", "table"]

ENOUGH = 0.95
"""Part of the reached lines that must have been cancelled at."""
RECORDINGS = 3
"""Undisturbed runs of a job: they do not interleave alike, as files are read in threads."""
ROUNDS, ROUND = 5, 10
"""How often, and with how many runs, we look for places that a job was seen at, and not cancelled."""

_HOWS: tuple[How, How] = ("task", "scope")
_KINDS = ("wrong", "leaked", "hung")

Runner: TypeAlias = Callable[[list[Aim]], Iterable[Outcome]]


@dataclass
class Tally:
    """What the runs came to, by job.

    Args:
        runs: How many there were.
        seen: How often tasks were suspended where.
        hit: Where it was cancelled.
        failed: Runs after which not everything was as it must be.
    """

    runs: Counter[str] = field(default_factory=Counter[str])
    seen: dict[str, Counter[Place]] = field(default_factory=dict[str, Counter[Place]])
    hit: dict[str, set[Place]] = field(default_factory=dict[str, set[Place]])
    failed: list[Outcome] = field(default_factory=list)

    def add(self, job: str, outcomes: Iterable[Outcome]) -> None:
        """Count runs of a job."""
        seen, hit = self.seen.setdefault(job, Counter()), self.hit.setdefault(job, set())
        for outcome in outcomes:
            self.runs[job] += 1
            seen |= outcome.seen  # the larger number of each
            if outcome.hit is not None:
                hit.add(outcome.hit)
            if outcome.wrong or outcome.leaked or outcome.hung:
                self.failed.append(outcome)

    def missed(self, job: str) -> frozenset[Place]:
        """Return where the job was suspended, and never cancelled."""
        return frozenset(self.seen[job].keys() - self.hit[job])

    @property
    def reached(self) -> set[Line]:
        """The lines of the package where tasks were suspended."""
        return {line for places in self.seen.values() for place in places for line in place}

    @property
    def cancelled_at(self) -> set[Line]:
        """Those of them where a job was cancelled."""
        return {line for places in self.hit.values() for place in places for line in place}


def plan(job: str, seen: Mapping[Place, int]) -> list[Aim]:
    """Return an aim for every suspension, in both ways for the first at each place."""
    aims: list[Aim] = []
    for place, count in sorted(seen.items()):
        for before in range(count):
            aims.append(Aim(job, frozenset([place]), before, _HOWS[len(aims) % 2]))
        first = aims[-count]
        aims.append(first._replace(how=_HOWS[first.how == "task"], in_company=job in JOBS))
    return aims


def sweep(jobs: Iterable[str], *, processes: int = 2) -> Tally:
    """Cancel some jobs at every point.

    Args:
        jobs: Their names.
        processes: How many run at once.
    """
    tally = Tally()
    # Nothing of this process goes along, such as a lock that another thread holds.
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:

        def run(aims: list[Aim]) -> Iterator[Outcome]:
            for part in pool.map(attempt_all, [aims[number::processes] for number in range(processes)]):
                yield from part

        for job in jobs:
            _sweep_job(job, tally, run)
            print(f"cancellation: {job}, {tally.runs[job]} runs", file=sys.stderr)
    return tally


def _sweep_job(job: str, tally: Tally, run: Runner) -> None:
    tally.add(job, run([Aim(job)] * RECORDINGS))
    tally.add(job, run(plan(job, tally.seen[job])))
    for _ in range(ROUNDS):
        missed = tally.missed(job)
        if not missed or tally.failed:
            break
        # Some places are only seen when others want the same.
        aims = [Aim(job, missed, how=how, in_company=some) for how in _HOWS for some in {job in JOBS, False}]
        tally.add(job, run((aims * ROUND)[:ROUND]))


def table(tally: Tally) -> Iterator[str]:
    """Yield a line for each job, and for each place that it could not be cancelled at."""
    for job, seen in tally.seen.items():
        suspensions = f"{seen.total():4} suspensions at {len(seen):3} places"
        yield f"{job:10} {suspensions}, {len(tally.hit[job]):3} of them cancelled at"
        yield from (f"    too rare: {' < '.join(map(str, place))}" for place in sorted(tally.missed(job)))
    yield f"of {len(await_lines())} lines with an await, {len(tally.reached)} were reached"


def problems(tally: Tally) -> Iterator[str]:
    """Yield what is wrong, run by run."""
    for outcome in tally.failed:
        for kind in _KINDS:
            yield from (f"{kind}: {outcome}: {what}" for what in getattr(outcome, kind))
    yield from (f"not cancelled at: {line}" for line in sorted(tally.reached - tally.cancelled_at))


def failures(tally: Tally) -> Iterator[str]:
    """Yield why the sweep failed: something was wrong, or too little of what was reached was cancelled at."""
    if tally.failed:
        yield f"cancellation failed: {len(tally.failed)} of {tally.runs.total()} runs left something wrong"
    hit, reached = len(tally.cancelled_at), len(tally.reached)
    if hit < ENOUGH * reached or not reached:
        yield f"cancellation failed: {hit} of {reached} awaits were cancelled at, and {ENOUGH:.0%} must be"


def summary(tally: Tally) -> str:
    """Return how many runs ended how."""
    hit, reached = len(tally.cancelled_at), len(tally.reached)
    awaits = f"{hit} awaits of {reached} reached ({hit * 100 // max(reached, 1)} %)"
    counts = [(sum(bool(getattr(outcome, kind)) for outcome in tally.failed), kind) for kind in _KINDS]
    ends = ", ".join(f"{count} {kind}" for count, kind in counts)
    return f"cancellation: {tally.runs.total()} runs, {awaits}, {ends}"
