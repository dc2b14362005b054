"""The main job, on this machine alone: two registries, one image of two platforms, every byte verified.

Starts two registries on free loopback ports, pushes an image of about 100 MiB to the first, copies it to
the second and to an OCI layout, and checks every digest on both sides. Exit status 0 only if all is true.

    python examples/demo.py [MiB]
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from copy_image import CopyDisplay
from rich.console import Console
from rich.table import Table

import oci_distribution as oci
from oci_distribution.testing import DirectoryStorage, serve_registry

PLATFORMS = (("amd64", None), ("arm64", "v8"))
LAYERS = 4
NAME, TAG = "demo/app", "v1"


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    what: str
    done: str
    size: int
    requests: int
    seconds: float


async def push_image(repository: oci.Repository, mebibytes: int) -> oci.Descriptor:
    """Push an index of two images with random layers, and return its descriptor."""
    images = [
        await push_platform(repository, architecture, variant, mebibytes)
        for architecture, variant in PLATFORMS
    ]
    return await repository.manifests.push(
        oci.Manifest.of(oci.ImageIndex(manifests=tuple(images))), tags=[TAG]
    )


async def push_platform(
    repository: oci.Repository, architecture: str, variant: str | None, mebibytes: int
) -> oci.Descriptor:
    """Push the image of one platform, and return its descriptor as an index lists it."""
    size = (mebibytes << 20) // LAYERS // len(PLATFORMS)
    layers = [
        await repository.blobs.push(os.urandom(size), media_type=oci.MediaType.IMAGE_LAYER)
        for _ in range(LAYERS)
    ]
    rootfs = {"type": "layers", "diff_ids": [layer.digest for layer in layers]}
    config = json.dumps({"architecture": architecture, "os": "linux", "rootfs": rootfs}).encode()
    manifest = oci.Manifest.of(
        oci.ImageManifest(
            config=await repository.blobs.push(config, media_type=oci.MediaType.IMAGE_CONFIG),
            layers=tuple(layers),
        )
    )
    pushed = await repository.manifests.push(manifest)
    platform = oci.Platform(architecture=architecture, os="linux", variant=variant)
    return pushed.model_copy(update={"platform": platform})


async def verify(store: oci.Store, reference: str) -> tuple[int, int]:
    """Read everything below `reference`, which verifies it; how many pieces, and how many bytes."""
    manifest = await store.fetch_manifest(reference)
    count, size = 1, len(manifest.raw)
    for child in manifest.children:
        if isinstance(manifest.content, oci.ImageIndex):
            below, below_size = await verify(store, child.digest)
        else:
            below, below_size = 1, 0
            async with store.open_blob(child) as stream:
                async for piece in stream:
                    below_size += len(piece)
        count, size = count + below, size + below_size
    return count, size


async def measured(console: Console, what: str, job: Callable[[], Awaitable[tuple[str, int]]]) -> Row:
    """Do a job with a live display, and return its line of the table."""
    began = perf_counter()
    with CopyDisplay(console, what) as display:
        done, size = await job()
    return Row(what, done, size, display.requests, perf_counter() - began)


async def demo(console: Console, mebibytes: int, folder: Path) -> list[Row]:
    """Do the whole job, and return the table; whatever is not true raises."""
    async with (
        serve_registry(storage=DirectoryStorage(folder / "one")) as one,
        serve_registry(storage=DirectoryStorage(folder / "two")) as two,
        oci.Client() as client,
    ):
        first, second = (client.registry(registry.url).repository(NAME) for registry in (one, two))
        layout = oci.Layout(folder / "layout")

        async def push() -> tuple[str, int]:
            root = await push_image(first, mebibytes)
            return f"{len(PLATFORMS)} platforms, {root.digest[:19]}…", mebibytes << 20

        def copy_to(target: oci.Store) -> Callable[[], Awaitable[tuple[str, int]]]:
            async def copy() -> tuple[str, int]:
                report = await oci.copy(first, TAG, target)
                blobs, manifests = report.blobs.total(), report.manifests.total()
                return (
                    "was there" if report.was_there else f"{manifests} manifests, {blobs} blobs",
                    report.bytes_copied,
                )

            return copy

        def check(store: oci.Store) -> Callable[[], Awaitable[tuple[str, int]]]:
            async def job() -> tuple[str, int]:
                count, size = await verify(store, TAG)
                if (await store.resolve(TAG)).digest != (await first.resolve(TAG)).digest:
                    raise oci.DigestMismatch("the copy's tag names another digest")
                return f"{count} digests right", size

            return job

        return [
            await measured(console, "push to the first registry", push),
            await measured(console, "copy to the second registry", copy_to(second)),
            await measured(console, "copy to an OCI layout", copy_to(layout)),
            await measured(console, "copy again", copy_to(second)),
            await measured(console, "verify the first registry", check(first)),
            await measured(console, "verify the second registry", check(second)),
            await measured(console, "verify the OCI layout", check(layout)),
        ]


def main(mebibytes: int = 100) -> int:
    """Run the demo, print its table, and return the exit status."""
    console = Console()
    try:
        with tempfile.TemporaryDirectory(prefix="oci-demo-") as folder:
            rows = asyncio.run(demo(console, mebibytes, Path(folder)))
    except oci.OCIError as error:
        console.print(f"[red]error:[/] {error}")
        return 1
    table = Table("what", "done", "bytes", "requests", "seconds")
    for row in rows:
        table.add_row(row.what, row.done, f"{row.size:,}", str(row.requests), f"{row.seconds:.2f}")
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(*(int(argument) for argument in sys.argv[1:2])))
