"""Storage in a directory: restarts, kills, layouts."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from oci_distribution.errors import ConfigError, InvalidReference
from oci_distribution.spec.digest import Digest
from oci_distribution.testing import DirectoryStorage, MemoryStorage, serve_registry
from oci_distribution.testing.storage import RepositoryStorage

if TYPE_CHECKING:
    from tests.testing.conftest import Remote


@asynccontextmanager
async def _open(path: Path, make_remote: type[Remote]) -> AsyncIterator[Remote]:
    async with (
        serve_registry(storage=DirectoryStorage(path)) as registry,
        aiohttp.ClientSession(registry.url) as session,
    ):
        yield make_remote(session, registry)


async def test_everything_survives_a_restart(tmp_path: Path, make_remote: type[Remote]) -> None:
    """Blobs, manifests, tags, types and referrers are there again."""
    subject = {"mediaType": make_remote.image, "digest": "sha256:" + "1" * 64, "size": 1}
    async with _open(tmp_path, make_remote) as remote:
        raw = await remote.push_image("a/b", "v1", subject=subject)
        await remote.push_manifest("a/b", "v2", raw)
        untagged = json.dumps({"mediaType": "application/vnd.example.v1+json"}).encode()
        await remote.push_manifest(
            "c", remote.digest_of(untagged), untagged, "application/vnd.example.v1+json"
        )
    async with _open(tmp_path, make_remote) as remote:
        assert (await remote.ask("GET", "/v2/_catalog")).json["repositories"] == ["a/b", "c"]
        assert (await remote.ask("GET", "/v2/a/b/tags/list")).json["tags"] == ["v1", "v2"]
        assert (await remote.ask("GET", "/v2/a/b/manifests/v2")).body == raw
        layer = remote.digest_of(b"layer")
        assert (await remote.ask("GET", f"/v2/a/b/blobs/{layer}")).body == b"layer"
        answer = await remote.ask("GET", f"/v2/c/manifests/{remote.digest_of(untagged)}")
        assert (answer.body, answer.headers["Content-Type"]) == (untagged, "application/vnd.example.v1+json")
        referrers = (await remote.ask("GET", f"/v2/a/b/referrers/{subject['digest']}")).json["manifests"]
        assert [entry["digest"] for entry in referrers] == [remote.digest_of(raw)]


async def test_deletes_survive_a_restart(tmp_path: Path, make_remote: type[Remote]) -> None:
    """What was deleted stays away."""
    async with _open(tmp_path, make_remote) as remote:
        raw = await remote.push_image("a", "v1")
        await remote.push_image("a", "v2", layer=b"other")
        await remote.ask("DELETE", f"/v2/a/manifests/{remote.digest_of(raw)}")
        await remote.ask("DELETE", f"/v2/a/blobs/{remote.digest_of(b'layer')}")
    async with _open(tmp_path, make_remote) as remote:
        assert (await remote.ask("GET", "/v2/a/tags/list")).json["tags"] == ["v2"]
        assert (await remote.ask("HEAD", f"/v2/a/blobs/{remote.digest_of(b'layer')}")).status == 404


async def test_repository_is_an_image_layout(tmp_path: Path, make_remote: type[Remote]) -> None:
    """Other tools can read it: marker, index with tags, and blobs by digest."""
    async with _open(tmp_path, make_remote) as remote:
        raw = await remote.push_image("a/b", "v1")
    layout = tmp_path / "repositories" / "a+b"
    assert json.loads((layout / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((layout / "index.json").read_bytes())
    digest = make_remote.digest_of(raw)
    assert index["manifests"] == [
        {
            "mediaType": make_remote.image,
            "digest": digest,
            "size": len(raw),
            "annotations": {"org.opencontainers.image.ref.name": "v1"},
        }
    ]
    assert (layout / "blobs" / "sha256" / digest.partition(":")[2]).read_bytes() == raw


@pytest.mark.parametrize(
    "name", ["a/blobs", "a/blobs/sha256", "a/index.json", "a/oci-layout", "a/b", "x" * 255]
)
async def test_names_that_look_like_parts_of_a_layout(
    name: str, tmp_path: Path, make_remote: type[Remote]
) -> None:
    """No repository's name can get into the way of another one."""
    async with _open(tmp_path, make_remote) as remote:
        raw = await remote.push_image("a", "v1")
        other = await remote.push_image(name, "v1", layer=b"other")
    async with _open(tmp_path, make_remote) as remote:
        assert (await remote.ask("GET", "/v2/a/manifests/v1")).body == raw
        assert (await remote.ask("GET", f"/v2/{name}/manifests/v1")).body == other
        assert (await remote.ask("GET", "/v2/_catalog")).json["repositories"] == sorted(["a", name])


