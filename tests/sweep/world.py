"""What a job of the sweeps works in: two registries, a folder, a client that waits for nothing; and what must
be true of them afterwards.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import anyio.lowlevel

import oci_distribution as oci
from oci_distribution.testing import MemoryStorage, RegistryApp, RunningRegistry, TokenAuth, serve_registry
from oci_distribution.transport.engine import AiohttpTransport
from oci_distribution.transport.pacing import Timing
from tests.disk import names_below, open_below

__all__ = [
    "LISTED",
    "LISTED_TAGS",
    "SOURCE",
    "TAG",
    "CountingApp",
    "Held",
    "World",
    "image",
    "inconsistencies",
    "leaks",
    "new_client",
    "open_world",
    "read_layout",
    "read_registry",
]

SOURCE, TARGET, TAG = "team/source", "team/target", "v1"
LISTED, LISTED_TAGS = "team/listed", ("a", "b", "c", "d")
USER = oci.Credential(username="ann", password="secret")
MOMENTS, MOMENT = 1000, 0.005
"""How often we look whether servers have noticed that their client is gone, and the seconds between."""


@dataclass(frozen=True)
class Held:
    """What a target holds: tags, the digests of manifests that it lists, and content by digest."""

    tags: dict[str, str] = field(default_factory=dict)
    manifests: set[str] = field(default_factory=set)
    content: dict[str, bytes] = field(default_factory=dict)


@cache
def image() -> Held:
    """Return a small image for two platforms, which share a layer."""
    held = Held()

    def add(data: bytes) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        held.content[digest] = data
        return {"digest": digest, "size": len(data)}

    def add_manifest(media_type: str, body: Mapping[str, Any]) -> dict[str, Any]:
        added = add(json.dumps({"schemaVersion": 2, "mediaType": media_type, **body}).encode())
        held.manifests.add(added["digest"])
        return {"mediaType": media_type, **added}

    def platform(name: str) -> dict[str, Any]:
        config = {"mediaType": oci.MediaType.IMAGE_CONFIG, **add(json.dumps({"os": name}).encode())}
        # The first is the shared one, in several pieces; the last is small.
        layers = [bytes(range(256)) * 600, name.encode() * 20_000, name.encode()]
        described = [{"mediaType": oci.MediaType.IMAGE_LAYER, **add(layer)} for layer in layers]
        return add_manifest(oci.MediaType.IMAGE_MANIFEST, {"config": config, "layers": described})

    platforms = [platform("linux"), platform("windows")]
    root = add_manifest(oci.MediaType.IMAGE_INDEX, {"manifests": platforms})
    held.tags[TAG] = root["digest"]
    return held


class CountingApp(RegistryApp):
    """A registry that knows how many requests it is working on."""

    in_progress = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.in_progress += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.in_progress -= 1


class Clock:
    """A clock that moves only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await anyio.lowlevel.checkpoint()


@dataclass(frozen=True)
class World:
    """Where a job works: a registry and a layout with the image, and a registry and a layout without."""

    source: RunningRegistry
    target: RunningRegistry
    folder: Path
    target_name: str = TARGET

    @property
    def registries(self) -> tuple[RunningRegistry, ...]:
        """Both registries."""
        return self.source, self.target

    @property
    def source_layout(self) -> Path:
        """The layout with the image."""
        return self.folder / "source"

    @property
    def downloads(self) -> Path:
        """The folder that a job may download to."""
        return self.folder / f"{self.target_name.replace('/', '-')}-downloads"

    @property
    def target_layout(self) -> Path:
        """The layout that a job may make."""
        return self.folder / self.target_name.replace("/", "-")


@asynccontextmanager
async def open_world(app: type[CountingApp] = CountingApp) -> AsyncGenerator[World]:
    """Open a fresh world, with registries of this kind."""
    with tempfile.TemporaryDirectory(prefix="sweep-") as folder:
        async with _serve(app, full=True) as source, _serve(app, full=False) as target:
            world = World(source, target, Path(folder))
            _write_layout(world.source_layout)
            yield world


@asynccontextmanager
async def _serve(kind: type[CountingApp], *, full: bool) -> AsyncGenerator[RunningRegistry]:
    storage = MemoryStorage()
    if full:
        _fill(storage)
        _fill_listed(storage)
    app = kind(storage=storage, auth=TokenAuth({USER.username: USER.password}), referrers=False)
    async with serve_registry(app=app) as registry:
        yield registry
    app.close()


def _fill(storage: MemoryStorage) -> None:
    held, repository = image(), storage.open(SOURCE)
    for digest, data in held.content.items():
        if digest in held.manifests:
            tags = [tag for tag, root in held.tags.items() if root == digest]
            repository.put_manifest(oci.Manifest.parse(data), tags)
        else:
            repository.put_content(oci.Digest(digest), data)


def _fill_listed(storage: MemoryStorage) -> None:
    """Add a repository with several tags, and with referrers that a tag lists, since there is no API."""
    repository = storage.open(LISTED)
    root = oci.Manifest.of(oci.ImageIndex())
    repository.put_manifest(root, LISTED_TAGS)
    entry = oci.Descriptor(media_type=oci.MediaType.IMAGE_MANIFEST, digest=oci.Digest.of(b""), size=0)
    index = oci.Manifest.of(oci.ImageIndex(manifests=(entry,)))
    repository.put_manifest(index, [str(root.digest).replace(":", "-")])


