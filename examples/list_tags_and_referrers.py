"""List the tags of a repository, what each points at, and what refers to that, such as signatures.

python examples/list_tags_and_referrers.py ghcr.io/org/app
"""

from __future__ import annotations

import argparse
import sys

from command import run

import oci_distribution as oci


async def list_tags(name: str, artifact_type: str | None) -> None:
    """Print a line for each tag, and under it one for each referrer."""
    async with oci.Client() as client:
        repository = client.repository(name)
        async for tag in repository.tags.list():
            descriptor = await repository.manifests.stat(tag)
            print(f"{tag}  {descriptor.digest}  {descriptor.media_type}")
            async for referrer in repository.referrers.list(descriptor, artifact_type=artifact_type):
                print(f"  ← {referrer.artifact_type or referrer.media_type}  {referrer.digest}")


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line, and return the exit status."""
    parser = argparse.ArgumentParser(description="List tags, and what refers to what they point at.")
    parser.add_argument("repository", help="ghcr.io/org/app, http://127.0.0.1:5000/app")
    parser.add_argument("--artifact-type", help="only referrers of this type")
    options = parser.parse_args(arguments)
    return run(list_tags(options.repository, options.artifact_type), on_cancel="there was more to list")


if __name__ == "__main__":
    sys.exit(main())
