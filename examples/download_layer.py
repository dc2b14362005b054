"""Download a layer of an image, with a progress bar; stopped half-way, it goes on from there the next time.

    python examples/download_layer.py docker.io/library/alpine 3.20 layer.tar.gz --platform linux/arm64

The file appears under its name when it is whole and verified. Until then, what came is in a
`.part` beside it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from command import run
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

import oci_distribution as oci


async def layer_of(repository: oci.Repository, reference: str, platform: str, number: int) -> oci.Descriptor:
    """Return the descriptor of a layer, counted from 1, the base first."""
    manifest = await repository.manifests.get(reference, platform=platform)
    layers = manifest.content.layers if isinstance(manifest.content, oci.ImageManifest) else ()
    if not 1 <= number <= len(layers):
        raise oci.NotFound(f"{manifest.digest} has {len(layers)} layers, and no layer {number}")
    return layers[number - 1]


async def download(name: str, reference: str, path: Path, *, platform: str, number: int) -> None:
    """Download a layer to `path`, and show how far it is."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(binary_units=True))
    async with oci.Client() as client:
        repository = client.repository(name)
        layer = await layer_of(repository, reference, platform, number)
        with Progress(*columns, TransferSpeedColumn(), console=console, transient=True) as progress:
            task = progress.add_task(path.name, total=layer.size)

            def show(event: oci.Event) -> None:
                if isinstance(event, oci.Downloaded):
                    progress.update(task, completed=event.position)

            with oci.observe(show):
                await repository.blobs.download(layer, path, resume=True)
    print(f"{path}: {layer.size:,} bytes, {layer.digest}")


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line, and return the exit status."""
    parser = argparse.ArgumentParser(description="Download a layer, resumed where it was broken off.")
    parser.add_argument("repository", help="docker.io/library/alpine, http://127.0.0.1:5000/app")
    parser.add_argument("reference", help="a tag or a digest")
    parser.add_argument("path", type=Path, help="the file")
    parser.add_argument("--platform", default="linux/amd64", help="linux/arm64; by default %(default)s")
    parser.add_argument("--layer", type=int, default=1, help="counted from 1, the base, which is the default")
    options = parser.parse_args(arguments)
    job = download(
        options.repository, options.reference, options.path, platform=options.platform, number=options.layer
    )
    return run(job, on_cancel="run it again to go on from there")


if __name__ == "__main__":
    sys.exit(main())
