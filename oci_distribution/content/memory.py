"""A store in memory: for tests, and for what is small."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

from oci_distribution.content.protocols import MountPoint, PushOutcome, Source
from oci_distribution.content.sources import BytesSource, held_data, read_all, verified
from oci_distribution.errors import NotFound
from oci_distribution.spec.digest import Digest
from oci_distribution.spec.manifest import Manifest
from oci_distribution.spec.models import Descriptor
from oci_distribution.spec.reference import check_tag, check_tags

__all__ = ["MemoryStore"]


class MemoryStore:
    """A store that keeps everything in memory, for as long as it lives.

    A manifest may be stored before, or without, what it refers to.
    """

    mount_point: MountPoint | None = None

    def __init__(self) -> None:
        self._blobs: dict[Digest, bytes] = {}
        self._manifests: dict[Digest, Manifest] = {}
        self._tags: dict[str, Digest] = {}

    async def tags(self) -> AsyncGenerator[str]:
        """Iterate over the tags, sorted."""
        for tag in sorted(self._tags):
            yield tag

    async def resolve(self, reference: str) -> Descriptor:
        """Return the descriptor of the manifest that a tag or digest names."""
        return (await self.fetch_manifest(reference)).descriptor

    async def fetch_manifest(self, reference: str) -> Manifest:
        """Return the manifest that a tag or digest names.

        Raises:
            NotFound: The store does not hold it.
        """
        digest = Digest(reference) if ":" in reference else self._tags.get(check_tag(reference))
        manifest = self._manifests.get(digest) if digest is not None else None
        if manifest is None:
            raise NotFound(f"{self!r} holds no manifest {reference}")
        return manifest

    @asynccontextmanager
    async def open_blob(
        self, descriptor: Descriptor, *, start: int = 0
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Open a blob, verified on the way when it is read from its first byte on.

        What the descriptor holds itself need not be in the store.
        """
        data = self._blobs.get(descriptor.digest, held_data(descriptor))
        if data is None:
            raise NotFound(f"{self!r} holds no blob {descriptor.digest}")
        async with BytesSource(data).open(start) as stream:
            if start:
                yield stream
                return
            async with aclosing(verified(stream, descriptor)) as pieces:
                yield pieces

    async def exists(self, descriptor: Descriptor) -> bool:
        """Say whether the store holds this manifest or blob."""
        return descriptor.digest in self._manifests or descriptor.digest in self._blobs

    async def push_blob(
        self, descriptor: Descriptor, source: Source, *, mount_from: MountPoint | None = None
    ) -> PushOutcome:
        """Store a blob, verified."""
        del mount_from
        if descriptor.digest in self._blobs:
            return PushOutcome.EXISTED
        async with source.open() as stream, aclosing(verified(stream, descriptor)) as pieces:
            self._blobs[descriptor.digest] = await read_all(pieces)
        return PushOutcome.COPIED

    async def push_manifest(self, manifest: Manifest, *, tags: Sequence[str] = ()) -> None:
        """Store a manifest, and let `tags` point at it."""
        tags = check_tags(tags)
        manifest.check()
        self._manifests[manifest.digest] = manifest
        self._tags |= dict.fromkeys(tags, manifest.digest)

    def __repr__(self) -> str:
        return f"<MemoryStore with {len(self._manifests)} manifests and {len(self._blobs)} blobs>"
