"""Copy a 256 MiB image of four layers between two distribution v3 registries, beside `crane` and `oras`."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import oci_distribution as oci
from benchmarks.services import distribution, require

SIZE = 256 << 20
LAYERS = 4
MEMORY_LIMIT = 120 << 20
RATIO_LIMIT = 1.5
ROUNDS = 7


async def push_image(registry: str) -> str:
    """Push the image that everybody copies, and return its reference."""
    async with oci.Client() as client:
        repository = client.repository(f"{registry}/bench/image")
        layers = [await repository.blobs.push(os.urandom(SIZE // LAYERS)) for _ in range(LAYERS)]
        config = await repository.blobs.push(b"{}", media_type=oci.MediaType.IMAGE_CONFIG)
        manifest = oci.Manifest.of(oci.ImageManifest(config=config, layers=tuple(layers)))
        await repository.manifests.push(manifest, tags=["v1"])
    return f"{registry}/bench/image:v1"


def timed(*command: str) -> float:
    """Run a command, and return its seconds."""
    began = perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return perf_counter() - began


def run(rounds: int = ROUNDS) -> bool:
    """Run the benchmark, print its table, and say whether the limits hold."""
    crane, oras = require("crane"), require("oras")
    peaks: list[int] = []

    def ours(source: str, target: str) -> float:
        command = [sys.executable, "-m", "benchmarks.copy_once", source, target]
        result = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        peaks.append(result["peak"])
        return float(result["seconds"])

    tools: dict[str, Callable[[str, str], float]] = {
        "oci-distribution": ours,
        "crane": lambda source, target: timed(crane, "copy", "--insecure", source, target),
        "oras": lambda source, target: timed(
            oras, "cp", "--from-plain-http", "--to-plain-http", source, target
        ),
    }
    seconds: dict[str, list[float]] = {tool: [] for tool in tools}
    with tempfile.TemporaryDirectory(prefix="oci-bench-") as name:
        folder = Path(name)
        with distribution(folder / "one") as one, distribution(folder / "two") as two:
            source = asyncio.run(push_image(one))
            for number in range(rounds + 1):
                for tool, copy in tools.items():
                    # Everybody gets a repository of its own, in a registry that lost the content again.
                    subprocess.run(["rm", "-rf", str(folder / "two" / "data")], check=True)
                    took = copy(source, f"{two}/bench/{tool}-{number}:v1")
                    if number:
                        seconds[tool].append(took)
    reference = median(seconds["crane"])
    print(f"copy of {SIZE >> 20} MiB in {LAYERS} layers, registry to registry, median of {rounds}")
    for tool, values in seconds.items():
        print(f"  {tool:<18} {median(values):6.2f} s   {median(values) / reference:5.2f} × crane")
    print(f"  peak memory        {max(peaks) / (1 << 20):6.0f} MiB (limit {MEMORY_LIMIT >> 20})")
    return median(seconds["oci-distribution"]) <= RATIO_LIMIT * reference and max(peaks) <= MEMORY_LIMIT
