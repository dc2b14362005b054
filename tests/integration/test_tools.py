"""The embedded registry under crane, oras, regctl and skopeo: from empty to verified, and empty again."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template

import pytest

import oci_distribution as oci
from benchmarks.services import embedded_registry
from tests.images import push_blob
from tests.integration.conftest import runner

USER = "ann:secret"
SERVERS = {"open": [], "basic": ["--auth", USER], "token": ["--token-auth", USER]}
UNKNOWN = "MANIFEST_UNKNOWN|manifest unknown|not found"
UNAUTHORIZED = "(?i)unauthorized|authentication required|basic credential not found"


@dataclass(frozen=True)
class Words:
    """How a tool says our verbs, of an `$image` of a `$repository` of a `$host`, and the tag v1 of a `$layout`."""

    push: str
    pull: str
    copy: str
    digest: str
    tags: str
    delete: str
    repositories: str | None


TOOLS = {
    "crane": Words(
        push="push $layout $image",
        pull="pull --format oci $image $layout",
        copy="copy $image $target",
        digest="digest $image",
        tags="ls $repository",
        delete="delete $image",  # the tag
        repositories="catalog $host",
    ),
    "oras": Words(
        push="cp --from-oci-layout --to-plain-http $layout:v1 $image",
        pull="cp --from-plain-http --to-oci-layout $image $layout:v1",
        copy="cp --from-plain-http --to-plain-http $image $target",
        digest="resolve --plain-http $image",
        tags="repo tags --plain-http $repository",
        delete="manifest delete --plain-http --force $image",  # what the tag points at
        repositories="repo ls --plain-http $host",
    ),
    "regctl": Words(
        push="image copy ocidir://$layout:v1 $image",
        pull="image copy $image ocidir://$layout:v1",
        copy="image copy $image $target",
        digest="image digest $image",
        tags="tag ls $repository",
        delete="tag delete $image",
        repositories="repo ls $host",
    ),
    "skopeo": Words(
        push="copy --all --preserve-digests --dest-tls-verify=false oci:$layout:v1 docker://$image",
        pull="copy --all --preserve-digests --src-tls-verify=false docker://$image oci:$layout:v1",
        copy="copy --all --preserve-digests --src-tls-verify=false --dest-tls-verify=false"
        " docker://$image docker://$target",
        digest="inspect --tls-verify=false --override-os linux --format {{.Digest}} docker://$image",
        tags="list-tags --tls-verify=false docker://$repository",
        delete="delete --tls-verify=false docker://$image",  # what the tag points at
        repositories=None,  # it has no word for the catalog
    ),
}


class Server:
    """A registry, and the tools with credentials for it."""

    def __init__(self, host: str, folder: Path, user: str | None) -> None:
        self.host = host
        auth = {host: {"auth": base64.b64encode(user.encode()).decode()}} if user else {}
        (folder / "config.json").write_text(json.dumps({"auths": auth}))
        (folder / "regctl.json").write_text(json.dumps({"hosts": {host: {"tls": "disabled"}}}))
        self._environment = {
            "HOME": str(folder),
            "DOCKER_CONFIG": str(folder),
            "REGISTRY_AUTH_FILE": str(folder / "config.json"),
            "REGCTL_CONFIG": str(folder / "regctl.json"),
        }

    def run(self, tool: str, command: str, image: str = "", **names: str | Path) -> str:
        """Run what a tool says for a verb."""
        names |= {"host": self.host, "image": image, "repository": image.rpartition(":")[0]}
        words = [Template(word).substitute(names) for word in command.split()]
        return runner(tool, self._environment)(*words)


@contextmanager
def serving(folder: Path, *options: str, user: str | None = None) -> Iterator[Server]:
    with embedded_registry(*options) as registry:
        folder.mkdir(exist_ok=True)
        yield Server(registry.host, folder, user)


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A registry that wants nothing, Basic credentials, or tokens."""
    with serving(tmp_path_factory.mktemp("home"), *SERVERS[request.param], user=USER) as server:
        yield server


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OCI layout with an index of two images, tagged v1."""
    path = tmp_path_factory.mktemp("layout") / "source"
    asyncio.run(push_index(oci.Layout(path)))
    return path


async def push_index(store: oci.Store) -> None:
    images = [await push_platform(store, architecture) for architecture in ("amd64", "arm64")]
    await store.push_manifest(oci.Manifest.of(oci.ImageIndex(manifests=tuple(images))), tags=["v1"])


async def push_platform(store: oci.Store, architecture: str) -> oci.Descriptor:
    """Push an image as tools expect one: compressed layers, and a platform."""
    layers = [await push_blob(store, gzip.compress(os.urandom(1 << 20))) for _ in range(2)]
    rootfs = {"type": "layers", "diff_ids": []}
    config = json.dumps({"architecture": architecture, "os": "linux", "rootfs": rootfs}).encode()
    pushed = await push_blob(store, config, oci.MediaType.IMAGE_CONFIG)
    manifest = oci.Manifest.of(oci.ImageManifest(config=pushed, layers=tuple(layers)))
    await store.push_manifest(manifest)
    platform = oci.Platform(architecture=architecture, os="linux")
    return manifest.descriptor.model_copy(update={"platform": platform})


def root(layout: Path) -> str:
    """Return the digest of the only manifest that a layout names."""
    (descriptor,) = json.loads((layout / "index.json").read_bytes())["manifests"]
    return str(descriptor["digest"])


def contents(layout: Path) -> set[str]:
    """Return the digests of all bytes that lie in a layout."""
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in (layout / "blobs" / "sha256").iterdir()}


def listed(output: str) -> Sequence[str]:
    """Return the tags of a listing; skopeo writes JSON."""
    return json.loads(output)["Tags"] if output.startswith("{") else output.split()


@pytest.mark.parametrize("tool", TOOLS)
def test_push_pull_copy_list_delete(tool: str, server: Server, layout: Path, tmp_path: Path) -> None:
    """What one tool does, every other sees: the same digests, the same bytes, the same lists."""
    words, image, copy = TOOLS[tool], f"{server.host}/{tool}/pushed:v1", f"{server.host}/{tool}/copied:v2"

    server.run(tool, words.push, image, layout=layout)
    server.run(tool, words.copy, image, target=copy)

    for other, its in TOOLS.items():
        for there in (image, copy):
            assert server.run(other, its.digest, there) == root(layout)
        server.run(other, its.pull, copy, layout=tmp_path / other)
        assert contents(tmp_path / other) == contents(layout)
    assert listed(server.run(tool, words.tags, copy)) == ["v2"]
    if words.repositories is not None:
        repositories = server.run(tool, words.repositories).split()
        assert {f"{tool}/copied", f"{tool}/pushed"} <= set(repositories)

    server.run(tool, words.delete, copy)

    for other, its in TOOLS.items():
        assert listed(server.run(other, its.tags, copy)) == []
        with pytest.raises(AssertionError, match=UNKNOWN):
            server.run(other, its.digest, copy)
        assert server.run(other, its.digest, image) == root(layout)


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("option", ["--auth", "--token-auth"])
def test_nobody_gets_in_without_credentials(option: str, tool: str, layout: Path, tmp_path: Path) -> None:
    """Neither for reading nor for writing."""
    with serving(tmp_path, option, USER) as server:
        for command in (TOOLS[tool].push, TOOLS[tool].digest, TOOLS[tool].tags):
            with pytest.raises(AssertionError, match=UNAUTHORIZED):
                server.run(tool, command, f"{server.host}/private/image:v1", layout=layout)


@pytest.mark.parametrize("writer", TOOLS)
def test_stored_repositories_are_layouts(writer: str, layout: Path, tmp_path: Path) -> None:
    """What was pushed to a directory is read from there by every tool when the registry is gone."""
    with serving(tmp_path / "first", "--storage", str(tmp_path / "content")) as server:
        server.run(writer, TOOLS[writer].push, f"{server.host}/stored/image:v1", layout=layout)
    stored = tmp_path / "content" / "repositories" / "stored+image"

    assert contents(stored) == contents(layout)
    with serving(tmp_path / "second") as server:
        for reader, its in TOOLS.items():
            image = f"{server.host}/read/{reader}"
            # Several manifests lie there, and crane takes all or nothing.
            push = its.push.replace("push", "push --index") if reader == "crane" else its.push
            server.run(reader, push, f"{image}:v1", layout=stored)
            assert server.run(reader, its.digest, f"{image}@{root(layout)}") == root(layout)
