"""Upload a file in chunks; killed at any moment and started again, it goes on where the registry is.

    python examples/resumable_upload.py layer.tar.gz registry.example/team/app

Where the upload stands is kept in `layer.tar.gz.upload` until the registry has the blob. Who can read that
file can write to the upload, so it is only for you.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import anyio
from command import run

import oci_distribution as oci


async def upload(repository: oci.Repository, path: Path, state: Path, *, chunk_size: int) -> oci.Descriptor:
    """Upload a file, from where an earlier run was stopped."""
    session = kept(state)
    if session is not None:
        try:
            return await feed(repository.blobs.resume(session, prefix=path), path, state)
        except (oci.BlobUploadUnknown, oci.ContentError) as error:
            # The registry has forgotten the upload, or the file is another one now.
            print(f"from the start, since {error}", file=sys.stderr)
    return await feed(repository.blobs.writer(chunk_size=chunk_size), path, state)


async def feed(writer: oci.BlobWriter, path: Path, state: Path) -> oci.Descriptor:
    """Write the rest of the file, and note after each chunk where the upload stands."""
    async with writer, await anyio.open_file(path, "rb") as file:
        try:
            keep(writer.session, state)
            await file.seek(writer.size)
            while piece := await file.read(writer.chunk_size):
                await writer.write(piece)
                keep(writer.session, state)
            return await writer.commit()
        except (OSError, oci.TransportError, anyio.get_cancelled_exc_class()):
            keep(await writer.suspend(), state)
            raise


def kept(state: Path) -> oci.UploadSession | None:
    """Return what an earlier run noted."""
    return oci.UploadSession.model_validate_json(state.read_text()) if state.exists() else None


def keep(session: oci.UploadSession, state: Path) -> None:
    """Replace the note at once, so that it is never half-written."""
    new = state.with_name(f"{state.name}.new")
    new.touch(mode=0o600)
    new.write_text(session.model_dump_json())
    new.replace(state)


async def push(name: str, path: Path, *, chunk_size: int) -> None:
    """Upload a file to a repository that does not have it."""
    state = path.with_name(f"{path.name}.upload")
    async with oci.Client() as client:
        repository = client.repository(name)
        digest = await digest_of(path)
        try:
            blob = await repository.blobs.stat(digest)
        except oci.NotFound:
            blob = await upload(repository, path, state, chunk_size=chunk_size)
    state.unlink(missing_ok=True)
    print(f"{path}: {blob.size:,} bytes, {blob.digest}")


async def digest_of(path: Path) -> oci.Digest:
    """Return the digest of a file: what is there already need not be sent."""
    hasher = oci.Hasher()
    async with await anyio.open_file(path, "rb") as file:
        while piece := await file.read(1 << 20):
            hasher.update(piece)
    return hasher.digest()


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line, and return the exit status."""
    parser = argparse.ArgumentParser(description="Upload a file, resumed where it was broken off.")
    parser.add_argument("path", type=Path, help="the file")
    parser.add_argument("repository", help="ghcr.io/org/app, http://127.0.0.1:5000/app")
    parser.add_argument("--chunk-size", type=int, default=8 << 20, help="bytes; by default %(default)s")
    options = parser.parse_args(arguments)
    job = push(options.repository, options.path, chunk_size=options.chunk_size)
    return run(job, on_cancel="run it again to go on from there")


if __name__ == "__main__":
    sys.exit(main())
