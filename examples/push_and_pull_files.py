"""Keep files and directories in a registry, or in a layout on disk.

    python examples/push_and_pull_files.py push registry.example/team/site:v1 site README.md
    python examples/push_and_pull_files.py pull registry.example/team/site:v1 --directory here

What was pushed can be pulled with the tool oras, and the other way round.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from command import run

import oci_distribution as oci


async def push(name: str, files: list[Path], artifact_type: str) -> None:
    """Push files and directories as one artifact."""
    async with oci.Client() as client:
        store, tag = client.locate(name)
        pushed = await oci.push_files(store, files, artifact_type=artifact_type, tags=[tag])
    print(f"{name} is {pushed.digest}")


async def pull(name: str, directory: Path, *, overwrite: bool) -> None:
    """Pull them into a directory."""
    async with oci.Client() as client:
        for path in await oci.pull_files(*client.locate(name), directory, overwrite=overwrite):
            print(path)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line, and return the exit status."""
    parser = argparse.ArgumentParser(description="Keep files and directories in a registry.")
    commands = parser.add_subparsers(dest="command", required=True)
    pushing = commands.add_parser("push", help="push files and directories")
    pushing.add_argument("name", help="registry.example/team/site:v1, oci:./layout:v1")
    pushing.add_argument("files", type=Path, nargs="+")
    pushing.add_argument("--artifact-type", default="application/vnd.example.files")
    pulling = commands.add_parser("pull", help="pull them")
    pulling.add_argument("name", help="registry.example/team/site:v1, oci:./layout:v1")
    pulling.add_argument("--directory", type=Path, default=Path())
    pulling.add_argument("--overwrite", action="store_true", help="replace what is there")
    options = parser.parse_args(arguments)
    job = (
        push(options.name, options.files, options.artifact_type)
        if options.command == "push"
        else pull(options.name, options.directory, overwrite=options.overwrite)
    )
    return run(job, on_cancel="what was written is whole; run it again for the rest")


if __name__ == "__main__":
    sys.exit(main())
