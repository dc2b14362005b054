"""Files as artifacts: pushed with their names to any store, and pulled to a directory, as oras does it."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final, TypeAlias

from oci_distribution.content.archives import check_directory, check_title, pack_directory, unpack_directory
from oci_distribution.content.files import mapped_os_errors
from oci_distribution.content.ingest import ingest, temporary_directory
from oci_distribution.content.protocols import ReadableStore, WritableStore
from oci_distribution.content.sources import BytesSource, FileSource, describe
from oci_distribution.errors import ContentError, InvalidArgument, StoreError
from oci_distribution.spec.mediatypes import MediaType, check_media_type, is_index
from oci_distribution.spec.models import Descriptor, ImageManifest, Platform
from oci_distribution.spec.pack import EMPTY_DESCRIPTOR, EMPTY_JSON, check_annotations, pack_manifest
from oci_distribution.spec.reference import check_tags
from oci_distribution.waiting import in_thread

__all__ = ["ArtifactFile", "pull_files", "push_files"]

TITLE: Final = "org.opencontainers.image.title"
"""Annotation of a layer: the name of its file."""
UNPACK: Final = "io.deis.oras.content.unpack"
"""Annotation of a layer that is a directory, packed."""
CONTENT_DIGEST: Final = "io.deis.oras.content.digest"
"""Annotation of such a layer: the digest of the archive before it was compressed."""
UNKNOWN_ARTIFACT: Final = "application/vnd.unknown.artifact.v1"
"""What oras calls an artifact that nobody gave a type."""
MAX_UNPACKED: Final = 8 << 30
"""Bytes that a directory may unpack to: a gzip of eight megabytes can hold as much."""


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    """A file or directory to push.

    Args:
        path: Where it is.
        title: What it is called in the artifact, a relative path; by default its own name.
        media_type: Of the layer; by default `application/vnd.oci.image.layer.v1.tar` for a file, as oras has
            it, and the same with `+gzip` for a directory.
        annotations: Free text about the layer.
    """

    path: str | os.PathLike[str]
    title: str | None = None
    media_type: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict[str, str])


FileLike: TypeAlias = str | os.PathLike[str] | ArtifactFile


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file or directory with its name checked."""

    file: ArtifactFile
    title: PurePosixPath

    @property
    def path(self) -> Path:
        return Path(self.file.path)

    def check(self) -> None:
        """Make sure, in this thread, that it can be pushed."""
        if self.path.is_dir():
            check_directory(self.path, name=self.title)
        else:
            FileSource(self.path)


