"""Pushing a blob from wherever its bytes come."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable
from functools import partial
from pathlib import Path

from oci_distribution.content.files import mapped_os_errors, read_bounded
from oci_distribution.content.protocols import PushOutcome, Source
from oci_distribution.content.sources import FileSource, SourceLike, as_source, describe
from oci_distribution.errors import DigestMismatch, LimitExceeded
from oci_distribution.iterating import iterating
from oci_distribution.remote.blob_writer import BlobWriter
from oci_distribution.remote.open_upload import UploadTarget
from oci_distribution.remote.uploads import CHUNK_SIZE, SINGLE_POST, Upload, check_chunk_size
from oci_distribution.spec.digest import DEFAULT_ALGORITHM, Digest
from oci_distribution.spec.mediatypes import check_media_type
from oci_distribution.spec.models import Descriptor
from oci_distribution.waiting import in_thread

__all__ = ["push"]


async def push(
    target: UploadTarget,
    data: SourceLike | AsyncIterable[bytes],
    descriptor: Descriptor | None,
    *,
    media_type: str,
    mount_from: str | None,
    chunk_size: int | None,
) -> tuple[Descriptor, PushOutcome]:
    """Store a blob; see `Registry.push_blob`.

    Args:
        target: The repository.
        data: The bytes.
        descriptor: What they must be, if that is known.
        media_type: Goes into the descriptor that is made else.
        mount_from: A repository of the same registry that holds the blob.
        chunk_size: Bytes of each chunk; None where the blob need not go in chunks.
    """
    if chunk_size is not None:
        check_chunk_size(chunk_size)
    check_media_type(media_type)
    if isinstance(data, AsyncIterable) and not isinstance(data, Source):
        if descriptor is not None and await target.exists(descriptor.digest, descriptor.size):
            return descriptor, PushOutcome.EXISTED
        size = CHUNK_SIZE if chunk_size is None else chunk_size
        stream: AsyncIterable[bytes] = data  # pyright: ignore[reportUnknownVariableType] - or a source
        algorithm = DEFAULT_ALGORITHM if descriptor is None else descriptor.digest.algorithm
        writing = BlobWriter(target, chunk_size=size, algorithm=algorithm)
        async with writing as writer, iterating(stream) as pieces:
            async for piece in pieces:
                await writer.write(piece)
            return await writer.commit(descriptor, media_type=media_type), PushOutcome.COPIED
    if isinstance(data, os.PathLike):
        data = await _in_memory_if_small(Path(data))  # pyright: ignore[reportUnknownArgumentType]
    blob = descriptor if descriptor is not None else await describe(data, media_type)
    if descriptor is not None and isinstance(data, bytes | bytearray | memoryview):
        _check(data, blob)
    upload = Upload(target, blob, as_source(data, size=blob.size), chunk_size)
    return blob, await upload.run(mount_from=mount_from)


async def _in_memory_if_small(path: Path) -> bytes | Path:
    """Return what a small file holds: to read it twice, in threads, costs more than to send it."""
    if FileSource(path).size > SINGLE_POST:
        return path
    try:
        with mapped_os_errors(path):
            return await in_thread(partial(read_bounded, path, SINGLE_POST))
    except LimitExceeded:
        return path  # it has grown meanwhile


def _check(data: bytes | bytearray | memoryview, blob: Descriptor) -> None:
    """Find out before the first request, where that costs no second reading."""
    actual = Digest.of(data, blob.digest.algorithm)
    if actual != blob.digest:
        raise DigestMismatch(f"the data hashes to {actual}, not to {blob.digest}")
