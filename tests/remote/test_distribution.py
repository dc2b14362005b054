"""The Protocol of the specification's interface: a registry is one, and so is a wrapper."""

from __future__ import annotations

import inspect

import oci_distribution as oci
from oci_distribution.testing import RunningRegistry

_: type[oci.Distribution] = oci.Registry  # mypy looks at each method


class ReadOnly:
    """A wrapper that is typed by the Protocol, and small."""

    def __init__(self, inner: oci.Distribution) -> None:
        self._inner = inner

    async def stat(self, repository: str, reference: str) -> oci.Descriptor:
        return await self._inner.stat_manifest(repository, reference)


def operations(cls: type) -> dict[str, inspect.Signature]:
    """Return the public methods of a class."""
    found = inspect.getmembers(cls, inspect.isfunction)
    return {name: inspect.signature(method) for name, method in found if not name.startswith("_")}


def test_a_registry_has_every_operation_with_the_same_arguments() -> None:
    """Names, defaults and kinds of the arguments are those of the Protocol."""
    ours = operations(oci.Registry)
    for name, signature in operations(oci.Distribution).items():
        assert ours[name].parameters == signature.parameters, name


async def test_a_wrapper_takes_a_registry(registry: RunningRegistry, repo: oci.Repository) -> None:
    """It needs to know nothing but the Protocol."""
    manifest = oci.pack_manifest(artifact_type="application/vnd.example")
    await repo.blobs.push(oci.EMPTY_JSON, media_type=oci.MediaType.EMPTY_JSON)
    await repo.manifests.push(manifest, tags=["v1"])
    assert await ReadOnly(repo.registry).stat("team/app", "v1") == manifest.descriptor
