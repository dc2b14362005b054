"""The embedded registry beside Debian's docker-registry with `curl` as the client; its start; its memory."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple
from urllib.parse import urljoin

import oci_distribution as oci
from benchmarks.content import Blob, make_blob, scratch
from benchmarks.copy_once import peak_memory
from benchmarks.services import debian_registry, embedded_registry, require
from benchmarks.small_requests import push_image

SIZE = 256 << 20
REQUESTS = 1000
TASKS = 32
ROUNDS = 7
PUSH_LIMIT = 0.6
PULL_LIMIT = 1.1
RATE_LIMIT = 4.0
START_LIMIT = 0.050
SMALL, LARGE = 64 << 20, 1 << 30
GROWTH_LIMIT = 10 << 20
NAME = "bench/curl"
OURS, THEIRS = "embedded", "docker-registry"


def curl(*arguments: str | Path) -> str:
    """Run curl, and return what it prints."""
    command = [require("curl"), "--silent", "--show-error", "--fail", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def push(host: str, blob: Blob) -> None:
    """Push a blob: POST, and one streamed PUT."""
    uploads = f"http://{host}/v2/{NAME}/blobs/uploads/"
    location = urljoin(uploads, curl("--request", "POST", "--write-out", "%header{location}", uploads))
    joint = "&" if "?" in location else "?"
    octets = "Content-Type: application/octet-stream"
    curl("--upload-file", blob.path, "--header", octets, f"{location}{joint}digest={blob.digest}")


def pull(host: str, blob: Blob) -> None:
    """Pull a blob."""
    curl("--output", os.devnull, f"http://{host}/v2/{NAME}/blobs/{blob.digest}")


def delete(host: str, blob: Blob) -> None:
    """Delete a blob, so that the next push is not of one that is there."""
    curl("--request", "DELETE", f"http://{host}/v2/{NAME}/blobs/{blob.digest}")


async def push_manifest(host: str) -> None:
    """Push what `get_manifests` reads."""
    async with oci.Client() as client:
        await push_image(client.repository(f"{host}/{NAME}"))


def get_manifests(host: str) -> None:
    """Read a manifest `REQUESTS` times, over `TASKS` connections."""
    # Registries ignore the query; curl makes a URL of each number.
    url = f"http://{host}/v2/{NAME}/manifests/v1?number=[1-{REQUESTS}]"
    accept = f"Accept: {oci.MediaType.IMAGE_MANIFEST}"
    parallel = ("--parallel", "--parallel-immediate", "--parallel-max", str(TASKS))
    curl(*parallel, "--header", accept, "--output", os.devnull, url)


class Seconds(NamedTuple):
    """What a round took."""

    push: float
    pull: float
    manifests: float


def measure(host: str, blob: Blob) -> Seconds:
    """Run one round against a registry."""
    began = perf_counter()
    push(host, blob)
    pushed = perf_counter()
    pull(host, blob)
    pulled = perf_counter()
    get_manifests(host)
    seconds = Seconds(pushed - began, pulled - pushed, perf_counter() - pulled)
    delete(host, blob)
    return seconds


def compare_speed(folder: Path, rounds: int) -> bool:
    """Measure both in turn, print the table, and say whether the limits hold."""
    blob = make_blob(folder / "blob", SIZE)
    figures: dict[str, list[Seconds]] = {OURS: [], THEIRS: []}
    with (
        embedded_registry("--storage", str(folder / "ours")) as ours,
        debian_registry(folder / "theirs") as theirs,
    ):
        hosts = {OURS: ours.host, THEIRS: theirs}
        for host in hosts.values():
            asyncio.run(push_manifest(host))
        for number in range(rounds + 1):
            for tool, host in hosts.items():
                seconds = measure(host, blob)
                if number:
                    figures[tool].append(seconds)
    mine, other = (Seconds(*map(median, zip(*figures[tool], strict=True))) for tool in (OURS, THEIRS))
    faster = other.manifests / mine.manifests
    print(f"embedded registry beside {THEIRS}, content in files, client curl, median of {rounds}")
    for what, ours_took, theirs_took, limit in (
        ("push", mine.push, other.push, PUSH_LIMIT),
        ("pull", mine.pull, other.pull, PULL_LIMIT),
    ):
        ratio = f"{ours_took / theirs_took:5.2f} × {THEIRS} (at most {limit})"
        print(f"  {what} of {SIZE >> 20} MiB    {ours_took:6.2f} s   {ratio}")
    rate = f"{REQUESTS / mine.manifests:6.0f} /s  {faster:5.2f} × {THEIRS} (at least {RATE_LIMIT:.0f})"
    print(f"  GETs at {TASKS} tasks   {rate}")
    return (
        mine.push <= PUSH_LIMIT * other.push and mine.pull <= PULL_LIMIT * other.pull and faster >= RATE_LIMIT
    )


def measure_start(rounds: int) -> bool:
    """Start it in new processes, print the seconds, and say whether the limit holds."""
    command = [sys.executable, "-m", "benchmarks.start_once"]
    starts = [float(subprocess.run(command, check=True, capture_output=True).stdout) for _ in range(rounds)]
    print(f"  start to answer    {median(starts) * 1e3:6.1f} ms (at most {START_LIMIT * 1e3:.0f})")
    return median(starts) <= START_LIMIT


def peak_of(folder: Path, size: int) -> int:
    """Push and pull one blob, and return the most bytes that the server's process held."""
    with embedded_registry("--storage", str(folder / f"of-{size}")) as registry:
        blob = make_blob(folder / "blob", size)
        push(registry.host, blob)
        pull(registry.host, blob)
        delete(registry.host, blob)
        return peak_memory(registry.pid)


def compare_memory(folder: Path) -> bool:
    """Measure with a small and a large blob, print both, and say whether the limit holds."""
    small, large = peak_of(folder, SMALL), peak_of(folder, LARGE)
    growth = f"{(large - small) / (1 << 20):+.1f} with {LARGE >> 20} MiB (less than {GROWTH_LIMIT >> 20})"
    print(f"  peak memory        {small / (1 << 20):6.1f} MiB with a blob of {SMALL >> 20} MiB, {growth}")
    return large - small < GROWTH_LIMIT


def run(rounds: int = ROUNDS) -> bool:
    """Run the benchmark, print its table, and say whether the limits hold."""
    with scratch() as folder:
        held = [compare_speed(folder, rounds), measure_start(rounds), compare_memory(folder)]
    return all(held)
