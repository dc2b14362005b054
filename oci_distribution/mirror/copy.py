"""Copy one root with all that it needs, from any store to any other.

Children go before parents, since registries check references, and the tag goes last, so that nobody
finds a tag whose content is still on its way. What the target holds is not sent again, and nothing is
fetched twice. No slot is held while waiting for children.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias, cast

import anyio

from oci_distribution.content.protocols import ReadableStore, Source, Store
from oci_distribution.content.sources import BlobSource
from oci_distribution.errors import CopyError, InvalidManifest, InvalidReference, NotFound, UnsupportedError
from oci_distribution.events import emit, listening
from oci_distribution.mirror.progress import CopyOutcome, Discovered, Finished, Transferred
from oci_distribution.mirror.report import CopyReport
from oci_distribution.spec.digest import Digest
from oci_distribution.spec.manifest import Manifest
from oci_distribution.spec.mediatypes import is_foreign, is_index, is_manifest
from oci_distribution.spec.models import Descriptor, ImageIndex, OpaqueManifest
from oci_distribution.spec.reference import check_tag

__all__ = ["copy"]

CONCURRENCY = 32
"""Blobs on their way at once; measured with many small ones: 8 and 16 lose 13 %, 64 gains nothing."""
STREAMS = 3
"""Large blobs read at once; measured with 256 MiB in four layers: 2 to 4 are best, with and without lag."""
LARGE = 4 << 20
"""Bytes from which a blob counts as large."""
IMAGES = 16
"""Images of an index in work at once; each holds its manifest, of up to 4 MiB, in memory."""
MAX_DEPTH = 8
"""Indexes within indexes that we follow: real ones have two, and each holds a manifest in memory."""

_Key: TypeAlias = tuple[str, Digest, int]


async def copy(
    source: ReadableStore,
    source_reference: str,
    target: Store,
    target_reference: str | None = None,
    *,
    concurrency: int = CONCURRENCY,
    streams: int = STREAMS,
) -> CopyReport:
    """Copy an image, index or artifact, all platforms, and return what was done.

    Args:
        source: Where it is.
        source_reference: Its tag or digest there.
        target: Where it shall be.
        target_reference: Its tag there; by default the same. With a digest no tag is set, and the
            content must have that digest.
        concurrency: Blobs on their way at once.
        streams: Large blobs read at once; more only fill the line that is full already.

    Raises:
        CopyError: Whatever went wrong on either side; `errors` tells.
        InvalidReference: A reference breaks the grammar; nothing was sent.
        ValueError: A number below 1.
    """
    if concurrency < 1 or streams < 1:
        msg = "concurrency and streams must be at least 1"
        raise ValueError(msg)
    wanted, tag = _target_reference(source_reference, target_reference)
    run = _Run(source, target, anyio.Semaphore(concurrency), anyio.Semaphore(streams))
    try:
        return await run.root(source_reference, wanted, tag)
    except Exception as error:  # noqa: BLE001 - a fan-out raises one type always; nothing is lost
        raise CopyError(
            f"cannot copy {source_reference} from {source!r} to {target!r}", _flat(error)
        ) from None


def _target_reference(source_reference: str, target_reference: str | None) -> tuple[str, str | None]:
    """Return what the target is asked for, and the tag to set, if any."""
    if ":" not in source_reference:
        check_tag(source_reference)
    wanted = target_reference if target_reference is not None else source_reference
    if ":" in wanted:
        pinned = Digest(wanted)
        if ":" in source_reference and source_reference != pinned:
            raise InvalidReference(f"cannot copy {source_reference} as {pinned}: they are different content")
        return pinned, None
    return wanted, check_tag(wanted)


def _flat(error: Exception) -> list[Exception]:
    """Return the reasons out of the nested groups that task groups make."""
    if not isinstance(error, ExceptionGroup):
        return [error]
    group = cast("ExceptionGroup[Exception]", error)
    return [reason for inner in group.exceptions for reason in _flat(inner)]


@dataclass(slots=True)
class _Run:
    """One copy at work."""

    source: ReadableStore
    target: Store
    blobs: anyio.Semaphore
    streams: anyio.Semaphore
    images: anyio.Semaphore = field(default_factory=lambda: anyio.Semaphore(IMAGES))
    started: dict[_Key, anyio.Event] = field(default_factory=dict[_Key, anyio.Event])
    report: CopyReport = field(init=False)

    async def root(self, source_reference: str, wanted: str, tag: str | None) -> CopyReport:
        """Copy the root, unless the target's reference names it already."""
        held = await self._held(wanted)
        if held is not None and (await self.source.resolve(source_reference)).digest == held.digest:
            self.report = CopyReport(held)
            self._finished(held, CopyOutcome.EXISTED, self.report.manifests)
            return self.report
        manifest = await self.source.fetch_manifest(source_reference)
        if tag is None and manifest.digest != wanted:
            raise InvalidReference(f"{source_reference} is {manifest.digest}, not {wanted}")
        self.report = CopyReport(manifest.descriptor)
        emit(Discovered(manifest.descriptor))
        await self._manifest(manifest, tags=() if tag is None else (tag,), depth=0)
        return self.report

    async def _held(self, wanted: str) -> Descriptor | None:
        try:
            return await self.target.resolve(wanted)
        except NotFound:
            return None

    async def _manifest(self, manifest: Manifest, *, tags: tuple[str, ...] = (), depth: int) -> None:
        """Copy what a manifest needs, then the manifest."""
        content = manifest.content
        if isinstance(content, OpaqueManifest):
            raise UnsupportedError(f"{manifest.digest} is {manifest.media_type}: what it needs is not known")

        async def below(child: Descriptor) -> None:
            await self._child(child, depth + 1)

        async with anyio.create_task_group() as group:
            if isinstance(content, ImageIndex):
                indexes: list[Descriptor] = []
                for child in content.manifests:
                    if is_index(child.media_type):
                        indexes.append(child)
                    else:
                        group.start_soon(self._once, child, below)
                # One after another, to its end: each holds a manifest while it waits for what is below it.
                for child in indexes:
                    await self._once(child, below)
            else:
                group.start_soon(self._once, content.config, self._blob)
                for layer in content.layers:
                    group.start_soon(self._once, layer, self._layer)
        await self.target.push_manifest(manifest, tags=tags)
        self.report.bytes_copied += len(manifest.raw)
        self._finished(manifest.descriptor, CopyOutcome.COPIED, self.report.manifests)

    async def _once(self, child: Descriptor, work: Callable[[Descriptor], Awaitable[None]]) -> None:
        """Do `work` for a child; what another parent has begun is only waited for."""
        key = (child.media_type, child.digest, child.size)
        done = self.started.get(key)
        if done is not None:
            # Should it fail, the whole run is cancelled, and this wait with it.
            return await done.wait()
        done = self.started[key] = anyio.Event()
        emit(Discovered(child))
        await work(child)
        done.set()
        return None

    async def _child(self, descriptor: Descriptor, depth: int) -> None:
        """Copy a manifest of an index, unless the target holds it, and so all below it."""
        if depth > MAX_DEPTH:
            raise InvalidManifest(f"{descriptor.digest} lies more than {MAX_DEPTH} indexes deep")
        if not is_manifest(descriptor.media_type):
            raise UnsupportedError(
                f"an index lists {descriptor.digest}, {descriptor.media_type}, no manifest"
            )
        if is_index(descriptor.media_type):
            # Without a slot: its images need them. That it is one is checked, see `Manifest.verify`.
            return await self._child_manifest(descriptor, depth)
        async with self.images:
            return await self._child_manifest(descriptor, depth)

    async def _child_manifest(self, descriptor: Descriptor, depth: int) -> None:
        if await self.target.exists(descriptor):
            self._finished(descriptor, CopyOutcome.EXISTED, self.report.manifests)
            return
        manifest = await self.source.fetch_manifest(descriptor.digest)
        await self._manifest(manifest.verify(descriptor), depth=depth)

    async def _layer(self, descriptor: Descriptor) -> None:
        if is_foreign(descriptor.media_type):
            self._finished(descriptor, CopyOutcome.FOREIGN, self.report.blobs)
            return
        await self._blob(descriptor)

    async def _blob(self, descriptor: Descriptor) -> None:
        source = _Observed(BlobSource(self.source, descriptor), descriptor, self.streams)
        async with self.blobs:
            pushed = await self.target.push_blob(descriptor, source, mount_from=self.source.mount_point)
        outcome = CopyOutcome.of(pushed)
        if outcome is CopyOutcome.COPIED:
            self.report.bytes_copied += descriptor.size
        self._finished(descriptor, outcome, self.report.blobs)

    def _finished(self, descriptor: Descriptor, outcome: CopyOutcome, tally: Counter[CopyOutcome]) -> None:
        tally[outcome] += 1
        emit(Finished(descriptor, outcome))


@dataclass(frozen=True, slots=True)
class _Observed:
    """A source that tells how far it is, and waits for its turn when it is large.

    The turn ends with the last byte, not with the target's answer: storing a blob takes the target up to
    a quarter of the time, in which the next one can be read.
    """

    source: Source
    descriptor: Descriptor
    streams: anyio.Semaphore

    @property
    def size(self) -> int:
        return self.source.size

    @asynccontextmanager
    async def open(self, offset: int = 0) -> AsyncGenerator[AsyncIterator[bytes]]:
        async with AsyncExitStack() as turn:
            if self.size >= LARGE:
                await self.streams.acquire()
                turn.callback(self.streams.release)
            async with (
                self.source.open(offset) as stream,
                aclosing(self._pieces(stream, offset, turn)) as pieces,
            ):
                yield pieces

    async def _pieces(
        self, stream: AsyncIterator[bytes], position: int, turn: AsyncExitStack
    ) -> AsyncGenerator[bytes]:
        async for piece in stream:
            position += len(piece)
            if position == self.size:
                await turn.aclose()
            if listening():
                emit(Transferred(self.descriptor, position))
            yield piece
