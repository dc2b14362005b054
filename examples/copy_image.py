"""Copy an image, all its platforms, between registries and OCI layouts.

    python examples/copy_image.py docker.io/library/alpine:3.20 localhost:5000/alpine:3.20
    python examples/copy_image.py docker.io/library/alpine:3.20 oci:./alpine:3.20

Each side is a registry reference or `oci:DIRECTORY:TAG`; `http://` before a registry's name means plain
http. Credentials are those that docker and podman stored. Ctrl-C and SIGTERM leave nothing behind.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from time import perf_counter
from types import TracebackType
from typing import Self

from command import run
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

import oci_distribution as oci


class CopyDisplay:
    """Shows how far a copy is, and counts its requests: a sink for `oci.observe`, while it is entered."""

    def __init__(self, console: Console, title: str) -> None:
        self.requests = 0
        self._positions: dict[str, int] = {}
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task(title, total=0)
        self._stack = ExitStack()

    def __call__(self, event: oci.Event) -> None:
        """Take note of an event."""
        match event:
            case oci.RequestSent():
                self.requests += 1
            case oci.Discovered(descriptor):
                total = (self._progress.tasks[0].total or 0) + descriptor.size
                self._progress.update(self._task, total=total)
            case oci.Transferred(descriptor, position):
                self._move(descriptor, position)
            case oci.Finished(descriptor):
                self._move(descriptor, descriptor.size)

    def _move(self, descriptor: oci.Descriptor, position: int) -> None:
        step = position - self._positions.get(descriptor.digest, 0)
        self._positions[descriptor.digest] = position
        self._progress.advance(self._task, step)

    def __enter__(self) -> Self:
        self._stack.enter_context(self._progress)
        self._stack.enter_context(oci.observe(self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


async def copy_image(source: str, target: str, console: Console) -> None:
    """Copy `source` to `target`, and say what was done."""
    began = perf_counter()
    async with oci.Client() as client:
        with CopyDisplay(console, f"{source} → {target}") as display:
            report = await oci.copy(*client.locate(source), *client.locate(target))
    console.print(
        f"{report} ({display.requests} requests, {perf_counter() - began:.1f} s)",
        soft_wrap=True,
        markup=False,
    )


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line, and return the exit status."""
    parser = argparse.ArgumentParser(description="Copy an image between registries and OCI layouts.")
    parser.add_argument(
        "source", help="docker.io/library/alpine:3.20, http://127.0.0.1:5000/a:v1, oci:./dir:tag"
    )
    parser.add_argument("target", help="the same")
    options = parser.parse_args(arguments)
    job = copy_image(options.source, options.target, Console())
    return run(job, on_cancel="nothing was left half-done")


if __name__ == "__main__":
    sys.exit(main())