async def push_files(
    store: WritableStore,
    files: Iterable[FileLike],
    *,
    artifact_type: str = UNKNOWN_ARTIFACT,
    tags: Iterable[str] = (),
    config: Descriptor | None = None,
    subject: Descriptor | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Descriptor:
    """Push files and directories as one artifact that `pull_files`, and the tool oras, make files of again.

    A directory becomes one layer, an archive without times and owners, so that the same files are the same
    layer. What the store holds already is not sent, and nothing is when something cannot be pushed.

    Args:
        store: A repository, a layout, …
        files: Paths, or `ArtifactFile` to say more.
        artifact_type: What kind of artifact it is.
        tags: Tags that shall point at it; without any it can be had by its digest.
        config: Descriptor of a config that is in the store already; by default the empty one is pushed.
        subject: The manifest that the artifact refers to: what it signs, describes, …
        annotations: Free text about the artifact.

    Returns:
        The descriptor of its manifest.

    Raises:
        InvalidArgument: A title or a link leads out of a directory, a title is there twice, or a name is none
            elsewhere; or see `pack_manifest`.
        InvalidReference: A tag breaks the grammar.
        StoreError: A file is not there, cannot be read, or is none.
        SizeMismatch: A file changed meanwhile.
    """
    entries, tags = _entries(files), check_tags(tags)
    # Made once before anything is pushed: what is wrong with the rest is said now.
    pack_manifest(artifact_type=artifact_type, config=config, subject=subject, annotations=annotations)
    for entry in entries:
        with mapped_os_errors(entry.path):
            await in_thread(entry.check)
    layers: list[Descriptor] = []
    for entry in entries:
        async with _described(entry) as (layer, path):
            await store.push_blob(layer.bare(), FileSource(path))
        layers.append(layer)
    if config is None or not layers:
        await store.push_blob(EMPTY_DESCRIPTOR.bare(), BytesSource(EMPTY_JSON))
    manifest = pack_manifest(
        artifact_type=artifact_type, config=config, layers=layers, subject=subject, annotations=annotations
    )
    await store.push_manifest(manifest, tags=tags)
    return manifest.descriptor


def _entries(files: Iterable[FileLike]) -> list[_Entry]:
    if isinstance(files, str | os.PathLike):
        msg = f"files must be a sequence, not one path: use [{os.fspath(files)!r}]"
        raise TypeError(msg)
    given = [file if isinstance(file, ArtifactFile) else ArtifactFile(file) for file in files]
    entries: list[_Entry] = []
    for file in given:
        title = file.title if file.title is not None else _own_name(Path(file.path))
        try:
            entries.append(_Entry(file, check_title(title)))
        except ContentError as error:
            raise InvalidArgument(str(error)) from None
        check_annotations({**file.annotations, TITLE: title})
        if file.media_type is not None:
            check_media_type(file.media_type)
    clash = _clash(entry.title for entry in entries)
    if clash is not None:
        raise InvalidArgument(f"two files would be {clash}: give them titles")
    return entries


def _own_name(path: Path) -> str:
    """Return the name of a file; of `.` and the like, that of the directory that it is."""
    return path.name if path.name not in {"", ".."} else path.resolve().name


def _clash(titles: Iterable[PurePosixPath]) -> PurePosixPath | None:
    """Return a path that is there twice, or would be a file and a directory."""
    seen: set[PurePosixPath] = set()
    above: set[PurePosixPath] = set()
    for title in titles:
        if title in seen | above or seen.intersection(title.parents):
            return title
        seen.add(title)
        above.update(title.parents)
    return None


@asynccontextmanager
async def _described(entry: _Entry) -> AsyncGenerator[tuple[Descriptor, Path]]:
    """Describe a file; a directory is packed first, into a file that is gone afterwards."""
    notes = {**entry.file.annotations, TITLE: str(entry.title)}
    async with AsyncExitStack() as stack:
        path, media_type = entry.path, entry.file.media_type
        with mapped_os_errors(path):
            is_directory = await in_thread(path.is_dir)
            if is_directory:
                archive = await stack.enter_async_context(temporary_directory()) / "archive"
                digest = await in_thread(partial(pack_directory, path, archive, name=entry.title))
                notes |= {UNPACK: "true", CONTENT_DIGEST: digest}
                path, media_type = archive, media_type or MediaType.IMAGE_LAYER_GZIP
        found = await describe(path, media_type or MediaType.IMAGE_LAYER)
        yield found.model_copy(update={"annotations": notes}), path


async def pull_files(
    store: ReadableStore,
    reference: str,
    directory: str | os.PathLike[str],
    *,
    platform: Platform | str | None = None,
    overwrite: bool = False,
    max_unpacked: int = MAX_UNPACKED,
) -> list[Path]:
    """Pull the files of an artifact into a directory, each whole and verified or not there.

    Layers without a title are no files, and are left alone. Before anything is fetched, all titles are
    checked: nothing is written outside of the directory, nor through a link in it.

    Args:
        store: A repository, a layout, …
        reference: A tag or digest.
        directory: Where to; it is made.
        platform: Of an index, the manifest for this platform, `linux/arm64`.
        overwrite: Whether files, and whole directories, that are there may be replaced.
        max_unpacked: Bytes that a directory may unpack to.

    Returns:
        The files and directories, in the order of the artifact.

    Raises:
        NotFound: There is no such artifact, or none for that platform.
        ContentError: It holds no files, or names that lead out of the directory; or an archive is damaged.
        StoreError: A file is there already, or cannot be written.
        InvalidArgument: It is an index, and no platform is named.
    """
    layers = await _layers(store, reference, platform)
    root = Path(directory)
    places = {title: root / title for title in layers}
    with mapped_os_errors(root):
        await in_thread(partial(_check_places, root, list(places.values()), overwrite=overwrite))
    for title, layer in layers.items():
        if layer.annotations.get(UNPACK) == "true":
            unpack = partial(unpack_directory, name=title, limit=max_unpacked)
            await _pull_directory(store, layer, places[title], root, unpack)
        else:
            await _pull_file(store, layer, places[title], root)
    return list(places.values())


async def _layers(
    store: ReadableStore, reference: str, platform: Platform | str | None
) -> dict[PurePosixPath, Descriptor]:
    """Return the layers that are files, by their checked titles."""
    manifest = await store.fetch_manifest(reference)
    if is_index(manifest.media_type):
        if platform is None:
            raise InvalidArgument(f"{reference} is an index of manifests: name the platform")
        chosen = manifest.select(platform)
        manifest = (await store.fetch_manifest(chosen.digest)).verify(chosen)
    content = manifest.content
    layers = content.layers if isinstance(content, ImageManifest) else ()
    named = [(check_title(layer.annotations[TITLE]), layer) for layer in layers if TITLE in layer.annotations]
    clash = _clash(title for title, _ in named)
    if clash is not None:
        raise ContentError(f"{manifest.digest} has two files that would be {clash}")
    if not named:
        raise ContentError(f"{manifest.digest} has no files: none of its layers has a title")
    return dict(named)


def _check_places(root: Path, places: list[Path], *, overwrite: bool) -> None:
    """Make sure that every place is below `root`, through no link, and free if it has to be."""
    root.mkdir(parents=True, exist_ok=True)
    for place in places:
        for parent in place.parents:
            if parent == root:
                break
            if parent.is_symlink() or (parent.exists() and not parent.is_dir()):
                raise StoreError(f"{parent} is a link or a file: nothing is written through it")
        if place.is_symlink() or (place.exists() and not overwrite):
            raise StoreError(f"{place} is there already (overwrite=True replaces files, never links)")


async def _pull_file(store: ReadableStore, layer: Descriptor, place: Path, root: Path) -> None:
    with mapped_os_errors(place):
        if await in_thread(place.is_dir):
            raise StoreError(f"{place} is a directory, and would be a file")
    async with store.open_blob(layer) as stream:
        await ingest(stream, layer, place, aside=root)


async def _pull_directory(
    store: ReadableStore, layer: Descriptor, place: Path, root: Path, unpack: Callable[..., None]
) -> None:
    """Unpack aside, and put the directory in its place when all of it is right."""
    async with temporary_directory(root) as aside:
        archive, new = aside / "archive", aside / "new"
        async with store.open_blob(layer) as stream:
            await ingest(stream, layer, archive, aside=aside)
        with mapped_os_errors(place):
            await in_thread(partial(unpack, archive, new, digest=layer.annotations.get(CONTENT_DIGEST)))
            await in_thread(partial(_put, new, place, aside / "old"))


def _put(new: Path, place: Path, old: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists():
        new.replace(place)
        return
    place.replace(old)
    try:
        new.replace(place)
    except BaseException:
        old.replace(place)
        raise
