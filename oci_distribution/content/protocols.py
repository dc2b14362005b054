"""What a store can do, as small Protocols: a registry's repository, a layout and a memory store are all.

References are plain text here: a tag, or a digest, within one store. Every method raises `NotFound` for
content that is not there, unless it says otherwise.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, runtime_checkable

from oci_distribution.spec.manifest import Manifest
from oci_distribution.spec.models import Descriptor

__all__ = ["MountPoint", "PushOutcome", "ReadableStore", "Source", "Store", "StoreOpener", "WritableStore"]


@runtime_checkable
class Source(Protocol):
    """Bytes of a known length that can be opened again, at any offset.

    A retry, a redirect or a new token opens the source once more, so an iterator that runs only once is none.
    """

    @property
    def size(self) -> int:
        """Exact length of the whole, in bytes."""
        ...

    def open(self, offset: int = 0) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open the bytes from `offset` to the end; leaving early is not an error.

        Pieces are as large as they come; writers to disk coalesce them.
        """
        ...


class PushOutcome(Enum):
    """How a blob came to be in the target."""

    COPIED = "copied"
    MOUNTED = "mounted"
    EXISTED = "existed"


@dataclass(frozen=True, slots=True)
class MountPoint:
    """Where a store's blobs can be mounted from.

    Args:
        domain: Equal for stores that can mount from each other, such as repositories of one registry.
        name: What the store is called in that domain.
    """

    domain: Hashable
    name: str


class ReadableStore(Protocol):
    """A store to take from."""

    @property
    def mount_point(self) -> MountPoint | None:
        """Where others may mount this store's blobs from; None where nobody can."""
        ...

    async def resolve(self, reference: str) -> Descriptor:
        """Return the descriptor of the manifest that a tag or digest names."""
        ...

    async def fetch_manifest(self, reference: str) -> Manifest:
        """Return the manifest that a tag or digest names; by digest, it is verified."""
        ...

    def open_blob(
        self, descriptor: Descriptor, *, start: int = 0
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open a blob; reading the whole verifies size and digest before the last piece is handed out.

        What the descriptor holds itself, in `data`, need not be in the store.

        Args:
            descriptor: Which blob.
            start: First byte wanted; what begins later than with the first cannot be verified.

        Raises:
            DigestMismatch: The bytes hash to something else.
            SizeMismatch: There are more or fewer bytes than the descriptor says.
        """
        ...


class WritableStore(Protocol):
    """A store to give to."""

    async def exists(self, descriptor: Descriptor) -> bool:
        """Say whether the store holds this manifest or blob."""
        ...

    async def push_blob(
        self, descriptor: Descriptor, source: Source, *, mount_from: MountPoint | None = None
    ) -> PushOutcome:
        """Store a blob, whole and verified or not at all; one that is there already is left alone.

        Args:
            descriptor: What `source` must turn out to be.
            source: The bytes; not opened when they are not needed.
            mount_from: Another store that holds the blob, which may save the transfer.

        Raises:
            DigestMismatch: The bytes hash to something else.
            SizeMismatch: There are more or fewer bytes than the descriptor says.
        """
        ...

    async def push_manifest(self, manifest: Manifest, *, tags: Sequence[str] = ()) -> None:
        """Store a manifest byte for byte, and let `tags` point at it; what it refers to is there already."""
        ...


class Store(ReadableStore, WritableStore, Protocol):
    """A store to take from and to give to."""


class StoreOpener(Protocol):
    """Turns text into a store and a reference in it."""

    def locate(self, text: str) -> tuple[Store, str]:
        """Return the store that `text` names, and the tag or digest in it."""
        ...
