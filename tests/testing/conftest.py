"""A running registry, and a plain HTTP client that pushes to it: never the client of this project."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, Unpack

import aiohttp
import anyio
import anyio.lowlevel
import pytest
from yarl import URL

from oci_distribution.testing import (
    DirectoryStorage,
    MemoryStorage,
    RegistryOptions,
    RunningRegistry,
    serve_registry,
)

IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = b"{}"


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


class Remote:
    """The registry as a plain HTTP client sees it."""

    image = IMAGE
    index = INDEX

    def __init__(self, session: aiohttp.ClientSession, registry: RunningRegistry) -> None:
        self.http = session
        self.registry = registry

    digest_of = staticmethod(digest_of)

    async def start(self, name: str, query: str = "") -> str:
        """Start an upload and return its location."""
        async with self.http.post(f"/v2/{name}/blobs/uploads/{query}") as answer:
            assert answer.status == 202
            return answer.headers["Location"]

    async def push_blob(self, name: str, data: bytes, algorithm: str = "sha256") -> dict[str, Any]:
        """Push a blob, and return a descriptor."""
        digest = digest_of(data, algorithm)
        location = await self.start(name)
        async with self.http.put(f"{location}&digest={digest}", data=io.BytesIO(data)) as answer:
            assert answer.status == 201
        return {"mediaType": "application/octet-stream", "digest": digest, "size": len(data)}

    async def make_image(self, name: str, layer: bytes = b"layer", **fields: Any) -> dict[str, Any]:
        """Push config and layer of an image, and return its manifest."""
        config = await self.push_blob(name, CONFIG) | {
            "mediaType": "application/vnd.oci.image.config.v1+json"
        }
        layers = [await self.push_blob(name, layer)]
        return {"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": layers, **fields}

    async def push_image(self, name: str, tag: str = "v1", layer: bytes = b"layer", **fields: Any) -> bytes:
        """Push a whole image, and return its manifest's bytes."""
        raw = json.dumps(await self.make_image(name, layer, **fields)).encode()
        await self.push_manifest(name, tag, raw)
        return raw

    async def push_manifest(self, name: str, reference: str, raw: bytes, media_type: str = IMAGE) -> None:
        headers = {"Content-Type": media_type}
        async with self.http.put(
            f"/v2/{name}/manifests/{reference}", data=io.BytesIO(raw), headers=headers
        ) as answer:
            assert answer.status == 201, await answer.text()

    @staticmethod
    async def wait_until(condition: Callable[[], bool]) -> None:
        """Let the server work until something is so that no answer tells."""
        with anyio.fail_after(5):
            while not condition():
                await anyio.lowlevel.checkpoint()

    async def ask(self, method: str, path: str | URL, **options: Any) -> Answer:
        """Send a request, and return the whole answer."""
        async with self.http.request(method, path, **options) as answer:
            return Answer(answer.status, answer.headers, await answer.read())


class Answer:
    """A whole answer."""

    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str]:
        """Status and the specification's error code."""
        (entry,) = self.json["errors"]
        assert entry["message"]
        return self.status, entry["code"]


@pytest.fixture(params=["memory", "directory"])
def storage(request: pytest.FixtureRequest) -> MemoryStorage | DirectoryStorage:
    if request.param == "memory":
        return MemoryStorage()
    folder: Path = request.getfixturevalue("tmp_path")
    return DirectoryStorage(folder / "registry")


@pytest.fixture
async def registry(storage: MemoryStorage | DirectoryStorage) -> AsyncIterator[RunningRegistry]:
    async with serve_registry(storage=storage) as registry:
        yield registry


@pytest.fixture
async def remote(registry: RunningRegistry) -> AsyncIterator[Remote]:
    async with aiohttp.ClientSession(registry.url) as session:
        yield Remote(session, registry)


@pytest.fixture
def make_remote() -> type[Remote]:
    """For tests that start a registry of their own."""
    return Remote


class BehavingLike(Protocol):
    """Runs a registry with a profile."""

    def __call__(
        self, name: str, /, **options: Unpack[RegistryOptions]
    ) -> AbstractAsyncContextManager[Remote]: ...


@pytest.fixture
def behaving_like() -> BehavingLike:
    @asynccontextmanager
    async def run(name: str, /, **options: Unpack[RegistryOptions]) -> AsyncGenerator[Remote]:
        options["profile"] = name
        async with (
            serve_registry(**options) as registry,
            aiohttp.ClientSession(registry.url, cookie_jar=aiohttp.DummyCookieJar()) as session,
        ):
            yield Remote(session, registry)

    return run
