"""`python -m tests.sweep`: everything that can go wrong, done to every job."""

from __future__ import annotations

import argparse
import sys

from tests.sweep import cancellation, faults
from tests.sweep.attempts import ALL_JOBS
from tests.sweep.jobs import JOBS


def main() -> int:
    """Sweep, print the tables and, last of each, the sum; return 1 when something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.sweep", description=__doc__)
    parser.add_argument("--only", choices=["cancellation", "faults"], help="only this sweep")
    parser.add_argument("--job", choices=ALL_JOBS, action="append", help="only this one (may be repeated)")
    parser.add_argument("--seed", type=int, default=1, help="where bodies break, and the order")
    options = parser.parse_args()
    jobs = options.job or list(ALL_JOBS)
    is_right = True
    if options.only != "faults":
        is_right &= _sweep_cancellation(jobs)
    if options.only != "cancellation":
        is_right &= _sweep_faults([job for job in jobs if job in JOBS], options.seed)
    return int(not is_right)


def _sweep_cancellation(jobs: list[str]) -> bool:
    tally = cancellation.sweep(jobs)
    for line in [*cancellation.table(tally), *cancellation.problems(tally)]:
        print(line)
    print(cancellation.summary(tally))
    return cancellation.is_enough(tally)


def _sweep_faults(jobs: list[str], seed: int) -> bool:
    outcomes = faults.sweep(jobs, seed)
    for line in [*faults.table(outcomes), *faults.problems(outcomes)]:
        print(line)
    print(faults.summary(outcomes))
    return not any(faults.problems(outcomes))


if __name__ == "__main__":
    sys.exit(main())
