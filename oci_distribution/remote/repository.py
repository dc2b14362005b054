"""A repository: the handle that users hold, and a store for the mirror."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from oci_distribution.content.protocols import MountPoint, PushOutcome, Source
from oci_distribution.content.sources import SourceLike
from oci_distribution.errors import ContentError, NotFound
from oci_distribution.remote.blob_reader import DEFAULT_READ_LIMIT, BlobReader
from oci_distribution.remote.blob_writer import BlobWriter
from oci_distribution.remote.registry import Registry
from oci_distribution.remote.upload_session import UploadSession
from oci_distribution.remote.uploads import CHUNK_SIZE
from oci_distribution.spec.manifest import Manifest
from oci_distribution.spec.mediatypes import MediaType, is_manifest
from oci_distribution.spec.models import Descriptor, Platform

__all__ = ["Blobs", "Manifests", "Referrers", "Repository", "Tags"]


@dataclass(frozen=True, slots=True)
class Manifests:
    """The manifests of a repository."""

    registry: Registry
    repository: str

    async def stat(self, reference: Descriptor | str) -> Descriptor:
        """Return the descriptor of a manifest; see `Registry.stat_manifest`."""
        return await self.registry.stat_manifest(self.repository, reference)

    async def get(self, reference: Descriptor | str, *, platform: Platform | str | None = None) -> Manifest:
        """Return a manifest, verified; see `Registry.get_manifest`."""
        return await self.registry.get_manifest(self.repository, reference, platform=platform)

    async def get_if_changed(self, reference: str, known: Descriptor | str) -> Manifest | None:
        """Return a manifest, or None when it is `known` still; see `Registry.get_manifest_if_changed`."""
        return await self.registry.get_manifest_if_changed(self.repository, reference, known)

    async def push(
        self, manifest: Manifest, *, tags: Sequence[str] = (), if_absent: bool = False
    ) -> Descriptor:
        """Store a manifest under its digest, or under `tags`; see `Registry.push_manifest`."""
        return await self.registry.push_manifest(self.repository, manifest, tags, if_absent=if_absent)

    async def delete(self, digest: Descriptor | str, *, missing_ok: bool = False) -> bool:
        """Delete a manifest with all its tags; see `Registry.delete_manifest`."""
        return await self.registry.delete_manifest(self.repository, digest, missing_ok=missing_ok)


@dataclass(frozen=True, slots=True)
class Blobs:
    """The blobs of a repository."""

    registry: Registry
    repository: str

    async def stat(self, digest: Descriptor | str) -> Descriptor:
        """Return size and digest of a blob; see `Registry.stat_blob`."""
        return await self.registry.stat_blob(self.repository, digest)

    def open(
        self, blob: Descriptor | str, *, start: int = 0, stop: int | None = None, connections: int = 1
    ) -> BlobReader:
        """Return a reader of a blob, to be opened with `async with`; see `Registry.get_blob`."""
        return self.registry.get_blob(self.repository, blob, start=start, stop=stop, connections=connections)

    async def read(self, blob: Descriptor | str, *, limit: int = DEFAULT_READ_LIMIT) -> bytes:
        """Return a small blob whole, verified.

        Args:
            blob: Its descriptor, or its digest.
            limit: Bytes that we are willing to hold.

        Raises:
            BlobUnknown: The repository does not hold it.
            LimitExceeded: It is longer than `limit`.
        """
        while True:
            reader = self.open(blob)
            try:
                async with reader:
                    return await reader.read(limit=limit)
            except ContentError:
                if not reader.is_mirror_to_blame:
                    raise

    async def download(
        self,
        blob: Descriptor | str,
        path: str | os.PathLike[str],
        *,
        resume: bool = False,
        connections: int = 1,
    ) -> Descriptor:
        """Write a blob to a file, whole and verified or not at all; see `Registry.download_blob`."""
        return await self.registry.download_blob(
            self.repository, blob, path, resume=resume, connections=connections
        )

    async def push(
        self,
        data: SourceLike | AsyncIterable[bytes],
        *,
        media_type: str = MediaType.OCTET_STREAM,
        chunk_size: int | None = None,
    ) -> Descriptor:
        """Store bytes, a file or another source as a blob; see `Registry.push_blob`.

        Args:
            data: Read twice: to be hashed, and to be sent; an async iterable once, in chunks.
            media_type: Goes into the descriptor; registries do not keep it for blobs.
            chunk_size: Bytes of each chunk; None where the blob need not go in chunks.
        """
        descriptor, _ = await self.registry.push_blob(
            self.repository, data, media_type=media_type, chunk_size=chunk_size
        )
        return descriptor

    def writer(self, *, chunk_size: int = CHUNK_SIZE, algorithm: str = "sha256") -> BlobWriter:
        """Return a writer, to be opened with `async with`; see `Registry.push_blob_chunked`."""
        return self.registry.push_blob_chunked(self.repository, chunk_size=chunk_size, algorithm=algorithm)

    def resume(
        self, session: UploadSession, *, prefix: SourceLike | None = None, chunk_size: int | None = None
    ) -> BlobWriter:
        """Return a writer that goes on with an upload; see `Registry.resume_blob`."""
        return self.registry.resume_blob(self.repository, session, prefix=prefix, chunk_size=chunk_size)

    async def mount(self, digest: Descriptor | str, from_repository: str) -> bool:
        """Have a blob of another repository, without sending it; see `Registry.mount_blob`."""
        return await self.registry.mount_blob(self.repository, digest, from_repository)

    async def delete(self, digest: Descriptor | str, *, missing_ok: bool = False) -> bool:
        """Delete a blob; see `Registry.delete_blob`."""
        return await self.registry.delete_blob(self.repository, digest, missing_ok=missing_ok)


@dataclass(frozen=True, slots=True)
class Tags:
    """The tags of a repository."""

    registry: Registry
    repository: str

    def list(self, *, page_size: int | None = None, last: str | None = None) -> AsyncGenerator[str]:
        """Iterate over the tags; see `Registry.list_tags`."""
        return self.registry.list_tags(self.repository, page_size=page_size, last=last)

    async def has_moved(self, tag: str, known: Descriptor | str) -> bool:
        """Say whether a tag points elsewhere than it did, or is gone; see `Registry.has_tag_moved`."""
        return await self.registry.has_tag_moved(self.repository, tag, known)

    async def delete(self, tag: str, *, missing_ok: bool = False) -> bool:
        """Delete a tag, and never what it points at; see `Registry.delete_tag`."""
        return await self.registry.delete_tag(self.repository, tag, missing_ok=missing_ok)


@dataclass(frozen=True, slots=True)
class Referrers:
    """What refers to the manifests of a repository."""

    registry: Registry
    repository: str

    def list(
        self, subject: Descriptor | str, *, artifact_type: str | None = None
    ) -> AsyncGenerator[Descriptor]:
        """Iterate over what refers to a manifest; see `Registry.list_referrers`."""
        return self.registry.list_referrers(self.repository, subject, artifact_type=artifact_type)

    async def get(
        self, subject: Descriptor | str, *, artifact_type: str | None = None
    ) -> Sequence[Descriptor]:
        """Return what refers to a manifest, as a list; see `Registry.list_referrers`."""
        return await self.registry.get_referrers(self.repository, subject, artifact_type=artifact_type)


@dataclass(frozen=True, slots=True, repr=False)
class Repository:
    """One repository of one registry; made by `Client.repository`.

    `blobs`, `manifests`, `tags` and `referrers` are for people. The rest is the `Store` Protocol, for `copy`.

    Args:
        registry: Where it is.
        name: Its name there.
    """

    registry: Registry
    name: str

    @property
    def manifests(self) -> Manifests:
        """Its manifests."""
        return Manifests(self.registry, self.name)

    @property
    def blobs(self) -> Blobs:
        """Its blobs."""
        return Blobs(self.registry, self.name)

    @property
    def tags(self) -> Tags:
        """Its tags."""
        return Tags(self.registry, self.name)

    @property
    def referrers(self) -> Referrers:
        """What refers to its manifests."""
        return Referrers(self.registry, self.name)

    @property
    def mount_point(self) -> MountPoint:
        """Every repository of a registry can mount from every other, if we may read it."""
        return MountPoint(self.registry.host, self.name)

    async def resolve(self, reference: str) -> Descriptor:
        """Return the descriptor of the manifest that a tag or digest names, here and at no mirror."""
        return await self.registry.without_mirrors.stat_manifest(self.name, reference)

    async def fetch_manifest(self, reference: str) -> Manifest:
        """Return the manifest that a tag or digest names, verified."""
        return await self.registry.get_manifest(self.name, reference)

    def open_blob(
        self, descriptor: Descriptor, *, start: int = 0
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open a blob, verified on the way when it is read from its first byte on."""
        return self.registry.get_blob(self.name, descriptor, start=start)

    async def exists(self, descriptor: Descriptor) -> bool:
        """Say whether the repository holds this manifest or blob, here and at no mirror."""
        registry = self.registry.without_mirrors
        try:
            if is_manifest(descriptor.media_type):
                found = await registry.stat_manifest(self.name, descriptor.digest)
            else:
                found = await registry.stat_blob(self.name, descriptor.digest)
        except NotFound:
            return False
        return found.size == descriptor.size

    async def push_blob(
        self, descriptor: Descriptor, source: Source, *, mount_from: MountPoint | None = None
    ) -> PushOutcome:
        """Store a blob by the cheapest way that the registry offers."""
        _, outcome = await self.registry.push_blob(
            self.name, source, descriptor=descriptor, mount_from=mount_from
        )
        return outcome

    async def push_manifest(self, manifest: Manifest, *, tags: Sequence[str] = ()) -> None:
        """Store a manifest byte for byte."""
        await self.registry.push_manifest(self.name, manifest, tags)

    def __repr__(self) -> str:
        return f"<Repository {self.registry.name}/{self.name}>"
