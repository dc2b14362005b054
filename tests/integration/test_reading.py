"""Reading from real registries, under every kind of authentication, what other people's tools pushed."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

import oci_distribution as oci
from tests.images import push_blob, push_image
from tests.integration.conftest import runner

ANN = oci.Credential(username="ann", password="secret")
DATA = bytes(range(256)) * 20_000


async def ann(host: str, repository: str | None) -> oci.Credential:
    return ANN


@pytest.fixture
async def repo(host: str) -> AsyncGenerator[oci.Repository]:
    async with oci.Client(auth_provider=ann) as client:
        yield client.repository(f"{host}/team/app")


async def test_everything_that_reads(repo: oci.Repository, tmp_path: Path) -> None:
    """Manifests by tag, digest and condition; blobs whole, in parts, over several connections and to files."""
    image = await push_image(repo, [DATA], tag="v1")
    layer = image.children[1]

    assert await repo.manifests.get("v1") == await repo.manifests.get(image.digest) == image
    assert (await repo.manifests.stat("v1")).digest == image.digest
    assert await repo.manifests.get_if_changed("v1", image.digest) is None
    assert not await repo.tags.has_moved("v1", image.digest)
    assert await repo.blobs.read(layer, limit=len(DATA)) == DATA
    async with repo.blobs.open(layer, start=1000, stop=3_000_000) as reader:
        assert await reader.read() == DATA[1000:3_000_000]
    await repo.blobs.download(layer, tmp_path / "one", resume=True)
    await repo.blobs.download(layer, tmp_path / "several", connections=3)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "several").read_bytes() == DATA


async def test_lists(repo: oci.Repository) -> None:
    """Tags in pages, whatever page size the registry allows; and the catalog."""
    tags = [f"t{number:03}" for number in range(25)]
    await repo.manifests.push(await push_image(repo), tags=tags)

    listed = [tag async for tag in repo.tags.list(page_size=7) if tag.startswith("t")]
    assert sorted(listed) == tags  # 2.8 sends all of them at once, in no order
    assert set(tags) <= {tag async for tag in repo.tags.list(page_size=1001)}
    assert "team/app" in [name async for name in repo.registry.list_repositories()]


async def test_deletes(repo: oci.Repository) -> None:
    """A manifest by digest and a blob; a tag alone only where the registry can."""
    image = await push_image(repo, [b"to be deleted"], tag="gone")
    blob = await push_blob(repo, b"alone")

    assert await repo.blobs.delete(blob.digest)
    try:
        assert await repo.tags.delete("gone")
    except oci.UnsupportedError:
        assert (await repo.manifests.stat("gone")).digest == image.digest
    assert await repo.manifests.delete(image.digest)
    assert not await repo.manifests.delete(image.digest, missing_ok=True)
    with pytest.raises(oci.ManifestUnknown):
        await repo.manifests.stat("gone")


async def test_without_credentials(host: str) -> None:
    """A refusal is a refusal, and says so."""

    async def nobody(host: str, repository: str | None) -> oci.Credential:
        return oci.Credential()

    async with oci.Client(auth_provider=nobody) as client:
        with pytest.raises((oci.Unauthorized, oci.TokenError)):
            await client.repository(f"{host}/team/app").manifests.get("v1")


@pytest.fixture
def logged_in(host: str, tmp_path: Path) -> dict[str, str]:
    """The environment in which other tools are ann."""
    entry = {"auth": base64.b64encode(b"ann:secret").decode()}
    (tmp_path / "config.json").write_text(json.dumps({"auths": {host: entry}}))
    regctl = tmp_path / "regctl.json"
    hosts = {host: {"tls": "disabled", "hostname": host, "user": "ann", "pass": "secret"}}
    regctl.write_text(json.dumps({"hosts": hosts}))
    return {"DOCKER_CONFIG": str(tmp_path), "REGCTL_CONFIG": str(regctl), "HOME": str(tmp_path)}


async def _kinds(repo: oci.Repository, subject: str) -> set[str | None]:
    digest = (await repo.manifests.stat(subject)).digest
    return {entry.artifact_type for entry in await repo.referrers.get(digest)}


async def test_referrers_that_oras_attached(
    repo: oci.Repository, host: str, logged_in: dict[str, str], tmp_path: Path
) -> None:
    """Neither registry has the API: oras writes the tag, and we read it."""
    oras = runner("oras", logged_in)
    await push_image(repo, [b"attached to by oras"], tag="oras")
    (tmp_path / "note.txt").write_text("hello")
    for kind in ("text/a", "text/b"):
        oras("attach", "--plain-http", "--disable-path-validation", "--artifact-type", kind,
             f"{host}/team/app:oras", tmp_path / "note.txt")  # fmt: skip

    assert await _kinds(repo, "oras") == {"text/a", "text/b"}
    digest = (await repo.manifests.stat("oras")).digest
    (found,) = await repo.referrers.get(digest, artifact_type="text/b")
    manifest = await repo.manifests.get(found.digest)
    assert await repo.blobs.read(manifest.children[1]) == b"hello"


async def test_referrers_that_regctl_attached(
    repo: oci.Repository, host: str, logged_in: dict[str, str], tmp_path: Path
) -> None:
    """The same with regctl; and a deleted one is out of the list, as regctl sees it, too."""
    regctl = runner("regctl", logged_in)
    await push_image(repo, [b"attached to by regctl"], tag="regctl")
    (tmp_path / "note.txt").write_text("hello")
    for kind in ("text/a", "text/b"):
        regctl("artifact", "put", "--artifact-type", kind, "--file", tmp_path / "note.txt",
               "--subject", f"{host}/team/app:regctl")  # fmt: skip
    assert await _kinds(repo, "regctl") == {"text/a", "text/b"}

    digest = (await repo.manifests.stat("regctl")).digest
    (gone,) = await repo.referrers.get(digest, artifact_type="text/a")
    await repo.manifests.delete(gone.digest)

    assert await _kinds(repo, "regctl") == {"text/b"}
    listed = json.loads(
        regctl("artifact", "list", "--format", "{{json .Manifest}}", f"{host}/team/app:regctl")
    )
    assert [entry["artifactType"] for entry in listed["manifests"]] == ["text/b"]
