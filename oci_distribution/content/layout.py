"""An OCI image layout: a directory as a store (image specification, image-layout.md)."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio.to_thread
from filelock import FileLock
from pydantic import ValidationError

from oci_distribution.content.ingest import ingest, mapped_os_errors, replace_file
from oci_distribution.content.protocols import MountPoint, PushOutcome, Source
from oci_distribution.content.sources import BytesSource, FileSource, verified
from oci_distribution.errors import InvalidLayout, LimitExceeded, NotFound
from oci_distribution.spec.digest import Digest
from oci_distribution.spec.manifest import Manifest
from oci_distribution.spec.models import Descriptor, ImageIndex
from oci_distribution.spec.reference import check_tag

__all__ = ["Layout"]

REF_NAME: Final = "org.opencontainers.image.ref.name"
"""Annotation of an entry of index.json that holds its tag."""
MARKER: Final = "oci-layout"
VERSION: Final = "1.0.0"
LOCK: Final = ".index.json.lock"
"""Held while index.json changes; other tools do not know it, and do not mind it."""
UNNAMED_TAG: Final = "latest"
"""What the only entry of a layout answers to when it has no name, as `crane` writes it."""
MAX_MANIFEST: Final = 4 << 20
"""Bytes of a manifest that we take in, as of a registry."""
MAX_INDEX: Final = 64 << 20
"""Bytes of an index.json that we take in; it lists every tag."""

T = TypeVar("T")


class Layout:
    """An OCI image layout on disk, as a store. It is made by the first thing that is written.

    Blobs and manifests are written aside, verified and renamed. `index.json` changes under a lock and at
    once, so that tasks and processes that write to one layout lose nothing of each other's.

    Args:
        path: The directory.
    """

    mount_point: MountPoint | None = None

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    async def tags(self) -> AsyncGenerator[str]:
        """Iterate over the tags, sorted.

        Raises:
            NotFound: There is no layout.
            InvalidLayout: It is broken.
        """
        index = await self._in_thread(self._read_index)
        for tag in sorted({tag for entry in _entries(index) if (tag := _tag(entry)) is not None}):
            yield tag

    async def resolve(self, reference: str) -> Descriptor:
        """Return the descriptor of the manifest that a tag or digest names.

        Raises:
            NotFound: The layout does not hold it, or does not exist.
            InvalidLayout: The directory is something else, or broken.
        """
        if ":" in reference:
            return (await self.fetch_manifest(Digest(reference))).descriptor
        check_tag(reference)
        entries = _entries(await self._in_thread(self._read_index))
        found = next((entry for entry in entries if _tag(entry) == reference), None)
        if found is None and reference == UNNAMED_TAG and len(entries) == 1 and _tag(entries[0]) is None:
            found = entries[0]
        if found is None:
            raise NotFound(f"{self.path} holds no tag {reference!r}")
        return Descriptor(media_type=found.media_type, digest=found.digest, size=found.size)

    async def fetch_manifest(self, reference: str) -> Manifest:
        """Return the manifest that a tag or digest names, verified.

        Raises:
            NotFound: The layout does not hold it, or does not exist.
            InvalidManifest: It is none.
            DigestMismatch: The file was damaged.
        """
        if ":" not in reference:
            descriptor = await self.resolve(reference)
            raw = await self._in_thread(partial(self._read_blob, descriptor.digest))
            return Manifest.parse(raw, descriptor.media_type, digest=descriptor.digest)
        digest = Digest(reference)
        return Manifest.parse(await self._in_thread(partial(self._read_blob, digest)), digest=digest)

    @asynccontextmanager
    async def open_blob(self, descriptor: Descriptor) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Open a blob, verified on the way."""
        path = self._blob_path(descriptor.digest)
        source = await self._in_thread(partial(self._found, descriptor.digest, partial(FileSource, path)))
        with mapped_os_errors(path):
            async with source.open() as stream:
                yield verified(stream, descriptor)

    async def exists(self, descriptor: Descriptor) -> bool:
        """Say whether the layout holds this manifest or blob."""
        return await self._in_thread(partial(self._holds, descriptor))

    async def push_blob(
        self, descriptor: Descriptor, source: Source, *, mount_from: MountPoint | None = None
    ) -> PushOutcome:
        """Store a blob, verified; one that is there is left alone.

        Raises:
            InvalidLayout: The directory is something else, or broken.
            StoreError: The disk refuses.
        """
        del mount_from
        if await self.exists(descriptor):
            return PushOutcome.EXISTED
        await self._in_thread(self._create)
        async with source.open() as stream:
            await ingest(stream, descriptor, self._blob_path(descriptor.digest))
        return PushOutcome.COPIED

    async def push_manifest(self, manifest: Manifest, *, tags: Sequence[str] = ()) -> None:
        """Store a manifest byte for byte, and list it in `index.json`.

        Without a tag it is listed without a name, until an index that holds it is stored.
        """
        for tag in tags:
            check_tag(tag)
        await self.push_blob(manifest.descriptor, BytesSource(manifest.raw))
        await self._in_thread(partial(self._list, manifest, tuple(tags)))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Touch the disk in a thread; a cancelled one is waited for, so that nothing goes on behind us."""
        with mapped_os_errors(self.path):
            return await anyio.to_thread.run_sync(work)

    def _blob_path(self, digest: Digest) -> Path:
        return self.path / "blobs" / digest.algorithm / digest.encoded

    def _holds(self, descriptor: Descriptor) -> bool:
        path = self._blob_path(descriptor.digest)
        # A wrong size is what a tool that writes in place leaves behind when it is killed.
        return path.is_file() and path.stat().st_size == descriptor.size

    def _found(self, digest: Digest, read: Callable[[], T]) -> T:
        try:
            return read()
        except FileNotFoundError:
            raise NotFound(f"{self.path} holds no {digest}") from None

    def _read_blob(self, digest: Digest) -> bytes:
        return self._found(digest, partial(_read_bounded, self._blob_path(digest), MAX_MANIFEST))

    def _create(self) -> None:
        """Make the layout, unless it is there."""
        self.path.mkdir(parents=True, exist_ok=True)
        with self._lock():
            if self._check_marker():
                return
            replace_file(self.path / "index.json", _dump({"schemaVersion": 2, "manifests": []}))
            replace_file(self.path / MARKER, _dump({"imageLayoutVersion": VERSION}))

    def _lock(self) -> FileLock:
        return FileLock(self.path / LOCK, poll_interval=0.01)

    def _check_marker(self) -> bool:
        """Say whether the layout is there.

        Raises:
            InvalidLayout: The directory holds something else.
        """
        try:
            marker = json.loads(_read_bounded(self.path / MARKER, MAX_MANIFEST))
        except FileNotFoundError:
            strange = [name for name in self.path.iterdir() if name.name not in {LOCK, "blobs"}]
            if strange:
                raise InvalidLayout(f"{self.path} is no OCI layout: it holds {strange[0].name!r}") from None
            return False
        except ValueError:
            marker = None
        if not isinstance(marker, dict) or marker.get("imageLayoutVersion") != VERSION:
            raise InvalidLayout(f"{self.path / MARKER} does not say imageLayoutVersion {VERSION}")
        return True

    def _read_index(self) -> dict[str, Any]:
        if not self.path.is_dir() or not self._check_marker():
            raise NotFound(f"there is no OCI layout at {self.path}")
        path = self.path / "index.json"
        try:
            document = json.loads(_read_bounded(path, MAX_INDEX))
            ImageIndex.model_validate_json(json.dumps(document))
        except FileNotFoundError:
            raise InvalidLayout(f"{self.path} has no index.json") from None
        except (ValidationError, ValueError, RecursionError):
            raise InvalidLayout(f"{path} is no image index") from None
        assert isinstance(document, dict)
        return document

    def _list(self, manifest: Manifest, tags: tuple[str, ...]) -> None:
        """Put a manifest into index.json, and keep what others put there, unknown fields included."""
        with self._lock():
            index = self._read_index()
            children = {child.digest for child in manifest.children}
            kept = [
                entry
                for entry in index.get("manifests") or ()
                if _raw_tag(entry) not in tags
                and not (_raw_tag(entry) is None and entry["digest"] in {manifest.digest, *children})
            ]
            listed = any(entry["digest"] == manifest.digest for entry in kept)
            if not tags and not listed:
                kept.append(manifest.descriptor.dump())
            for tag in tags:
                kept.append(manifest.descriptor.dump() | {"annotations": {REF_NAME: tag}})
            replace_file(self.path / "index.json", _dump(index | {"manifests": kept}))

    def __repr__(self) -> str:
        return f"Layout({str(self.path)!r})"


def _read_bounded(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise LimitExceeded(f"{path} is longer than {limit} bytes")
    return data


def _dump(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def _entries(index: dict[str, Any]) -> tuple[Descriptor, ...]:
    return ImageIndex.model_validate_json(json.dumps(index)).manifests


def _raw_tag(entry: dict[str, Any]) -> str | None:
    name = (entry.get("annotations") or {}).get(REF_NAME)
    return _tag_of_name(name) if isinstance(name, str) else None


def _tag(entry: Descriptor) -> str | None:
    name = entry.annotations.get(REF_NAME)
    return _tag_of_name(name) if name is not None else None


def _tag_of_name(name: str) -> str:
    """Return the tag of a name: some tools write the whole reference there."""
    return name.rpartition(":")[2] if "/" not in name.rpartition(":")[2] else name
