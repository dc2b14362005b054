"""Read one blob from a registry in a process of its own, and print seconds and peak memory as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import oci_distribution as oci
from benchmarks.copy_once import peak_memory

CONNECTIONS = 4


class Job(NamedTuple):
    """What to read: all as text, since it comes by the command line."""

    registry: str
    repository: str
    digest: str
    size: str
    path: str
    authority: str


async def iterate(blobs: oci.Blobs, blob: oci.Descriptor, _: Path) -> None:
    """Read, and keep nothing."""
    async with blobs.open(blob) as reader:
        async for _piece in reader:
            pass


async def download(blobs: oci.Blobs, blob: oci.Descriptor, path: Path) -> None:
    """Read into a file."""
    await blobs.download(blob, path)


async def download_parallel(blobs: oci.Blobs, blob: oci.Descriptor, path: Path) -> None:
    """Read into a file, over several connections."""
    await blobs.download(blob, path, connections=CONNECTIONS)


async def read(way: Callable[[oci.Blobs, oci.Descriptor, Path], Awaitable[None]], job: Job) -> float:
    """Read with a client of ours, and return the seconds."""
    blob = oci.Descriptor(
        media_type=oci.MediaType.OCTET_STREAM, digest=oci.Digest(job.digest), size=int(job.size)
    )
    async with oci.Client() as client:
        blobs = client.repository(f"{job.registry}/{job.repository}").blobs
        began = perf_counter()
        await way(blobs, blob, Path(job.path))
        return perf_counter() - began


def oras(job: Job) -> float:
    """Read into a file with oras-py, which does not verify, and return the seconds."""
    host = job.registry.removeprefix("https://")
    registry = import_module("oras.provider").Registry(hostname=host, tls_verify=job.authority)
    container = registry.get_container(f"{host}/{job.repository}:v1")
    began = perf_counter()
    registry.download_blob(container, job.digest, job.path)
    return perf_counter() - began


def dxf(job: Job) -> float:
    """Read into a file with python-dxf, which verifies, and return the seconds."""
    host = job.registry.removeprefix("https://")
    repository = import_module("dxf").DXF(host, job.repository, tlsverify=job.authority)
    began = perf_counter()
    with Path(job.path).open("wb") as file:
        file.writelines(repository.pull_blob(job.digest))
    return perf_counter() - began


OURS = {way.__name__: way for way in (iterate, download, download_parallel)}
OTHERS = {"oras-py": oras, "python-dxf": dxf}


def main(way: str, job: Job) -> None:
    """Read, and print what it took."""
    seconds = asyncio.run(read(OURS[way], job)) if way in OURS else OTHERS[way](job)
    print(json.dumps({"seconds": seconds, "peak": peak_memory()}))


if __name__ == "__main__":
    main(sys.argv[1], Job(*sys.argv[2:]))