def _write_layout(folder: Path) -> None:
    held = image()
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for digest, data in held.content.items():
        (blobs / digest.removeprefix("sha256:")).write_bytes(data)
    entries = [
        {
            "mediaType": oci.MediaType.IMAGE_INDEX,
            "digest": digest,
            "size": len(held.content[digest]),
            "annotations": {"org.opencontainers.image.ref.name": tag},
        }
        for tag, digest in held.tags.items()
    ]
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))


@asynccontextmanager
async def new_client(transport: type[AiohttpTransport] = AiohttpTransport) -> AsyncGenerator[oci.Client]:
    """Open a client with few slots, so that some wait for them, and a clock that makes nobody wait."""

    async def provider(host: str, repository: str | None) -> oci.Credential:
        await anyio.lowlevel.checkpoint()
        return USER

    clock = Clock()
    async with oci.Client(
        transport=transport(proxies={}),
        auth_provider=provider,
        slots=oci.Slots(requests=3, downloads=2, uploads=2),
    ) as client:
        client._sender.timing = Timing(now=lambda: clock.now, sleep=clock.sleep, random=lambda: 0.5)
        yield client


def read_registry(registry: RunningRegistry, name: str) -> Held:
    """Return what a repository holds, by its storage alone."""
    repository: Any = registry.app.storage.find(name)
    if repository is None:
        return Held()
    manifests = {str(digest) for digest in repository._manifests}
    return Held(dict(repository._tags), manifests, dict(repository.contents))


def read_layout(folder: Path) -> Held:
    """Return what a layout holds, by its files alone."""
    index = folder / "index.json"
    if not index.exists():
        return Held()
    held = Held()
    for path in (folder / "blobs").glob("*/*"):
        held.content[f"{path.parent.name}:{path.name}"] = path.read_bytes()
    for entry in json.loads(index.read_bytes())["manifests"]:
        held.manifests.add(entry["digest"])
        tag = entry.get("annotations", {}).get("org.opencontainers.image.ref.name")
        if tag is not None:
            held.tags[tag] = entry["digest"]
    return held


def inconsistencies(world: World) -> list[str]:
    """Return what points at something missing or damaged, in every target."""
    held = {
        "the target registry": read_registry(world.target, world.target_name),
        "the source registry": read_registry(world.source, world.target_name),
        "the layout": read_layout(world.target_layout),
    }
    return [f"{problem} in {where}" for where, what in held.items() for problem in _broken(what)]


def _broken(held: Held) -> Iterator[str]:
    for digest, data in held.content.items():
        if digest != f"sha256:{hashlib.sha256(data).hexdigest()}":
            yield f"{digest} is damaged"
    for tag, digest in held.tags.items():
        if digest not in held.content:
            yield f"the tag {tag} points at {digest}, which is missing"
    manifests = held.manifests | set(held.tags.values())
    while manifests:
        content = json.loads(held.content.get(manifests.pop(), b"{}"))
        children = content.get("manifests", [])
        manifests |= {child["digest"] for child in children}
        config = [content["config"]] if "config" in content else []
        for child in [*children, *config, *content.get("layers", [])]:
            if child["digest"] not in held.content:
                yield f"{child['digest']} is listed, and missing"


async def leaks(world: World, client: oci.Client) -> list[str]:
    """Return what a job left behind that is over: on the servers, on disk, in the client."""
    found = _left_in_client(client)
    found += [f"the file {name}" for name in names_below(world.folder) if "ingest-" in name]
    found += [f"{path}, open" for path in open_below(world.folder)]
    return found + await _left_on_servers(world)


async def _left_on_servers(world: World) -> list[str]:
    """Return what servers still hold when they have had the time to notice that their client is gone.

    Time, and not turns of the event loop: a slow server is in the middle of a pause, while the loop has
    nothing to do, and a thousand turns take it three milliseconds.
    """
    busy: list[RunningRegistry] = []
    for _ in range(MOMENTS):
        busy = [registry for registry in world.registries if _app(registry).in_progress]
        if not busy:
            break
        await asyncio.sleep(MOMENT)
    found = [f"a request in progress at {registry}" for registry in busy]
    return found + [
        f"an upload session at {registry}" for registry in world.registries for _ in registry.app.uploads
    ]


def _left_in_client(client: oci.Client) -> list[str]:
    sender, transport = client._sender, client.http._transport
    assert isinstance(transport, AiohttpTransport)
    found = ["an answer that is not closed" for _ in transport._open]
    if transport._session is not None and transport._session.connector is not None:
        found += ["a connection in use" for _ in transport._session.connector._acquired]
    for origin, pace in sender._paces.items():
        for kind, budget in pace._budgets.items():
            if budget.used:
                found.append(f"{budget.used} slots of {kind.name} at {origin}")
    return found


def _app(registry: RunningRegistry) -> CountingApp:
    assert isinstance(registry.app, CountingApp)
    return registry.app
