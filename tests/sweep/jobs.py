"""The jobs that the sweeps disturb: each does one thing that users do, and says whether it was done whole."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import oci_distribution as oci
from oci_distribution.remote import blob_sources
from tests.sweep.world import (
    LISTED,
    LISTED_TAGS,
    SOURCE,
    TAG,
    Held,
    World,
    image,
    read_layout,
    read_registry,
)

__all__ = ["JOBS", "Believed", "Job"]

CHUNK = 60_000


@dataclass(frozen=True)
class Job:
    """One job.

    Args:
        name: What it is called in tables.
        run: Does it, with a client, in a world.
        result: Reads what it made, without the library.
    """

    name: str
    run: Callable[[oci.Client, World], Awaitable[object]]
    result: Callable[[World], Held]

    def shortcomings(self, world: World) -> list[str]:
        """Return what is missing in the result, or is not byte for byte what it must be."""
        wanted, made = image(), self.result(world)
        found = [f"{d} is missing" for d in wanted.content.keys() - made.content.keys()]
        found += [f"{d} differs" for d, data in made.content.items() if wanted.content.get(d) != data]
        return found if made.tags == wanted.tags else [*found, f"the tags are {made.tags}"]


async def _pull(client: oci.Client, world: World) -> None:
    source = client.registry(world.source.url).repository(SOURCE)
    await oci.copy(source, TAG, oci.Layout(world.target_layout))


async def _push(client: oci.Client, world: World) -> None:
    target = client.registry(world.target.url).repository(world.target_name)
    await oci.copy(oci.Layout(world.source_layout), TAG, target)


async def _copy(client: oci.Client, world: World) -> None:
    source = client.registry(world.source.url).repository(SOURCE)
    await oci.copy(source, TAG, client.registry(world.target.url).repository(world.target_name))


async def _mount(client: oci.Client, world: World) -> None:
    registry = client.registry(world.source.url)
    await oci.copy(registry.repository(SOURCE), TAG, registry.repository(world.target_name))


class Believed(Exception):
    """The registry said that there is nothing, which nobody can check."""


async def _read(client: oci.Client, world: World) -> None:
    """List tags on many pages, read a manifest by tag and by digest, and find referrers without an API."""
    repository = client.registry(world.source.url).repository(LISTED)
    async with aclosing(repository.tags.list(page_size=1)) as listed:
        tags = [tag async for tag in listed]
    assert tags[: len(LISTED_TAGS)] == list(LISTED_TAGS)
    manifest = await repository.manifests.get(tags[0])
    assert await repository.manifests.get(manifest.digest) == manifest
    assert await repository.manifests.get_if_changed(tags[1], manifest.digest) is None
    if not await repository.referrers.get(manifest.digest):
        raise Believed


async def _download(client: oci.Client, world: World) -> None:
    """Download every blob, some of them in parts over several connections, and keep what came."""
    repository = client.registry(world.source.url).repository(SOURCE)
    world.downloads.mkdir(exist_ok=True)
    with patch.object(blob_sources, "PART", 30_000):
        for number, (name, data) in enumerate(sorted(image().content.items())):
            if name not in image().manifests:
                digest = oci.Digest(name)
                blob = oci.Descriptor(media_type=oci.MediaType.OCTET_STREAM, digest=digest, size=len(data))
                target = world.downloads / digest.encoded
                await repository.blobs.download(blob, target, resume=True, connections=1 + 2 * (number % 2))


def _downloaded(world: World) -> Held:
    """Return the image with the blobs as they were downloaded; what is beside them is too much."""
    held, manifests = image(), {digest: image().content[digest] for digest in image().manifests}
    found = {f"sha256:{path.name}": path.read_bytes() for path in world.downloads.glob("*")}
    return Held(held.tags, held.manifests, manifests | found)


async def _write(client: oci.Client, world: World) -> None:
    """Push the blobs in every way that there is, and the manifests after them."""
    target = client.registry(world.target.url).repository(world.target_name)
    held = image()
    blobs = [
        world.source_layout / "blobs" / name.replace(":", "/")
        for name in held.content.keys() - held.manifests
    ]
    small, *_, one, two, three = sorted(blobs, key=lambda path: (path.stat().st_size, path.name))
    for path in blobs:
        if path not in {one, two, three}:
            await target.blobs.push(path.read_bytes() if path != small else path)
    await target.blobs.push(one, chunk_size=CHUNK)
    await _write_in_two_goes(target, two, world)
    with patch.dict(target.registry.learned.refused_sizes, whole=0):
        await target.blobs.push(three)
    for digest in [digest for digest in held.content if digest in held.manifests]:  # children come first
        tags = [tag for tag, root in held.tags.items() if root == digest]
        await target.manifests.push(oci.Manifest.parse(held.content[digest]), tags=tags)


async def _attach(client: oci.Client, world: World) -> None:
    """Push an artifact with a subject to a registry that keeps no list of referrers, under several tags."""
    target = client.registry(world.target.url).repository(world.target_name)
    config = await target.blobs.push(b"{}", media_type=oci.MediaType.EMPTY_JSON)
    subject = await target.manifests.push(oci.Manifest.of(oci.ImageManifest(config=config, layers=(config,))))
    for kind in ("text/a", "text/b"):
        artifact = oci.ImageManifest(artifact_type=kind, config=config, layers=(config,), subject=subject)
        await target.manifests.push(oci.Manifest.of(artifact), tags=[kind[5:], f"{kind[5:]}-too"])


def _attached(world: World) -> Held:
    """Return the image, if both artifacts are there, on the list and under their tags; else what is there."""
    made = read_registry(world.target, world.target_name)
    lists = [tag for tag in made.tags if tag.startswith("sha256-")]
    entries = [json.loads(made.content[made.tags[tag]])["manifests"] for tag in lists]
    kinds = [[entry["artifactType"] for entry in listed] for listed in entries]
    is_whole = kinds == [["text/a", "text/b"]] and made.tags.keys() >= {"a", "a-too", "b", "b-too"}
    return image() if is_whole else made


async def _write_in_two_goes(target: oci.Repository, path: Path, world: World) -> None:
    data = await asyncio.to_thread(path.read_bytes)  # anyio's threads are none that a clock that jumps knows
    if target.registry.learned.chunks is False:
        await target.blobs.push(path)  # where there are no chunks, nothing can be suspended
        return
    async with target.blobs.writer(chunk_size=CHUNK) as writer:
        await writer.write(data[: CHUNK + 1])
        session = await writer.suspend()
    try:
        async with target.blobs.resume(session, prefix=path) as writer:
            await writer.write(data[writer.size :])
            await writer.commit()
    except BaseException:
        # Who suspends an upload means to go on with it, and the library leaves it alone.
        for left in [left for left in world.target.app.uploads.values() if left.id in session.location]:
            left.close()
            del world.target.app.uploads[left.id]
        raise


JOBS = {
    job.name: job
    for job in (
        Job("pull", _pull, lambda world: read_layout(world.target_layout)),
        Job("push", _push, lambda world: read_registry(world.target, world.target_name)),
        Job("copy", _copy, lambda world: read_registry(world.target, world.target_name)),
        Job("mount", _mount, lambda world: read_registry(world.source, world.target_name)),
        Job("read", _read, lambda _: image()),
        Job("download", _download, _downloaded),
        Job("attach", _attach, _attached),
        Job("write", _write, lambda world: read_registry(world.target, world.target_name)),
    )
}
"""By name; `mount` is a copy within one registry."""
