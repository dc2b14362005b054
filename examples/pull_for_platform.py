"""Print, as JSON, the manifest and the config of an image for one platform.

python examples/pull_for_platform.py docker.io/library/alpine 3.20 linux/arm64
"""

from __future__ import annotations

import argparse
import json
import sys

from command import run

import oci_distribution as oci

MAX_CONFIG = 4 << 20
"""Bytes; configs have a few thousand."""


async def pull(name: str, reference: str, platform: str) -> None:
    """Get both, verified, and print them."""
    async with oci.Client() as client:
        repository = client.repository(name)
        manifest = await repository.manifests.get(reference, platform=platform)
        if not isinstance(manifest.content, oci.ImageManifest):
            raise oci.UnsupportedError(f"{manifest.digest} is {manifest.media_type}, and has no config")
        config = await repository.blobs.read(manifest.content.config, limit=MAX_CONFIG)
    document = {
        "digest": manifest.digest,
        "manifest": json.loads(manifest.raw),
        # An artifact's config need not be JSON.
        "config": json.loads(config) if manifest.content.config.media_type.endswith("+json") else None,
    }
    print(json.dumps(document, indent=2))


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line, and return the exit status."""
    parser = argparse.ArgumentParser(description="Print the manifest and the config of an image.")
    parser.add_argument("repository", help="docker.io/library/alpine, http://127.0.0.1:5000/app")
    parser.add_argument("reference", help="a tag or a digest")
    parser.add_argument("platform", help="linux/amd64, linux/arm/v7")
    options = parser.parse_args(arguments)
    job = pull(options.repository, options.reference, options.platform)
    return run(job, on_cancel="nothing was written")


if __name__ == "__main__":
    sys.exit(main())
