"""`python -m tests.sweep`: everything that can go wrong, done to every job."""

from __future__ import annotations

import argparse
import sys

from tests.sweep import faults
from tests.sweep.jobs import JOBS


def main() -> int:
    """Sweep, print the table and, last, the sum; return 1 when something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.sweep", description=__doc__)
    parser.add_argument("--job", choices=JOBS, action="append", help="only this one (may be repeated)")
    parser.add_argument("--seed", type=int, default=1, help="where bodies break, and the order")
    options = parser.parse_args()
    outcomes = faults.sweep(options.job or JOBS, options.seed)
    for line in [*faults.table(outcomes), *faults.problems(outcomes)]:
        print(line)
    print(faults.summary(outcomes))
    return int(any(faults.problems(outcomes)))


if __name__ == "__main__":
    sys.exit(main())
