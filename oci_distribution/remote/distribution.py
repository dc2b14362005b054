"""The interface of the distribution specification, as a Protocol: what wrappers take, and are."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Sequence
from typing import Protocol

from oci_distribution.content.protocols import MountPoint, PushOutcome
from oci_distribution.content.sources import SourceLike
from oci_distribution.remote.blob_reader import BlobReader
from oci_distribution.remote.blob_writer import BlobWriter
from oci_distribution.remote.upload_session import UploadSession
from oci_distribution.remote.uploads import CHUNK_SIZE
from oci_distribution.spec.manifest import Manifest
from oci_distribution.spec.mediatypes import MediaType
from oci_distribution.spec.models import Descriptor, Platform

__all__ = ["Distribution"]


class Distribution(Protocol):
    """What the specification lets one ask of a registry, with the repository as an argument.

    `Registry` is one, and says what each does and raises. A wrapper (one that counts, refuses, or asks two)
    is another, and whoever takes a `Distribution` takes both.
    """

    @property
    def name(self) -> str:
        """Canonical name, `host` or `host:port`."""
        ...

    async def ping(self) -> None:
        """Make sure that this is a registry that we may talk to (end-1)."""
        ...

    async def version(self) -> str | None:
        """Return the API version that it names (end-1)."""
        ...

    async def stat_manifest(self, repository: str, reference: Descriptor | str) -> Descriptor:
        """Return the descriptor of a manifest (end-3)."""
        ...

    async def get_manifest(
        self, repository: str, reference: Descriptor | str, *, platform: Platform | str | None = None
    ) -> Manifest:
        """Return a manifest, verified (end-3)."""
        ...

    async def push_manifest(
        self, repository: str, manifest: Manifest, tags: Sequence[str] = (), *, if_absent: bool = False
    ) -> Descriptor:
        """Store a manifest byte for byte, under tags or its digest (end-7a, end-7b)."""
        ...

    async def delete_manifest(
        self, repository: str, digest: Descriptor | str, *, missing_ok: bool = False
    ) -> bool:
        """Delete a manifest, with every tag that points at it (end-9)."""
        ...

    async def delete_tag(self, repository: str, tag: str, *, missing_ok: bool = False) -> bool:
        """Delete a tag, and never what it points at (end-9)."""
        ...

    async def stat_blob(self, repository: str, digest: Descriptor | str) -> Descriptor:
        """Return size and digest of a blob (end-2)."""
        ...

    def get_blob(
        self,
        repository: str,
        blob: Descriptor | str,
        *,
        start: int = 0,
        stop: int | None = None,
        connections: int = 1,
    ) -> BlobReader:
        """Return a reader of a blob, not open yet (end-2)."""
        ...

    async def push_blob(
        self,
        repository: str,
        data: SourceLike | AsyncIterable[bytes],
        *,
        descriptor: Descriptor | None = None,
        media_type: str = MediaType.OCTET_STREAM,
        mount_from: MountPoint | None = None,
        chunk_size: int | None = None,
    ) -> tuple[Descriptor, PushOutcome]:
        """Store a blob by the cheapest way that there is (end-4a, end-4b, end-5, end-6, end-11)."""
        ...

    def push_blob_chunked(
        self, repository: str, *, chunk_size: int = CHUNK_SIZE, algorithm: str = "sha256"
    ) -> BlobWriter:
        """Return a writer of a blob, not open yet (end-4a, end-5, end-6)."""
        ...

    def resume_blob(
        self,
        repository: str,
        session: UploadSession,
        *,
        prefix: SourceLike | None = None,
        chunk_size: int | None = None,
    ) -> BlobWriter:
        """Return a writer that goes on with an upload (end-13)."""
        ...

    async def mount_blob(self, repository: str, digest: Descriptor | str, from_repository: str) -> bool:
        """Let a repository have a blob of another one, without sending it (end-11)."""
        ...

    async def delete_blob(
        self, repository: str, digest: Descriptor | str, *, missing_ok: bool = False
    ) -> bool:
        """Delete a blob (end-10)."""
        ...

    def list_tags(
        self, repository: str, *, page_size: int | None = None, last: str | None = None
    ) -> AsyncIterator[str]:
        """Iterate over the tags of a repository (end-8a, end-8b)."""
        ...

    def list_repositories(
        self, *, page_size: int | None = None, last: str | None = None
    ) -> AsyncIterator[str]:
        """Iterate over the names of the repositories (`_catalog`)."""
        ...

    def list_referrers(
        self, repository: str, subject: Descriptor | str, *, artifact_type: str | None = None
    ) -> AsyncIterator[Descriptor]:
        """Iterate over what refers to a manifest (end-12a, end-12b)."""
        ...

    async def get_referrers(
        self, repository: str, subject: Descriptor | str, *, artifact_type: str | None = None
    ) -> list[Descriptor]:
        """Return what refers to a manifest, as a list (end-12a, end-12b)."""
        ...
