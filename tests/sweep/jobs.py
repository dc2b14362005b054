"""The jobs that the sweeps disturb: each does one thing that users do, and says whether it was done whole."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import oci_distribution as oci
from tests.sweep.world import SOURCE, TAG, Held, World, image, read_layout, read_registry

__all__ = ["JOBS", "Job"]


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


JOBS = {
    job.name: job
    for job in (
        Job("pull", _pull, lambda world: read_layout(world.target_layout)),
        Job("push", _push, lambda world: read_registry(world.target, world.target_name)),
        Job("copy", _copy, lambda world: read_registry(world.target, world.target_name)),
        Job("mount", _mount, lambda world: read_registry(world.source, world.target_name)),
    )
}
"""By name; `mount` is a copy within one registry."""
