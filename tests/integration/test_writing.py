"""Writing to real registries: in every way, killed and gone on with, and read by other people's tools."""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
import tarfile
from collections.abc import AsyncGenerator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import anyio
import pytest

import oci_distribution as oci
from benchmarks.services import debian_registry, distribution, free_port
from tests.images import push_image
from tests.integration.conftest import Tool, find, runner
from tests.remote.test_referrers_index import push_from_four_processes

DATA = bytes(range(256)) * 20_000
DIGEST = oci.Digest.of(DATA)
CHUNK = 1_000_000


class Serve(Protocol):
    """Starts a registry."""

    def __call__(
        self, folder: Path, more: str = "", *, port: int | None = None
    ) -> AbstractContextManager[str]: ...


@pytest.fixture(scope="module", params=["docker-registry", "registry"])
def serve(request: pytest.FixtureRequest) -> Serve:
    """Distribution 2.8 and v3."""
    find(request.param)
    return debian_registry if request.param == "docker-registry" else distribution


@pytest.fixture
async def client() -> AsyncGenerator[oci.Client]:
    async with oci.Client() as client:
        yield client


async def pieces() -> AsyncGenerator[bytes]:
    for start in range(0, len(DATA), 70_000):
        yield DATA[start : start + 70_000]


async def test_every_way_of_writing(serve: Serve, client: oci.Client, tmp_path: Path) -> None:
    """With the POST, whole, in one PATCH, in chunks, as a stream, mounted: every blob is what it was."""
    (tmp_path / "blob").write_bytes(DATA)
    with serve(tmp_path) as host:
        other = client.repository(f"{host}/team/other")
        for number, data in enumerate((b"", b"small", DATA)):
            repo = client.repository(f"{host}/team/app-{number}")
            assert await repo.blobs.read(await repo.blobs.push(data), limit=len(DATA)) == data
        sources: list[oci.SourceLike | AsyncGenerator[bytes]] = [tmp_path / "blob", pieces, pieces()]
        for number, source in enumerate(sources):
            repo = client.repository(f"{host}/team/chunked-{number}")
            blob = await repo.blobs.push(source, chunk_size=CHUNK)
            assert await repo.blobs.read(blob, limit=len(DATA)) == DATA
        repo = client.repository(f"{host}/team/streamed")
        repo.registry.learned.refused_sizes["whole"] = 0
        assert await repo.blobs.read(await repo.blobs.push(DATA), limit=len(DATA)) == DATA

        assert await other.blobs.mount(DIGEST, "team/streamed") is True
        assert await other.blobs.read(DIGEST, limit=len(DATA)) == DATA
        assert await other.blobs.mount(oci.Digest.of(b"nowhere"), "team/streamed") is False


