"""Run the benchmarks that are named, or all: `python -m benchmarks [copying] [writing]…`."""

from __future__ import annotations

import sys
from importlib import import_module

BENCHMARKS = ("copying", "small_requests", "reading", "writing", "embedded_registry")


def main(names: list[str]) -> int:
    """Run them, and return 1 when a limit does not hold."""
    held = [import_module(f"benchmarks.{name}").run() for name in names or BENCHMARKS]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
