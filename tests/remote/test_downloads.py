"""Blobs as files: whole and verified, or not there; and resumed by whoever comes next."""

from __future__ import annotations

import resource
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from filelock import FileLock

import oci_distribution as oci
from oci_distribution.testing import Fault, RunningRegistry
from tests.disk import names_below
from tests.hostile import Exchange, hostile

DATA = bytes(range(256)) * 20_000
BLOB = oci.Descriptor(media_type=oci.MediaType.OCTET_STREAM, digest=oci.Digest.of(DATA), size=len(DATA))
HALF = len(DATA) // 2


@pytest.fixture
async def filled(repo: oci.Repository, registry: RunningRegistry) -> oci.Repository:
    await repo.blobs.push(DATA)
    await repo.blobs.push(b"")
    registry.requests.clear()
    return repo


@pytest.fixture
def impatient(filled: oci.Repository) -> oci.Repository:
    filled.registry.sender.retry = oci.RetryPolicy(attempts=1)
    return filled


def part_of(path: Path, blob: oci.Descriptor = BLOB) -> Path:
    return path.with_name(f"{path.name}.{blob.digest.encoded[:16]}.part")


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("blob", [BLOB, BLOB.digest])
async def test_a_blob_becomes_a_file(
    filled: oci.Repository, tmp_path: Path, blob: oci.Descriptor | oci.Digest, resume: bool
) -> None:
    """By descriptor or digest, in a directory that is made, and nothing lies beside it."""
    target = tmp_path / "new" / "layer"

    descriptor = await filled.blobs.download(blob, target, resume=resume)

    assert target.read_bytes() == DATA
    assert descriptor.size == len(DATA)
    assert names_below(tmp_path) == ["new", "new/layer"]


@pytest.mark.parametrize("resume", [False, True])
async def test_an_empty_blob_becomes_a_file(filled: oci.Repository, tmp_path: Path, resume: bool) -> None:
    """Of no bytes."""
    await filled.blobs.download(oci.Digest.of(b""), tmp_path / "layer", resume=resume)

    assert (tmp_path / "layer").read_bytes() == b""


async def test_several_connections_make_a_file(filled: oci.Repository, tmp_path: Path) -> None:
    """A download can be split, too."""
    await filled.blobs.download(BLOB, tmp_path / "layer", connections=3)

    assert (tmp_path / "layer").read_bytes() == DATA


@pytest.mark.parametrize("resume", [False, True])
async def test_wrong_bytes_leave_the_old_file(
    filled: oci.Repository, registry: RunningRegistry, tmp_path: Path, resume: bool
) -> None:
    """What was there stays, and nothing else is there."""
    target = tmp_path / "layer"
    target.write_bytes(b"old")
    registry.faults.add(Fault(method="GET", corrupt_at=HALF))

    with pytest.raises(oci.DigestMismatch):
        await filled.blobs.download(BLOB, target, resume=resume)

    assert target.read_bytes() == b"old"
    assert names_below(tmp_path) == ["layer"]


async def test_a_broken_download_leaves_nothing(
    impatient: oci.Repository, registry: RunningRegistry, tmp_path: Path
) -> None:
    """Unless it was asked to."""
    registry.faults.add(Fault(method="GET", reset_answer_after=HALF))

    with pytest.raises(oci.BrokenAnswer):
        await impatient.blobs.download(BLOB, tmp_path / "layer")

    assert names_below(tmp_path) == []


async def test_a_broken_download_is_resumed(
    impatient: oci.Repository, registry: RunningRegistry, tmp_path: Path
) -> None:
    """What came is kept, and only the rest is asked for."""
    target = tmp_path / "layer"
    registry.faults.add(Fault(method="GET", nth=1, reset_answer_after=HALF))
    with pytest.raises(oci.BrokenAnswer):
        await impatient.blobs.download(BLOB, target, resume=True)
    kept = part_of(target).read_bytes()
    assert kept == DATA[: len(kept)]
    assert len(kept) >= 1 << 20
    assert not target.exists()

    await impatient.blobs.download(BLOB, target, resume=True)

    assert target.read_bytes() == DATA
    assert registry.requests[-1].headers["range"] == f"bytes={len(kept)}-"
    assert names_below(tmp_path) == ["layer"]