WRITER = """
import asyncio, sys
import oci_distribution as oci

async def main(name, path, chunk):
    async with oci.Client() as client:
        async with client.repository(name).blobs.writer(chunk_size=chunk) as writer:
            await writer.write(open(path, "rb").read()[: 2 * chunk + 10])
            print(writer.session.model_dump_json(), flush=True)
            await writer.write(open(path, "rb").read()[2 * chunk + 10 : 3 * chunk])
            print(writer.session.model_dump_json(), flush=True)
            await asyncio.sleep(3600)

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


async def killed_writer(host: str, path: Path, *, is_noted: bool) -> oci.UploadSession:
    """Let another process write three chunks and be killed; it noted where it was, perhaps a chunk too early."""
    command = [sys.executable, "-c", WRITER, f"{host}/team/app", str(path), str(CHUNK)]
    async with await anyio.open_process(command) as process:
        assert process.stdout is not None
        said = b""
        while said.count(b"\n") < 2:
            said += await process.stdout.receive()
        process.kill()
    return oci.UploadSession.model_validate_json(said.splitlines()[is_noted])


async def go_on(host: str, client: oci.Client, session: oci.UploadSession, path: Path) -> None:
    repo = client.repository(f"{host}/team/app")
    async with repo.blobs.resume(session, prefix=path) as writer:
        assert writer.size == 3 * CHUNK
        await writer.write(DATA[writer.size :])
        blob = await writer.commit()
    assert blob.digest == DIGEST
    assert await repo.blobs.read(blob, limit=len(DATA)) == DATA


@pytest.mark.parametrize("is_noted", [True, False], ids=["noted", "not noted"])
async def test_killed_and_gone_on_with(
    serve: Serve, client: oci.Client, tmp_path: Path, *, is_noted: bool
) -> None:
    """After SIGKILL only what the registry lacks is sent; 2.8 knows an upload by its newest location only."""
    path = tmp_path / "blob"
    path.write_bytes(DATA)
    with serve(tmp_path / "registry") as host:
        session = await killed_writer(host, path, is_noted=is_noted)
        if serve is debian_registry and not is_noted:
            with pytest.raises(oci.BlobUploadUnknown):
                await go_on(host, client, session, path)
        else:
            await go_on(host, client, session, path)


async def test_registry_restarted_in_between(serve: Serve, client: oci.Client, tmp_path: Path) -> None:
    """The upload is on its disk."""
    path, port = tmp_path / "blob", free_port()
    path.write_bytes(DATA)
    with serve(tmp_path / "registry", port=port) as host:
        session = await killed_writer(host, path, is_noted=True)
    with serve(tmp_path / "registry", port=port) as host:
        await go_on(host, client, session, path)


async def write_image(repo: oci.Repository, folder: Path) -> oci.Manifest:
    """Push an image with a real layer, in chunks, and a config that fits to it."""
    raw = io.BytesIO()
    with tarfile.open(mode="w", fileobj=raw) as tar:
        info = tarfile.TarInfo("usr/share/data")
        info.size = len(DATA)
        tar.addfile(info, io.BytesIO(os.urandom(len(DATA))))
    path = folder / "layer.tar.gz"
    path.write_bytes(gzip.compress(raw.getvalue(), 1))
    layer = await repo.blobs.push(path, media_type=oci.MediaType.IMAGE_LAYER_GZIP, chunk_size=CHUNK)
    rootfs = {"type": "layers", "diff_ids": [oci.Digest.of(raw.getvalue())]}
    content = {"os": "linux", "architecture": "amd64", "config": {}, "rootfs": rootfs}
    config = await repo.blobs.push(json.dumps(content).encode(), media_type=oci.MediaType.IMAGE_CONFIG)
    manifest = oci.pack_manifest(config=config, layers=[layer])
    await repo.manifests.push(manifest, tags=["v1", "latest"])
    return manifest


async def test_what_we_write_is_read_by_others(
    serve: Serve, client: oci.Client, tmp_path: Path, crane: Tool, skopeo: Tool
) -> None:
    """An image whose layer came in chunks is a whole and valid one to crane, oras, regctl and skopeo."""
    regctl, oras = runner("regctl", {"HOME": str(tmp_path)}), runner("oras")
    with serve(tmp_path / "registry") as host:
        image = await write_image(client.repository(f"{host}/team/app"), tmp_path)
        name = f"{host}/team/app:latest"

        assert "PASS" in crane("validate", "--remote", name)
        assert image.digest in oras("manifest", "fetch", "--plain-http", "--descriptor", name)
        oras("cp", "--from-plain-http", "--to-oci-layout", name, f"{tmp_path / 'by-oras'}:v1")
        regctl("registry", "set", "--tls", "disabled", host)
        assert regctl("manifest", "head", name) == image.digest
        regctl("image", "copy", name, f"ocidir://{tmp_path / 'by-regctl'}:v1")
        skopeo("copy", "--src-tls-verify=false", f"docker://{name}", f"oci:{tmp_path / 'by-skopeo'}:v1")
        for tool in ("oras", "regctl", "skopeo"):
            assert (await oci.Layout(tmp_path / f"by-{tool}").resolve("v1")).digest == image.digest


async def test_twenty_pushers_of_referrers(serve: Serve, client: oci.Client, tmp_path: Path) -> None:
    """On a registry that honours no condition, nobody's entry is lost either."""
    with serve(tmp_path / "registry") as host:
        repo = client.repository(f"{host}/team/app")
        subject = await push_image(repo)
        await push_from_four_processes(f"{host}/team/app", subject.digest)

        numbers = {entry.annotations["number"] for entry in await repo.referrers.get(subject.digest)}
        assert numbers == {str(number) for number in range(20)}


async def test_referrers_both_ways(serve: Serve, client: oci.Client, tmp_path: Path) -> None:
    """What oras and regctl attach is in our list, what we push is in theirs, and all stays on one list."""
    regctl, oras = runner("regctl", {"HOME": str(tmp_path)}), runner("oras")
    (tmp_path / "note.txt").write_text("a note")
    with serve(tmp_path / "registry") as host:
        repo = client.repository(f"{host}/team/app")
        subject = await push_image(repo, tag="v1")
        name = f"{host}/team/app:v1"
        regctl("registry", "set", "--tls", "disabled", host)
        oras(
            *("attach", "--plain-http", "--disable-path-validation", "--artifact-type", "example/oras"),
            *(name, f"{tmp_path / 'note.txt'}:text/plain"),
        )
        config = await repo.blobs.push(b"{}", media_type=oci.MediaType.EMPTY_JSON)
        content = oci.ImageManifest(
            artifact_type="example/ours", config=config, layers=(config,), subject=subject.descriptor
        )
        ours = await repo.manifests.push(oci.Manifest.of(content))
        regctl(
            *("artifact", "put", "--artifact-type", "example/regctl", "--subject", name),
            *("--file", str(tmp_path / "note.txt"), "--file-media-type", "text/plain"),
        )

        kinds = {entry.artifact_type for entry in await repo.referrers.get(subject.digest)}
        assert kinds == {"example/oras", "example/ours", "example/regctl"}
        for seen in (
            oras("discover", "--plain-http", "--format", "json", name),
            regctl("artifact", "list", name),
        ):
            assert ours.digest in seen
