"""Where a registry keeps its content: what every storage must do, and what all of them share.

Methods are synchronous and are called in the event loop, so each is one indivisible step for everybody
else: there is no moment in which another request could see half of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from oci_distribution.spec.digest import Digest
from oci_distribution.spec.manifest import Manifest
from oci_distribution.spec.models import Descriptor, ImageManifest, OpaqueManifest

__all__ = ["ManifestEntry", "RepositoryStorage", "Storage", "Upload"]


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """What a repository knows of a manifest without reading it; `size` in bytes."""

    digest: Digest
    media_type: str
    size: int


class Upload(Protocol):
    """Bytes that arrive, and are no content yet."""

    @property
    def size(self) -> int:
        """Bytes so far."""
        ...

    def write(self, data: bytes) -> None:
        """Append `data`."""
        ...

    def open(self) -> BinaryIO:
        """Open the bytes so far for reading."""
        ...

    def release(self) -> None:
        """Hold no open file until more bytes come: uploads may be many, and be left alone for ever."""
        ...

    def commit(self, digest: Digest) -> None:
        """Make the bytes, whose digest the caller has checked, a blob of the repository."""
        ...

    def discard(self) -> None:
        """Forget the bytes. Does nothing after a commit."""
        ...


class Storage(Protocol):
    """All repositories of a registry."""

    def names(self) -> list[str]:
        """Return the names of the repositories that were pushed to, sorted."""
        ...

    def find(self, name: str) -> RepositoryStorage | None:
        """Return a repository; None when nothing was ever pushed to it.

        Args:
            name: A name that was checked against the grammar.
        """
        ...

    def open(self, name: str) -> RepositoryStorage:
        """Return a repository to push to. It exists from the first content on."""
        ...


class RepositoryStorage(ABC):
    """One repository: content by digest, and which of it are manifests, under which tags.

    A subclass keeps the content, and the index if it is to outlive the process.
    """

    def __init__(self) -> None:
        self._manifests: dict[str, ManifestEntry] = {}
        self._tags: dict[str, Digest] = {}
        self._sorted_tags: list[str] = []
        # Needs every manifest read, so it is built when somebody asks first.
        self._referrers: dict[Digest, dict[Digest, Descriptor]] | None = None

    @abstractmethod
    def size(self, digest: Digest) -> int | None:
        """Return the length of content in bytes; None when it is not here."""

    @abstractmethod
    def open(self, digest: Digest) -> BinaryIO:
        """Open content that is here for reading."""

    @abstractmethod
    def new_upload(self) -> Upload:
        """Start to receive a blob."""

    @abstractmethod
    def mount(self, digest: Digest, source: RepositoryStorage) -> bool:
        """Take over a blob from a repository of the same storage, without copying; False if that fails."""

    @abstractmethod
    def put_content(self, digest: Digest, data: bytes) -> None:
        """Keep small content."""

    @abstractmethod
    def remove_content(self, digest: Digest) -> None:
        """Drop content that is here."""

    def save_index(self) -> None:  # noqa: B027 (memory has nothing to do)
        """Keep the index. Called after content came, and before content goes."""

    def manifests(self) -> list[ManifestEntry]:
        """Return what is known of all manifests, in the order they came."""
        return list(self._manifests.values())

    def tags_of(self, digest: Digest) -> list[str]:
        """Return the tags that point at a manifest."""
        return [tag for tag in self._sorted_tags if self._tags[tag] == digest]

    def delete_blob(self, digest: Digest) -> bool:
        """Delete a blob; False when it is not here, or is a manifest."""
        if digest in self._manifests or self.size(digest) is None:
            return False
        self.remove_content(digest)
        return True

    def find_manifest(self, reference: str) -> ManifestEntry | None:
        """Return what is known of a manifest, by tag or digest; None when it is not here."""
        return self._manifests.get(self._tags.get(reference, reference))

    def read_manifest(self, digest: Digest) -> bytes:
        """Return the bytes of a manifest that is here."""
        with self.open(digest) as file:
            return file.read()

    def put_manifest(self, manifest: Manifest, tags: Iterable[str] = ()) -> None:
        """Keep a manifest, and point `tags` at it."""
        digest = manifest.digest
        if digest not in self._manifests:
            self.put_content(digest, manifest.raw)
        entry = ManifestEntry(digest, manifest.media_type, len(manifest.raw))
        self._note(entry, tags)
        if self._referrers is not None:
            _note_referrer(self._referrers, manifest)
        self.save_index()

    def delete_manifest(self, digest: Digest) -> bool:
        """Delete a manifest and the tags that point at it; False when it is not here."""
        if self._manifests.pop(digest, None) is None:
            return False
        for tag in self.tags_of(digest):
            self._forget_tag(tag)
        for referrers in (self._referrers or {}).values():
            referrers.pop(digest, None)
        self.save_index()
        self.remove_content(digest)
        return True

    def delete_tag(self, tag: str) -> bool:
        """Delete a tag, and not what it points at; False when it is not here."""
        if tag not in self._tags:
            return False
        self._forget_tag(tag)
        self.save_index()
        return True

    def tags(self) -> Sequence[str]:
        """Return all tags in ASCII order."""
        return self._sorted_tags

    def referrers(self, digest: Digest) -> list[Descriptor]:
        """Return descriptors of the manifests whose subject is `digest`, in the order they came."""
        if self._referrers is None:
            self._referrers = {}
            for entry in self._manifests.values():
                raw = self.read_manifest(entry.digest)
                _note_referrer(self._referrers, Manifest.parse(raw, entry.media_type, digest=entry.digest))
        return list(self._referrers.get(digest, {}).values())

    def _note(self, entry: ManifestEntry, tags: Iterable[str]) -> None:
        self._manifests[entry.digest] = entry
        for tag in tags:
            if tag not in self._tags:
                insort(self._sorted_tags, tag)
            self._tags[tag] = entry.digest

    def _forget_tag(self, tag: str) -> None:
        del self._tags[tag]
        self._sorted_tags.remove(tag)


def _note_referrer(referrers: dict[Digest, dict[Digest, Descriptor]], manifest: Manifest) -> None:
    """Describe a manifest with a subject as "Listing Referrers" wants it: artifact type and annotations."""
    content = manifest.content
    if isinstance(content, OpaqueManifest) or content.subject is None:
        return
    artifact_type = content.artifact_type or None
    if artifact_type is None and isinstance(content, ImageManifest):
        artifact_type = content.config.media_type
    more = {"artifact_type": artifact_type, "annotations": content.annotations}
    referrers.setdefault(content.subject.digest, {})[manifest.digest] = manifest.descriptor.model_copy(
        update=more
    )
