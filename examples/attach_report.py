"""Attach a file to an image, as an artifact whose subject it is, and list what is attached.

    python examples/attach_report.py registry.example/team/app v1 report.json

Everybody who asks for the referrers of the image finds it, also where the registry has no API for that.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from command import run

import oci_distribution as oci


async def attach(name: str, reference: str, path: Path, artifact_type: str) -> None:
    """Push the file with the image as its subject."""
    async with oci.Client() as client:
        repository = client.repository(name)
        subject = await repository.manifests.stat(reference)
        attached = await oci.push_files(repository, [path], artifact_type=artifact_type, subject=subject)
        print(f"attached {attached.digest} to {subject.digest}, which has:")
        async for referrer in repository.referrers.list(subject):
            print(f"  {referrer.artifact_type}  {referrer.digest}")


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line, and return the exit status."""
    parser = argparse.ArgumentParser(description="Attach a file to an image.")
    parser.add_argument("repository", help="registry.example/team/app, http://127.0.0.1:5000/app")
    parser.add_argument("reference", help="a tag or a digest")
    parser.add_argument("path", type=Path, help="the file")
    parser.add_argument("--type", default="application/vnd.example.report", help="by default %(default)s")
    options = parser.parse_args(arguments)
    job = attach(options.repository, options.reference, options.path, options.type)
    return run(job, on_cancel="nothing was attached")


if __name__ == "__main__":
    sys.exit(main())
