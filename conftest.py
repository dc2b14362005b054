"""Runs the README and the guides: their examples are tests, against a registry on this machine."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import tempfile
from pathlib import Path
from typing import Any

from sybil import Sybil
from sybil.example import Example
from sybil.parsers.markdown import CodeBlockParser

import oci_distribution as oci
from oci_distribution.testing import serve_in_thread

PLATFORMS = ("amd64", "arm64")


async def prepare(host: str) -> None:
    """Push what the examples read."""
    async with oci.Client() as client:
        await push_image(client.repository(f"{host}/library/alpine"), "3.20")
        repository = client.repository(f"{host}/org/app")
        subject = await push_image(repository, "v1", "old")
        config = await repository.blobs.push(b"{}", media_type="application/vnd.oci.empty.v1+json")
        signature = oci.ImageManifest(
            artifact_type="application/vnd.example.signature", config=config, subject=subject
        )
        await repository.manifests.push(oci.Manifest.of(signature))


async def push_image(repository: oci.Repository, *tags: str) -> oci.Descriptor:
    """Push an image for two platforms."""
    layer = await repository.blobs.push(b"a layer", media_type=oci.MediaType.IMAGE_LAYER)
    images: list[oci.Descriptor] = []
    for architecture in PLATFORMS:
        text = f'{{"os": "linux", "architecture": "{architecture}"}}'.encode()
        config = await repository.blobs.push(text, media_type=oci.MediaType.IMAGE_CONFIG)
        manifest = oci.Manifest.of(oci.ImageManifest(config=config, layers=(layer,)))
        pushed = await repository.manifests.push(manifest)
        platform = oci.Platform(os="linux", architecture=architecture)
        images.append(pushed.model_copy(update={"platform": platform}))
    index = oci.Manifest.of(oci.ImageIndex(manifests=tuple(images)))
    return await repository.manifests.push(index, tags=tags)


def setup(namespace: dict[str, Any]) -> None:
    """Open a registry, an empty folder and an event loop for one document."""
    namespace["_home"] = Path.cwd()
    namespace["_folder"] = folder = tempfile.TemporaryDirectory()
    os.chdir(folder.name)
    namespace["_registry"] = registry = serve_in_thread()
    namespace["_host"] = host = registry.__enter__().host
    namespace["_runner"] = runner = asyncio.Runner()
    runner.run(prepare(host))
    Path("layer.tar.gz").write_bytes(b"a layer")
    namespace.update(oci=oci, Path=Path)


def teardown(namespace: dict[str, Any]) -> None:
    """Close all that `setup` opened."""
    namespace["_runner"].close()
    namespace["_registry"].__exit__(None, None, None)
    os.chdir(namespace["_home"])
    namespace["_folder"].cleanup()


def evaluate(example: Example) -> None:
    """Run an example, `await` at its top level included, with our registry in the place of those it names."""
    namespace = example.namespace
    host = namespace["_host"]
    text = str(example.parsed).replace("docker.io/", f"{host}/").replace("localhost:5000", host)
    # `asyncio.run` has a loop of its own, inside ours it cannot run: await what it would have run.
    text = text.replace("asyncio.run(main())", "await main()")
    code = compile("\n" * example.line + text, example.path, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if code.co_flags & inspect.CO_COROUTINE:
        namespace["_runner"].run(eval(code, namespace))
    else:
        exec(code, namespace)


pytest_collect_file = Sybil(
    parsers=[CodeBlockParser(language="python", evaluator=evaluate)],
    patterns=["README.md", "docs/*.md"],
    setup=setup,
    teardown=teardown,
).pytest()
