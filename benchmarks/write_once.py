"""Write to a registry in a process of its own, and print seconds and peak memory as JSON."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter

import aiohttp
import anyio
import yarl

import oci_distribution as oci
from benchmarks.copy_once import peak_memory

CHUNK = 8 << 20
TASKS = 16


async def push(repository: oci.Repository, path: Path) -> None:
    """Push a file, hashed first."""
    await repository.blobs.push(path)


async def push_in_chunks(repository: oci.Repository, path: Path) -> None:
    """Push a file in chunks."""
    await repository.blobs.push(path, chunk_size=CHUNK)


async def write(repository: oci.Repository, path: Path) -> None:
    """Write a file piece by piece, hashed on the way."""
    async with repository.blobs.writer(chunk_size=CHUNK) as writer, await anyio.open_file(path, "rb") as file:
        while piece := await file.read(1 << 20):
            await writer.write(piece)
        await writer.commit()


async def push_image(repository: oci.Repository, path: Path) -> None:
    """Push the image of a layout, several blobs at a time."""
    layout = oci.Layout(path)
    manifest = await layout.fetch_manifest("v1")
    left = iter(manifest.children)

    async def worker() -> None:
        for blob in left:
            await repository.blobs.push(path / "blobs" / blob.digest.algorithm / blob.digest.encoded)

    async with anyio.create_task_group() as tasks:
        for _ in range(TASKS):
            tasks.start_soon(worker)
    await repository.manifests.push(manifest, tags=["v1"])


async def aiohttp_alone(repository: oci.Repository, path: Path) -> None:
    """Send the same requests with the engine under us alone, which checks nothing: what the engine costs."""
    manifest = await oci.Layout(path).fetch_manifest("v1")
    left = iter(manifest.children)
    root = f"{repository.registry.host.origin}/v2/{repository.name}"

    async def worker(session: aiohttp.ClientSession) -> None:
        for blob in left:
            data = (path / "blobs" / blob.digest.algorithm / blob.digest.encoded).read_bytes()
            digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
            async with session.post(f"{root}/blobs/uploads/") as response:
                target = yarl.URL(f"{response.headers['Location']}&digest={digest}", encoded=True)
            async with session.put(target, data=data) as response:
                assert response.status == 201

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session, anyio.create_task_group() as tasks:
        for _ in range(TASKS):
            tasks.start_soon(worker, session)


WAYS: dict[str, Callable[[oci.Repository, Path], Awaitable[None]]] = {
    way.__name__: way for way in (push, push_in_chunks, write, push_image, aiohttp_alone)
}


async def run(way: str, name: str, path: Path) -> float:
    """Write, and return the seconds."""
    async with oci.Client() as client:
        repository = client.repository(name)
        began = perf_counter()
        await WAYS[way](repository, path)
        return perf_counter() - began


if __name__ == "__main__":
    seconds = asyncio.run(run(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
    print(json.dumps({"seconds": seconds, "peak": peak_memory()}))
