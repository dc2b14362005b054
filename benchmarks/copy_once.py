"""Copy one image in a process of its own, and print seconds and peak memory as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from time import perf_counter

import oci_distribution as oci


async def copy(source: str, target: str) -> float:
    """Copy, and return the seconds from the first request to the last answer."""
    async with oci.Client() as client:
        began = perf_counter()
        await oci.copy(*client.locate(source), *client.locate(target))
        return perf_counter() - began


def peak_memory(pid: int | None = None) -> int:
    """Return the most bytes that a process, or this one, held; `getrusage` counts its parent's, too."""
    file = Path(f"/proc/{pid or 'self'}/status")
    status = dict(line.split(":", 1) for line in file.read_text().splitlines())
    return int(status["VmHWM"].split()[0]) << 10


if __name__ == "__main__":
    seconds = asyncio.run(copy(*sys.argv[1:3]))
    print(json.dumps({"seconds": seconds, "peak": peak_memory()}))
