"""An OCI image layout: a directory as a store (image specification, image-layout.md)."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import anyio
from filelock import FileLock

from oci_distribution.content.files import (
    mapped_os_errors,
    open_file,
    read_bounded,
    read_pieces,
    try_lock,
)
from oci_distribution.content.ingest import TEMPORARY_PREFIX, ingest, replace_file
from oci_distribution.content.layout_index import LayoutIndex, load_object
from oci_distribution.content.protocols import MountPoint, PushOutcome, Source
from oci_distribution.content.sources import BytesSource, held_data, verified
from oci_distribution.errors import InvalidLayout, NotFound, StoreError
from oci_distribution.spec.digest import Digest
from oci_distribution.spec.manifest import Manifest
from oci_distribution.spec.models import Descriptor
from oci_distribution.spec.reference import check_tag, check_tags
from oci_distribution.waiting import in_thread

__all__ = ["Layout"]

MARKER: Final = "oci-layout"
INDEX: Final = "index.json"
VERSION: Final = "1.0.0"
LOCK: Final = ".index.json.lock"
"""Held while index.json changes; other tools do not mind it. It stays: deleting it would split the lock."""
LOCK_POLL: Final = 0.01
"""Seconds between two tries to get the lock from another process, which holds it for a few milliseconds."""
UNNAMED_TAG: Final = "latest"
"""What the only entry of somebody else's layout answers to when it has no name, as if no tag is written."""
MAX_MARKER: Final = 4 << 10
"""Bytes of an oci-layout file that we take in."""
MAX_MANIFEST: Final = 4 << 20
"""Bytes of a manifest that we take in, as of a registry."""
MAX_INDEX: Final = 64 << 20
"""Bytes of an index.json that we take in; it lists every tag."""

T = TypeVar("T")