async def test_a_cancelled_download_is_resumed(
    filled: oci.Repository, registry: RunningRegistry, tmp_path: Path
) -> None:
    """Cancellation keeps what is there, whole pieces of it."""
    target, data = tmp_path / "layer", bytes(16 << 20)
    blob = await filled.blobs.push(data)
    with anyio.CancelScope() as scope:

        def sink(event: oci.Event) -> None:
            if isinstance(event, oci.Downloaded) and event.position > 2 << 20:
                scope.cancel()

        with oci.observe(sink):
            await filled.blobs.download(blob, target, resume=True)

    assert scope.cancelled_caught
    assert 0 < part_of(target, blob).stat().st_size < len(data)
    await filled.blobs.download(blob, target, resume=True)
    assert target.read_bytes() == data


@pytest.mark.parametrize("broken_by", ["cancellation", "the registry"])
async def test_a_little_is_kept_too(client: oci.Client, tmp_path: Path, broken_by: str) -> None:
    """A slow line gets on with a small blob, too: every byte that was told to have come is kept."""
    target, told, has_come = tmp_path / "layer", 0, anyio.Event()
    part_of(target).write_bytes(DATA[:1000])

    async def script(exchange: Exchange) -> None:
        headers = [("Content-Range", f"bytes 1000-{len(DATA) - 1}/{len(DATA)}")]
        await exchange.answer(206, DATA[1000:300_000], headers, length=len(DATA) - 1000)
        await has_come.wait()
        exchange.close()

    with anyio.CancelScope() as scope:

        def sink(event: oci.Event) -> None:
            nonlocal told
            if isinstance(event, oci.Downloaded):
                told = event.position
                has_come.set()
                if broken_by == "cancellation":
                    scope.cancel()

        with oci.observe(sink), suppress(oci.BrokenAnswer):
            async with hostile(script) as server:
                registry = client.registry(server.url)
                registry.sender.retry = oci.RetryPolicy(attempts=1)
                await registry.download_blob("a", BLOB, target, resume=True)

    assert 1000 < told <= 300_000
    assert part_of(target).read_bytes()[:told] == DATA[:told]


async def test_a_part_that_somebody_else_wrote_to(filled: oci.Repository, tmp_path: Path) -> None:
    """Whoever removes lock files gets an error, and no file with what two have written."""
    target = tmp_path / "layer"

    def sink(event: oci.Event) -> None:
        if isinstance(event, oci.Downloaded) and event.position == len(DATA):
            with part_of(target).open("ab") as file:
                file.write(b"more")

    with oci.observe(sink), pytest.raises(oci.StoreError, match="somebody else"):
        await filled.blobs.download(BLOB, target, resume=True)

    assert not target.exists()
    await filled.blobs.download(BLOB, target, resume=True)
    assert target.read_bytes() == DATA


async def test_a_download_of_a_killed_process_is_resumed(
    filled: oci.Repository, registry: RunningRegistry, tmp_path: Path
) -> None:
    """Another process goes on; the lock of the one that is gone does not matter."""
    target, data = tmp_path / "layer", bytes(16 << 20)
    blob = await filled.blobs.push(data)
    script = f"""
import asyncio, os, oci_distribution as oci
def die(event):
    if isinstance(event, oci.Downloaded) and event.position > 3 << 20:
        os._exit(9)
async def main():
    async with oci.Client() as client:
        with oci.observe(die):
            blobs = client.repository({f"{registry.url}/team/app"!r}).blobs
            await blobs.download({str(blob.digest)!r}, {str(target)!r}, resume=True)
asyncio.run(main())
"""
    process = await anyio.run_process([sys.executable, "-c", script], check=False, stderr=subprocess.PIPE)
    assert process.returncode == 9, process.stderr
    kept = part_of(target, blob).stat().st_size
    assert 0 < kept < len(data)
    registry.requests.clear()

    await filled.blobs.download(blob, target, resume=True)

    assert target.read_bytes() == data
    assert registry.requests[0].headers["range"] == f"bytes={kept}-"
    assert names_below(tmp_path) == ["layer"]


