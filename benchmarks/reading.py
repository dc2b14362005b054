"""Verified downloads over TLS from nginx, beside curl, oras-py and python-dxf; connections; memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.content import Blob, scratch
from benchmarks.copying import timed
from benchmarks.nginx import REPOSITORY, SLOW, Nginx, nginx
from benchmarks.read_once import CONNECTIONS, OTHERS, OURS
from benchmarks.services import require

SIZE = 512 << 20
RATE_LIMIT = 0.6
SLOW_SIZE = 64 << 20
SLOW_RATE = 32 << 20
GAIN_LIMIT = 2.0
SMALL, LARGE = 64 << 20, 1 << 30
GROWTH_LIMIT = 10 << 20
ROUNDS = 7


class Reading(NamedTuple):
    """What reading a blob once took: seconds, and bytes of memory at the most."""

    seconds: float
    peak: int


def read(way: str, server: Nginx, repository: str, blob: Blob) -> Reading:
    """Read in a new process, into a file that is gone afterwards."""
    target = server.content / "read"
    job = (server.url, repository, blob.digest, blob.path.stat().st_size, target, server.authority)
    command = [sys.executable, "-m", "benchmarks.read_once", way, *map(str, job)]
    trusting = {**os.environ, "SSL_CERT_FILE": str(server.authority)}
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=trusting).stdout
    target.unlink(missing_ok=True)
    return Reading(**json.loads(printed))


def seconds_of(way: str, server: Nginx, repository: str, blob: Blob) -> float:
    """Read in a new process, and return the seconds."""
    return read(way, server, repository, blob).seconds


def curl(server: Nginx, blob: Blob) -> float:
    """Read with curl, which does not verify, and return the seconds."""
    target = server.content / "read"
    url = f"{server.url}/v2/{REPOSITORY}/blobs/{blob.digest}"
    options = ("--silent", "--show-error", "--fail", "--cacert", str(server.authority))
    seconds = timed(require("curl"), *options, "--output", str(target), url)
    target.unlink()
    return seconds


def medians(measures: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Measure all in turn, after a round that does not count, and return the median of each."""
    figures: dict[str, list[float]] = {name: [] for name in measures}
    for number in range(rounds + 1):
        for name, measure in measures.items():
            figure = measure()
            if number:
                figures[name].append(figure)
    return {name: median(values) for name, values in figures.items()}


def compare_speed(server: Nginx, rounds: int) -> bool:
    """Measure beside the other tools, print the table, and say whether the limit holds."""
    blob = server.add(REPOSITORY, SIZE)
    measures: dict[str, Callable[[], float]] = {"curl": partial(curl, server, blob)}
    for way in ("download", *OTHERS):
        measures[way] = partial(seconds_of, way, server, REPOSITORY, blob)
    seconds = medians(measures, rounds)
    blob.path.unlink()
    print(f"download of {SIZE >> 20} MiB over TLS from nginx to a file, median of {rounds}")
    for tool, took in seconds.items():
        ratio = f"{seconds['curl'] / took:5.2f} × curl's rate"
        print(f"  {tool:<18} {took:6.2f} s   {ratio}{f' (at least {RATE_LIMIT})' * (tool == 'download')}")
    return seconds["curl"] >= RATE_LIMIT * seconds["download"]


def compare_connections(server: Nginx, rounds: int) -> bool:
    """Measure one connection and several, print the gain, and say whether the limit holds."""
    blob = server.add(SLOW, SLOW_SIZE)
    ways = ("download", "download_parallel")
    seconds = medians({way: partial(seconds_of, way, server, SLOW, blob) for way in ways}, rounds)
    blob.path.unlink()
    one, several = seconds.values()
    print(f"download of {SLOW_SIZE >> 20} MiB at {SLOW_RATE >> 20} MiB/s a connection, median of {rounds}")
    print(f"  1 connection       {one:6.2f} s")
    gain = f"{one / several:5.2f} × one's rate (at least {GAIN_LIMIT:.0f})"
    print(f"  {CONNECTIONS} connections      {several:6.2f} s   {gain}")
    return one >= GAIN_LIMIT * several


def compare_memory(server: Nginx) -> bool:
    """Measure with a small and a large blob, print both, and say whether the limit holds."""
    small, large = server.add(REPOSITORY, SMALL), server.add(REPOSITORY, LARGE)
    print(f"peak memory with a blob of {SMALL >> 20} MiB, and what more it is with {LARGE >> 20} MiB")
    growths = []
    for way in OURS:
        less, more = (read(way, server, REPOSITORY, blob).peak for blob in (small, large))
        growths.append(more - less)
        growth = f"{growths[-1] / (1 << 20):+6.1f} (less than {GROWTH_LIMIT >> 20})"
        print(f"  {way:<18} {less / (1 << 20):6.1f} MiB   {growth}")
    return max(growths) < GROWTH_LIMIT


def run(rounds: int = ROUNDS) -> bool:
    """Run the benchmark, print its tables, and say whether the limits hold."""
    with scratch() as folder, nginx(Path(folder), SLOW_RATE) as server:
        held = [
            compare_speed(server, rounds),
            compare_connections(server, rounds),
            compare_memory(server),
        ]
    return all(held)