async def test_mount_is_a_link(tmp_path: Path, make_remote: type[Remote]) -> None:
    """A mounted blob takes no space."""
    async with _open(tmp_path, make_remote) as remote:
        digest = (await remote.push_blob("a", b"data"))["digest"]
        assert (await remote.ask("POST", f"/v2/b/blobs/uploads/?mount={digest}&from=a")).status == 201
    files = [tmp_path / "repositories" / name / "blobs/sha256" / digest.partition(":")[2] for name in "ab"]
    assert files[0].samefile(files[1])


@pytest.mark.parametrize("name", ["..", "../x", "a/../b", "/etc", "A", "", "a\x00b", "x" * 256])
async def test_path_tricks(name: str, tmp_path: Path) -> None:
    """The storage checks names itself, too."""
    storage = DirectoryStorage(tmp_path)
    with pytest.raises(InvalidReference):
        storage.open(name)
    with pytest.raises(InvalidReference):
        storage.find(name)


async def test_upload_that_is_left_alone_holds_no_buffer(tmp_path: Path, make_remote: type[Remote]) -> None:
    """Between requests everything is in the file, which is closed."""
    async with _open(tmp_path, make_remote) as remote:
        await remote.ask("PATCH", await remote.start("a"), data=b"0123456789")
        (file,) = (tmp_path / ".uploads").iterdir()
        assert file.read_bytes() == b"0123456789"


async def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    """Only our own leftovers are removed, and only repositories are listed."""
    DirectoryStorage(tmp_path)
    ours, foreign = tmp_path / ".uploads" / ("0" * 32), tmp_path / ".uploads" / "thesis.txt"
    ours.touch()
    foreign.touch()
    (tmp_path / "repositories" / "No Name").mkdir()
    assert DirectoryStorage(tmp_path).names() == []
    assert (ours.exists(), foreign.exists()) == (False, True)


@pytest.mark.parametrize("text", ["", "[]", '{"manifests": [{}]}', '{"manifests": [{"digest": "x"}]}'])
async def test_broken_index(text: str, tmp_path: Path) -> None:
    """A broken file is an error that names it, not an empty repository."""
    layout = tmp_path / "repositories" / "a"
    layout.mkdir(parents=True)
    (layout / "index.json").write_text(text)
    with pytest.raises(ConfigError, match=r"a/index\.json"):
        DirectoryStorage(tmp_path).find("a")


def _put_blob(repository: RepositoryStorage) -> Digest:
    upload = repository.new_upload()
    upload.write(b"data")
    upload.commit(Digest.of(b"data"))
    return Digest.of(b"data")


async def test_mount_between_storages_is_refused(tmp_path: Path) -> None:
    """A storage only mounts what is its own."""
    memory, directory = MemoryStorage().open("a"), DirectoryStorage(tmp_path).open("a")
    digests = _put_blob(memory), _put_blob(directory)
    assert not memory.mount(digests[1], directory)
    assert not directory.mount(digests[0], memory)


async def test_killed_process_leaves_no_half_content(tmp_path: Path, make_remote: type[Remote]) -> None:
    """After a kill in the middle of an upload, the next process knows what was whole, and nothing else."""
    command = [sys.executable, "-m", "oci_distribution.testing", "--storage", str(tmp_path)]
    async with await anyio.open_process(command, stderr=None) as process:
        assert process.stdout is not None
        url = (await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", 100)).decode()
        async with aiohttp.ClientSession(url) as session:
            remote = make_remote(session, None)  # type: ignore[arg-type]
            raw = await remote.push_image("a", "v1")
            await remote.ask("PATCH", await remote.start("a"), data=b"x" * 100_000)
            cut = anyio.Event()

            async def body() -> AsyncIterator[bytes]:
                yield b"y" * 100_000
                os.kill(process.pid, signal.SIGKILL)
                cut.set()
                await process.wait()
                yield b"y"

            with pytest.raises(aiohttp.ClientError):
                await remote.ask("POST", f"/v2/a/blobs/uploads/?digest={remote.digest_of(b'y')}", data=body())
            assert cut.is_set()
    assert list((tmp_path / ".uploads").iterdir())
    async with _open(tmp_path, make_remote) as remote:
        assert (await remote.ask("GET", "/v2/a/manifests/v1")).body == raw
        assert not list((tmp_path / ".uploads").iterdir())
        files = [file.name for file in (tmp_path / "repositories/a/blobs/sha256").iterdir()]
        assert len(files) == 3
        for name in files:
            digest = f"sha256:{name}"
            assert remote.digest_of((await remote.ask("GET", f"/v2/a/blobs/{digest}")).body) == digest