@pytest.mark.parametrize("kept", [b"damaged" * 1000, DATA[:HALF] + b"x", DATA + b"more"])
async def test_what_was_kept_is_not_trusted(filled: oci.Repository, tmp_path: Path, kept: bytes) -> None:
    """A part that is not the beginning of the blob is thrown away, and the download begins again."""
    target = tmp_path / "layer"
    part_of(target).write_bytes(kept)

    await filled.blobs.download(BLOB, target, resume=True)

    assert target.read_bytes() == DATA
    assert names_below(tmp_path) == ["layer"]


async def test_a_part_that_is_whole_already(
    filled: oci.Repository, registry: RunningRegistry, tmp_path: Path
) -> None:
    """It is hashed, and nothing is asked for."""
    target = tmp_path / "layer"
    part_of(target).write_bytes(DATA)

    await filled.blobs.download(BLOB, target, resume=True)

    assert target.read_bytes() == DATA
    assert len(registry.requests) == 0


async def test_a_file_that_is_whole_already(
    filled: oci.Repository, registry: RunningRegistry, tmp_path: Path
) -> None:
    """It is hashed, and nothing is asked for; one of the same length that is another is replaced."""
    target = tmp_path / "layer"
    target.write_bytes(DATA)

    await filled.blobs.download(BLOB, target, resume=True)
    assert len(registry.requests) == 0

    target.write_bytes(bytes(len(DATA)))
    await filled.blobs.download(BLOB, target, resume=True)
    assert target.read_bytes() == DATA
    assert names_below(tmp_path) == ["layer"]


async def test_the_longest_name(filled: oci.Repository, tmp_path: Path) -> None:
    """A file whose name is as long as it can be has a part whose name is not longer."""
    target = tmp_path / ("ä" * 127 + "x")

    await filled.blobs.download(BLOB, target, resume=True)

    assert target.read_bytes() == DATA


async def test_two_downloads_do_not_share_a_part(filled: oci.Repository, tmp_path: Path) -> None:
    """Who comes second is told."""
    target = tmp_path / "layer"
    with (
        FileLock(part_of(target).with_name(f"{part_of(target).name}.lock")),
        pytest.raises(oci.StoreError, match="somebody else"),
    ):
        await filled.blobs.download(BLOB, target, resume=True)


async def test_progress_is_told(filled: oci.Repository, tmp_path: Path) -> None:
    """From where it began to the end."""
    target = tmp_path / "layer"
    part_of(target).write_bytes(DATA[:HALF])
    seen: list[oci.Downloaded] = []

    with oci.observe(lambda event: seen.append(event) if isinstance(event, oci.Downloaded) else None):
        await filled.blobs.download(BLOB, target, resume=True)

    positions = [event.position for event in seen]
    assert positions[0] > HALF
    assert (positions, positions[-1]) == (sorted(positions), len(DATA))


async def test_a_place_that_cannot_be_written(filled: oci.Repository, tmp_path: Path) -> None:
    """The error names it."""
    (tmp_path / "file").write_bytes(b"")
    for resume in (False, True):
        with pytest.raises(oci.StoreError, match="file"):
            await filled.blobs.download(BLOB, tmp_path / "file" / "layer", resume=resume)


@pytest.mark.parametrize("resume", [False, True])
async def test_a_disk_that_is_full(filled: oci.Repository, tmp_path: Path, resume: bool) -> None:
    """The error names the file that was asked for, or its part, and not one that is gone by then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (HALF, hard))
    try:
        with pytest.raises(oci.StoreError, match="layer"):
            await filled.blobs.download(BLOB, tmp_path / "layer", resume=resume)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_blob_that_is_not_there(filled: oci.Repository, tmp_path: Path) -> None:
    """There is no file either."""
    for resume in (False, True):
        with pytest.raises(oci.BlobUnknown):
            await filled.blobs.download(oci.Digest.of(b"?"), tmp_path / "layer", resume=resume)
    assert names_below(tmp_path) == []