class Layout:
    """An OCI image layout on disk, as a store. It is made by the first thing that is written.

    Blobs and manifests are written aside, verified and renamed; nothing is flushed to the platter.
    `index.json` changes under a lock and at once, so that tasks and processes that write to one layout lose
    nothing of each other's. A manifest may be stored before, or without, what it refers to.

    Args:
        path: The directory.
    """

    mount_point: MountPoint | None = None

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Path = Path(path)
        # Tasks wait in line here, and only one of them asks the file system's lock again and again.
        self._turn = anyio.Lock()

    async def tags(self) -> AsyncGenerator[str]:
        """Iterate over the tags, sorted.

        Raises:
            NotFound: There is no layout.
            InvalidLayout: It is broken.
        """
        for tag in (await self._in_thread(self._read_index)).tags():
            yield tag

    async def resolve(self, reference: str) -> Descriptor:
        """Return the descriptor of the manifest that a tag or digest names.

        Raises:
            NotFound: The layout does not hold it, or does not exist.
            InvalidLayout: The directory is something else, or broken.
            InvalidManifest: A digest names something that is no manifest.
        """
        wanted = _checked(reference)
        found = await self._in_thread(partial(self._find, wanted))
        # Without an entry, as the manifests of an index are, only the content says what it is.
        return found if found is not None else (await self.fetch_manifest(reference)).descriptor

    async def fetch_manifest(self, reference: str) -> Manifest:
        """Return the manifest that a tag or digest names, verified.

        Raises:
            NotFound: The layout does not hold it, or does not exist.
            InvalidLayout: The directory is something else, or broken.
            InvalidManifest: It is none.
            DigestMismatch: The file was damaged.
        """
        return await self._in_thread(partial(self._read_manifest, _checked(reference)))

    @asynccontextmanager
    async def open_blob(
        self, descriptor: Descriptor, *, start: int = 0
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        """Open a blob, verified on the way when it is read from its first byte on.

        What the descriptor holds itself need not be in the layout.

        Raises:
            NotFound: The layout does not hold it, or does not exist.
            InvalidLayout: The directory is something else, or broken.
            StoreError: The file cannot be read.
        """
        path = self._blob_path(descriptor.digest)
        async with AsyncExitStack() as stack:
            if (data := held_data(descriptor)) is not None:
                yield await stack.enter_async_context(BytesSource(data).open(start))
                return
            try:
                file = await stack.enter_async_context(open_file(path, "rb"))
            except StoreError as error:
                if isinstance(error.__cause__, FileNotFoundError):
                    await self._in_thread(self._check_marker)
                    raise self._not_found(descriptor.digest) from None
                raise
            pieces = await stack.enter_async_context(aclosing(read_pieces(path, file, start)))
            if not start:
                pieces = await stack.enter_async_context(aclosing(verified(pieces, descriptor)))
            yield pieces

    async def exists(self, descriptor: Descriptor) -> bool:
        """Say whether the layout holds this manifest or blob.

        Raises:
            InvalidLayout: The directory is something else, or broken.
        """
        return await self._in_thread(partial(self._holds, descriptor))

    async def push_blob(
        self, descriptor: Descriptor, source: Source, *, mount_from: MountPoint | None = None
    ) -> PushOutcome:
        """Store a blob, verified; one that is there is left alone, and `source` is not opened.

        Raises:
            DigestMismatch: The bytes hash to something else.
            SizeMismatch: There are more or fewer bytes than the descriptor says.
            InvalidLayout: The directory is something else, or broken.
            StoreError: The operating system refuses.
        """
        del mount_from
        if await self.exists(descriptor):
            return PushOutcome.EXISTED
        await self._create()
        async with source.open() as stream:
            await ingest(stream, descriptor, self._blob_path(descriptor.digest), aside=self.path)
        return PushOutcome.COPIED

    async def push_manifest(self, manifest: Manifest, *, tags: Sequence[str] = ()) -> None:
        """Store a manifest byte for byte, and list it in `index.json`.

        What had one of the tags stays listed, without a name. Without tags the manifest is listed without a
        name, until an index that refers to it is stored.

        Raises:
            InvalidReference: A tag breaks the grammar; nothing was written.
            DigestMismatch: The bytes are not those of the descriptor; nothing was written.
            InvalidLayout: The directory is something else, or broken.
            StoreError: The operating system refuses.
        """
        tags = check_tags(tags)
        manifest.check()
        await self._create()
        async with self._lock():
            await self._in_thread(partial(self._list, manifest, tags))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        with mapped_os_errors(self.path):
            return await in_thread(work)

    @asynccontextmanager
    async def _lock(self) -> AsyncGenerator[None]:
        # Its asyncio form would leave a task behind whenever it is collected.
        lock = FileLock(self.path / LOCK)
        async with self._turn:
            with mapped_os_errors(self.path / LOCK):
                while not try_lock(lock):  # noqa: ASYNC110 - it may be another process that holds it
                    await anyio.sleep(LOCK_POLL)
            try:
                yield
            finally:
                with mapped_os_errors(self.path / LOCK):
                    lock.release()

    async def _create(self) -> None:
        """Make the layout, unless it is there."""
        if await self._in_thread(self._check_marker):
            return
        await self._in_thread(partial(self.path.mkdir, parents=True, exist_ok=True))
        async with self._lock():
            await self._in_thread(self._write_marker)

    def _write_marker(self) -> None:
        if not self._check_marker():
            # The marker first: a directory with other things and without it is refused, by us and by others.
            marker = json.dumps({"imageLayoutVersion": VERSION}).encode()
            replace_file(self.path / MARKER, marker, aside=self.path)
            replace_file(self.path / INDEX, LayoutIndex().dump(), aside=self.path)

    def _check_marker(self) -> bool:
        """Say whether the layout is there.

        Raises:
            InvalidLayout: There is something else.
        """
        strange = self._strange_name()
        try:
            marker = load_object(read_bounded(self.path / MARKER, MAX_MARKER))
        except FileNotFoundError:
            if strange is not None:
                raise InvalidLayout(
                    f"{self.path} is no OCI layout: it has no {MARKER}, but {strange!r}"
                ) from None
            return False
        except NotADirectoryError:
            raise InvalidLayout(f"{self.path} is no OCI layout: it is not a directory") from None
        if marker is None or marker.get("imageLayoutVersion") != VERSION:
            raise InvalidLayout(f"{self.path / MARKER} does not say imageLayoutVersion {VERSION}")
        return True

    def _strange_name(self) -> str | None:
        """Return a name of the directory that is not ours, if it is not empty.

        Called before the marker is looked for: what others made meanwhile has a marker then.
        """
        try:
            names = [path.name for path in self.path.iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return None
        return next((name for name in names if name != LOCK and not name.startswith(TEMPORARY_PREFIX)), None)

    def _read_index(self) -> LayoutIndex:
        if not self._check_marker():
            raise NotFound(f"there is no OCI layout at {self.path}")
        try:
            return LayoutIndex.parse(read_bounded(self.path / INDEX, MAX_INDEX))
        except FileNotFoundError:
            # Another process has just made the layout, or was killed while it did.
            return LayoutIndex()
        except InvalidLayout as error:
            raise InvalidLayout(f"{self.path}: {error}") from None

    def _find(self, wanted: str) -> Descriptor | None:
        """Return the descriptor of what is listed, if the content is there; None for an unlisted digest."""
        index = self._read_index()
        if isinstance(wanted, Digest):
            found = index.find_digest(wanted)
            if found is None:
                return None
        else:
            found = index.find_tag(wanted) or self._unnamed(index, wanted)
        if found is None or not self._holds_file(found):
            raise self._not_found(wanted)
        return found

    def _unnamed(self, index: LayoutIndex, tag: str) -> Descriptor | None:
        # With our lock file there, an unnamed entry may be a part of what is still on its way.
        is_foreign = tag == UNNAMED_TAG and not (self.path / LOCK).exists()
        return index.only_unnamed() if is_foreign else None

    def _read_manifest(self, wanted: str) -> Manifest:
        listed = self._find(wanted)
        digest = listed.digest if listed is not None else Digest(wanted)
        try:
            raw = read_bounded(self._blob_path(digest), MAX_MANIFEST)
        except FileNotFoundError:
            raise self._not_found(wanted) from None
        return Manifest.parse(raw, listed.media_type if listed is not None else None, digest=digest)

    def _list(self, manifest: Manifest, tags: tuple[str, ...]) -> None:
        index = self._read_index().with_manifest(manifest, tags)
        # Also over what is there: it is small, and may be damaged.
        replace_file(self._blob_path(manifest.digest), manifest.raw, aside=self.path)
        replace_file(self.path / INDEX, index.dump(), aside=self.path)

    def _holds(self, descriptor: Descriptor) -> bool:
        return self._check_marker() and self._holds_file(descriptor)

    def _holds_file(self, descriptor: Descriptor) -> bool:
        try:
            # A wrong size is what a power cut leaves, or a tool that writes in place when it is killed.
            return self._blob_path(descriptor.digest).stat().st_size == descriptor.size
        except FileNotFoundError:
            return False

    def _blob_path(self, digest: Digest) -> Path:
        return self.path / "blobs" / digest.algorithm / digest.encoded

    def _not_found(self, wanted: str) -> NotFound:
        return NotFound(f"{self.path} holds no {wanted}")

    def __repr__(self) -> str:
        return f"Layout({str(self.path)!r})"


def _checked(reference: str) -> str:
    """Return a digest as a `Digest`, and a tag as it is."""
    return Digest(reference) if ":" in reference else check_tag(reference)
