"""Jobs to be cancelled, besides those of `jobs`: what users do by hand, and what goes on when things go wrong."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace

import oci_distribution as oci
from oci_distribution.testing import Fault
from tests.sweep.jobs import JOBS, Job
from tests.sweep.world import World, image

__all__ = ["MORE_JOBS"]

NOWHERE = f"sha256:{'0' * 64}"


async def _by_hand(client: oci.Client, world: World) -> None:
    """Push what is in the layout file by file, children first, and read it back."""
    target = client.registry(world.target.url).repository(world.target_name)
    held = image()
    for digest in held.content:
        pushed = await target.blobs.push(world.source_layout / "blobs" / digest.replace(":", "/"))
        assert pushed.digest == digest
        if digest in held.manifests:
            manifest = oci.Manifest.parse(held.content[digest])
            tags = [tag for tag, root in held.tags.items() if root == digest]
            await target.manifests.push(manifest, tags=tags)
    async with aclosing(target.tags.list(page_size=1)) as listed:
        async for tag in listed:
            assert (await target.manifests.get(tag)).digest == (await target.manifests.stat(tag)).digest
    for digest, data in held.content.items():
        assert (await target.blobs.stat(digest)).size == len(data)
        assert await target.blobs.read(digest) == data


def _troubled(name: str) -> Job:
    """Return a job in whose world something goes wrong at every kind of request, so that it is done again."""
    job = JOBS[name]

    async def run(client: oci.Client, world: World) -> None:
        for registry in world.registries:
            for fault in _faults(registry.url, world.target_name):
                if fault not in registry.faults:
                    registry.faults.add(fault)
        await job.run(client, world)

    return replace(job, name=f"rough {name}", run=run)


def _faults(url: str, name: str) -> list[Fault]:
    here = f"/v2/{name}/blobs/"
    return [
        Fault(method="GET", path="/token", nth=1, status=503),
        Fault(method="GET", path="*/manifests/*", nth=1, status=502),
        Fault(method="HEAD", path="*/manifests/*", nth=1, reset=True),
        Fault(method="PUT", path="*/manifests/*", nth=1, answer_lost=True),
        Fault(method="HEAD", path=f"{here}*", nth=1, redirect=f"{url}{here}{NOWHERE}"),
        Fault(method="GET", path="*/blobs/*", nth=1, reset_answer_after=100_000),
        Fault(method="GET", path="*/blobs/*", nth=3, status=429, retry_after=1.0),
        Fault(method="POST", path="*/blobs/uploads/*", nth=1, status=429, retry_after=1.0),
        Fault(method="PUT", path="*/blobs/uploads/*", nth=1, status=503),
        Fault(method="PUT", path="*/blobs/uploads/*", nth=3, reset_after=1000),
    ]


MORE_JOBS = {
    job.name: job
    for job in (
        Job("by hand", _by_hand, JOBS["push"].result),
        _troubled("copy"),
        _troubled("pull"),
    )
}
"""By name."""
