"""`python -m tests.sweep`: everything that can go wrong, done to every job."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from typing import NamedTuple

from tests.sweep import cancellation, faults
from tests.sweep.attempts import ALL_JOBS
from tests.sweep.jobs import JOBS


class Report(NamedTuple):
    """What a sweep found.

    Args:
        table: What it did.
        problems: What is wrong, run by run.
        failures: Why the sweep failed; nothing when it did not.
        summary: The sum of it.
    """

    table: Iterable[str]
    problems: Iterable[str]
    failures: Iterable[str]
    summary: str


def main() -> int:
    """Sweep, print tables first and what matters last; return 1 when something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.sweep", description=__doc__)
    parser.add_argument("--only", choices=["cancellation", "faults"], help="only this sweep")
    parser.add_argument("--job", choices=ALL_JOBS, action="append", help="only this one (may be repeated)")
    parser.add_argument("--seed", type=int, default=1, help="where bodies break, and the order")
    options = parser.parse_args()
    jobs = options.job or list(ALL_JOBS)
    reports: list[Report] = []
    if options.only != "faults":
        reports.append(_sweep_cancellation(jobs))
    if options.only != "cancellation":
        reports.append(_sweep_faults([job for job in jobs if job in JOBS], options.seed))
    failures = show(reports)
    return int(failures > 0)


def show(reports: Iterable[Report]) -> int:
    """Print reports, so that the end of a long log says it all; return how many failures there were."""
    reports = list(reports)
    failures = [failure for report in reports for failure in report.failures]
    for report in reports:
        _print(report.table)
    for report in reports:
        _print(report.problems)
    _print(failures)
    _print(report.summary for report in reports)
    return len(failures)


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)


def _sweep_cancellation(jobs: list[str]) -> Report:
    tally = cancellation.sweep(jobs)
    return Report(
        cancellation.table(tally),
        cancellation.problems(tally),
        cancellation.failures(tally),
        cancellation.summary(tally),
    )


def _sweep_faults(jobs: list[str], seed: int) -> Report:
    outcomes = faults.sweep(jobs, seed)
    return Report(
        faults.table(outcomes), faults.problems(outcomes), faults.failures(outcomes), faults.summary(outcomes)
    )


if __name__ == "__main__":
    sys.exit(main())
