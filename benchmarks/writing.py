"""Pushes to distribution v3, beside oras and crane: a large file, many small blobs; memory."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import oci_distribution as oci
from benchmarks.content import Blob, make_blob, scratch
from benchmarks.copying import timed
from benchmarks.reading import medians
from benchmarks.services import distribution, require

SIZE = 512 << 20
LARGE_LIMIT = 1.2
BLOBS = 500
SMALL_LIMIT = 1.0
SMALL, LARGE = 64 << 20, 1 << 30
GROWTH_LIMIT = 10 << 20
ROUNDS = 7

_numbers = count()


class Place:
    """A registry that loses its content before each push.

    Args:
        host: Its `host:port`.
        data: Where its content is.
    """

    def __init__(self, host: str, data: Path) -> None:
        self.host = host
        self.data = data

    def repository(self) -> str:
        """Return the name of a repository that is new, as all blobs are that come to it."""
        subprocess.run(["rm", "-rf", str(self.data)], check=True)
        return f"{self.host}/bench/app-{next(_numbers)}"


def write(way: str, place: Place, path: Path) -> tuple[float, int]:
    """Write in a new process, and return seconds and peak memory in bytes."""
    command = [sys.executable, "-m", "benchmarks.write_once", way, place.repository(), str(path)]
    result = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return result["seconds"], result["peak"]


def report(title: str, seconds: dict[str, float], limited: str, limit: float, reference: str) -> bool:
    """Print a table, and say whether the time of one way is within its limit."""
    print(title)
    for tool, took in seconds.items():
        note = f" (at most {limit})" if tool == limited else ""
        print(f"  {tool:<18} {took:6.2f} s   {took / seconds[reference]:5.2f} × {reference}{note}")
    return seconds[limited] <= limit * seconds[reference]


def compare_large(place: Place, blob: Blob, rounds: int) -> bool:
    """Push a large file in each way, and with oras."""
    oras = require("oras")
    measures: dict[str, Callable[[], float]] = {
        "oras": lambda: timed(oras, "blob", "push", "--plain-http", place.repository(), str(blob.path))
    }
    for way in ("push", "push_in_chunks", "write"):
        measures[way] = lambda way=way: write(way, place, blob.path)[0]  # type: ignore[misc] # bound
    seconds = medians(measures, rounds)
    return report(
        f"push of a file of {SIZE >> 20} MiB, median of {rounds}", seconds, "push", LARGE_LIMIT, "oras"
    )


async def make_image(path: Path) -> None:
    """Write a layout with an image of many small layers."""
    layout = oci.Layout(path)
    descriptors: list[oci.Descriptor] = []
    for number in range(BLOBS):
        data = os.urandom(2000) if number else b"{}"
        media_type = oci.MediaType.IMAGE_LAYER if number else oci.MediaType.IMAGE_CONFIG
        descriptors.append(oci.Descriptor(media_type=media_type, digest=oci.Digest.of(data), size=len(data)))
        await layout.push_blob(descriptors[-1], oci.BytesSource(data))
    config, *layers = descriptors
    manifest = oci.Manifest.of(oci.ImageManifest(config=config, layers=tuple(layers)))
    await layout.push_manifest(manifest, tags=["v1"])


def compare_small(place: Place, folder: Path, rounds: int) -> bool:
    """Push an image of many small blobs, and with oras and crane; the limit is the time of the faster one.

    The engine alone sends the same requests and checks nothing: what it takes is no longer ours to save.
    """
    oras, crane = require("oras"), require("crane")
    layout = folder / "layout"
    asyncio.run(make_image(layout))
    options = ("--from-oci-layout", "--to-plain-http", "--concurrency", "16", f"{layout}:v1")
    seconds = medians(
        {
            "oras": lambda: timed(oras, "cp", *options, f"{place.repository()}:v1"),
            "crane": lambda: timed(crane, "push", "--insecure", str(layout), f"{place.repository()}:v1"),
            "push_image": lambda: write("push_image", place, layout)[0],
            "aiohttp_alone": lambda: write("aiohttp_alone", place, layout)[0],
        },
        rounds,
    )
    title = f"push of {BLOBS} small blobs and their manifest, 16 at a time, median of {rounds}"
    return report(title, seconds, "push_image", SMALL_LIMIT, min("oras", "crane", key=seconds.__getitem__))


def compare_memory(place: Place, folder: Path) -> bool:
    """Push a small and a large file, print both peaks, and say whether the limit holds."""
    small, large = make_blob(folder / "small", SMALL), make_blob(folder / "large", LARGE)
    print(f"peak memory with a file of {SMALL >> 20} MiB, and what more it is with {LARGE >> 20} MiB")
    growths: list[int] = []
    for way in ("push", "push_in_chunks", "write"):
        less, more = (write(way, place, blob.path)[1] for blob in (small, large))
        growths.append(more - less)
        growth = f"{growths[-1] / (1 << 20):+6.1f} (less than {GROWTH_LIMIT >> 20})"
        print(f"  {way:<18} {less / (1 << 20):6.1f} MiB   {growth}")
    return max(growths) < GROWTH_LIMIT


def run(rounds: int = ROUNDS) -> bool:
    """Run the benchmark, print its tables, and say whether the limits hold."""
    with scratch() as folder, distribution(folder / "registry") as host:
        place = Place(host, folder / "registry" / "data")
        held = [
            compare_large(place, make_blob(folder / "blob", SIZE), rounds),
            compare_small(place, folder, rounds),
            compare_memory(place, folder),
        ]
    return all(held)
