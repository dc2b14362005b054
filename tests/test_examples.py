"""The examples run, and end well when they are told to stop."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest
from anyio.abc import Process
from starlette.types import Message, Receive, Scope, Send

import oci_distribution as oci
from oci_distribution.testing import Fault, NamespacedRegistry, RegistryApp, serve_registry
from tests.disk import names_below
from tests.hostile import Exchange, hostile
from tests.images import holdings, push_image, push_index
from tests.scripts import run_script

EXAMPLES = Path(__file__).parents[1] / "examples"


async def test_the_demo_ends_well() -> None:
    """Small, it does the whole job: exit status 0, and a table."""
    result = await run_script(EXAMPLES / "demo.py", "2")

    assert result.returncode == 0, result.stderr
    assert b"digests right" in result.stdout


@asynccontextmanager
async def running(script: str, argument: str) -> AsyncGenerator[tuple[Process, str]]:
    """Run a web application on a free port, and tell its process and its URL."""
    command = [sys.executable, str(EXAMPLES / script), argument, "--port", "0"]
    async with await anyio.open_process(command) as process:
        try:
            assert process.stderr is not None
            said = b""
            while (match := re.search(rb"running on (http://[0-9.:]+)", said)) is None:
                said += await process.stderr.receive()
            yield process, match[1].decode()
        finally:
            if process.returncode is None:
                process.kill()


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, -signal.SIGTERM)])
async def test_fastapi_proxy_passes_content_on(
    oci_registry: NamespacedRegistry, number: signal.Signals, status: int
) -> None:
    """Manifests and layers, whole and in part, until a signal ends it."""
    async with oci.Client() as client:
        manifest = await push_image(client.repository(oci_registry.repository()), [b"a layer"], tag="v1")
    layer, name = manifest.children[1], f"{oci_registry.namespace}/app"

    async with (
        running("fastapi_proxy.py", oci_registry.url) as (process, url),
        httpx.AsyncClient(base_url=url) as web,
    ):
        got = await web.get(f"/{name}/manifests/v1")
        head = await web.head(f"/{name}/blobs/{layer.digest}")
        part = await web.get(f"/{name}/blobs/{layer.digest}", headers={"Range": "bytes=2-"})
        missing = await web.get(f"/{name}/manifests/v2")
        same = await web.get(f"/{name}/manifests/v1", headers={"If-None-Match": got.headers["etag"]})
        process.send_signal(number)
        with anyio.fail_after(5):
            assert await process.wait() == status

    assert (got.status_code, got.content) == (200, manifest.raw)
    assert (head.status_code, head.headers["content-length"]) == (200, str(layer.size))
    assert (part.status_code, part.content) == (206, b"layer")
    assert (missing.status_code, same.status_code) == (404, 304)


async def test_copy_image_copies_all_platforms(oci_registry: NamespacedRegistry, tmp_path: Path) -> None:
    """From a registry to a layout and back, and the second time it was there."""
    async with oci.Client() as client:
        repo = client.repository(oci_registry.repository())
        await push_index(repo, [await push_image(repo, os=os) for os in ("linux", "windows")], tag="v1")
        source, layout, back = (
            f"{oci_registry.repository()}:v1",
            f"oci:{tmp_path}/x:v1",
            f"http://{oci_registry.repository('back')}:v2",
        )

        first = await run_script(EXAMPLES / "copy_image.py", source, layout)
        second = await run_script(EXAMPLES / "copy_image.py", layout, back)
        third = await run_script(EXAMPLES / "copy_image.py", layout, back)

        assert [first.returncode, second.returncode, third.returncode] == [0, 0, 0], (
            first.stderr + second.stderr
        )
        assert b"copied 3 manifests" in first.stdout
        assert b"was there already" in third.stdout
        assert await holdings(*client.locate(back)) == await holdings(repo, "v1")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("Not Valid", b"invalid reference"),
        ("oci:/no/such/layout:v1", b"no OCI layout"),
        ("{host}/no/such:v1", b"404"),
    ],
)
async def test_copy_image_says_what_is_wrong(
    oci_registry: NamespacedRegistry, tmp_path: Path, source: str, expected: bytes
) -> None:
    """One line on standard error, exit status 1, and nothing written."""
    result = await run_script(
        EXAMPLES / "copy_image.py", source.format(host=oci_registry.host), f"oci:{tmp_path}/x:v1"
    )

    assert result.returncode == 1
    assert expected in result.stderr
    assert b"Traceback" not in result.stderr
    assert not (tmp_path / "x").exists()


PLATFORMS = (oci.Platform(os="linux", architecture="amd64"), oci.Platform(os="linux", architecture="arm64"))


async def push_for_platforms(repo: oci.Repository, layer: bytes = b"layer") -> list[oci.Manifest]:
    """Push an index of an image for each platform as v1, and return the images."""
    images = [await push_image(repo, [platform.architecture.encode(), layer]) for platform in PLATFORMS]
    entries = zip(images, PLATFORMS, strict=True)
    manifests = tuple(image.descriptor.model_copy(update={"platform": of}) for image, of in entries)
    await repo.push_manifest(oci.Manifest.of(oci.ImageIndex(manifests=manifests)), tags=("v1",))
    return images


async def test_pull_for_platform_prints_manifest_and_config(oci_registry: NamespacedRegistry) -> None:
    """Of the image that the index has for it, as JSON."""
    async with oci.Client() as client:
        _, arm = await push_for_platforms(client.repository(oci_registry.repository()))

    result = await run_script(
        EXAMPLES / "pull_for_platform.py", oci_registry.repository(), "v1", "linux/arm64"
    )

    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) == {
        "digest": arm.digest,
        "manifest": json.loads(arm.raw),
        "config": {"os": "linux"},
    }


async def test_list_tags_and_referrers_lists_both(oci_registry: NamespacedRegistry) -> None:
    """A line for each tag, and below it one for each referrer of the type that is asked for."""
    async with oci.Client() as client:
        repo = client.repository(oci_registry.repository())
        image = await push_image(repo, tag="v1")
        await push_image(repo, [b"other"], tag="v2")
        config = image.children[0]
        signature, bill = (
            oci.Manifest.of(oci.ImageManifest(artifact_type=kind, config=config, subject=image.descriptor))
            for kind in ("example/signature", "example/bill")
        )
        await repo.push_manifest(signature)
        await repo.push_manifest(bill)
    script, name = EXAMPLES / "list_tags_and_referrers.py", oci_registry.repository()

    every = await run_script(script, name)
    signatures = await run_script(script, name, "--artifact-type", "example/signature")

    assert [every.returncode, signatures.returncode] == [0, 0], every.stderr + signatures.stderr
    lines = signatures.stdout.decode().splitlines()
    assert [line.split()[0] for line in lines] == ["v1", "←", "v2"]
    assert lines[1] == f"  ← example/signature  {signature.digest}"
    assert len(every.stdout.splitlines()) == 4


async def test_download_layer_goes_on_where_it_stopped(
    oci_registry: NamespacedRegistry, tmp_path: Path
) -> None:
    """Broken off, it leaves a part and says why; the next run asks for the rest only."""
    layer, target = bytes(range(256)) * (32 << 10), tmp_path / "layer"
    async with oci.Client() as client:
        await push_for_platforms(client.repository(oci_registry.repository()), layer)
    blob = f"*/blobs/{oci.Digest.of(layer)}"
    oci_registry.faults.add(Fault(method="GET", path=blob, nth=1, reset_answer_after=6 << 20))
    oci_registry.faults.add(Fault(method="GET", path=blob, nth=2, status=404))
    command = (EXAMPLES / "download_layer.py", oci_registry.repository(), "v1", target, "--layer", "2")

    broken = await run_script(*command)
    (part,) = names_below(tmp_path)
    kept = (tmp_path / part).stat().st_size
    again = await run_script(*command)

    assert [broken.returncode, again.returncode] == [1, 0], broken.stderr + again.stderr
    assert b"404" in broken.stderr
    assert target.read_bytes() == layer
    assert names_below(tmp_path) == ["layer"]
    assert oci_registry.requests[-1].headers["range"] == f"bytes={kept}-"
    assert kept > 0


async def test_files_go_there_and_back(oci_registry: NamespacedRegistry, tmp_path: Path) -> None:
    """Files and directories, pushed and pulled; what is there already is not replaced unasked."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("<h1>Hello</h1>")
    script, name = EXAMPLES / "push_and_pull_files.py", f"{oci_registry.repository()}:v1"

    pushed = await run_script(script, "push", name, tmp_path / "site")
    pulled = await run_script(script, "pull", name, "--directory", tmp_path / "out")
    again = await run_script(script, "pull", name, "--directory", tmp_path / "out")

    assert [pushed.returncode, pulled.returncode, again.returncode] == [0, 0, 1], (
        pushed.stderr + pulled.stderr
    )
    assert (tmp_path / "out" / "site" / "index.html").read_text() == "<h1>Hello</h1>"
    assert b"overwrite" in again.stderr


async def test_attach_report_attaches(oci_registry: NamespacedRegistry, tmp_path: Path) -> None:
    """A file with the image as its subject, listed with the others."""
    (tmp_path / "report.json").write_text("{}")
    async with oci.Client() as client:
        repository = client.repository(oci_registry.repository())
        image = await push_image(repository, tag="v1")
        result = await run_script(
            EXAMPLES / "attach_report.py", oci_registry.repository(), "v1", tmp_path / "report.json"
        )
        (referrer,) = await repository.referrers.get(image.digest)

    assert result.returncode == 0, result.stderr
    assert f"application/vnd.example.report  {referrer.digest}" in result.stdout.decode()


class DyingClient(RegistryApp):
    """A registry whose nth request never gets its answer: before it is worked on, or after that."""

    def __init__(self, nth: int, *, is_done: bool) -> None:
        super().__init__()
        self.left = nth
        self.is_done = is_done
        self.reached = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.left -= scope["type"] == "http"
        if self.left != 0 or self.reached.is_set():
            await super().__call__(scope, receive, send)
            return
        if self.is_done:
            await super().__call__(scope, receive, _nowhere)
        self.reached.set()
        while (await receive())["type"] != "http.disconnect":
            pass


async def _nowhere(message: Message) -> None:
    del message


@pytest.mark.parametrize(
    ("nth", "is_done"),
    [(2, True), (3, False), (3, True), (5, True), (6, False), (6, True)],
    ids=["POST", "before PATCH", "PATCH", "last PATCH", "before PUT", "PUT"],
)
async def test_resumable_upload_survives_a_kill(tmp_path: Path, nth: int, is_done: bool) -> None:
    """Killed at whatever request, the next run ends what it began, and sends little again."""
    data, path = bytes(range(256)) * 1000, tmp_path / "file"
    path.write_bytes(data)
    app = DyingClient(nth, is_done=is_done)
    async with serve_registry(app=app) as registry, oci.Client() as client:
        name = f"{registry.url}/team/app"
        script = EXAMPLES / "resumable_upload.py"
        arguments = str(path), name, "--chunk-size", "100000"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run_script, script, *arguments)
            await app.reached.wait()
            tasks.cancel_scope.cancel()  # which kills it
        again = await run_script(script, *arguments)

        assert again.returncode == 0, again.stderr
        assert await client.repository(name).blobs.read(oci.Digest.of(data)) == data
        assert sum(request.body_size for request in registry.requests) <= len(data) + 100_000
        assert names_below(tmp_path) == ["file"]


async def test_fastapi_upload_streams_into_a_registry(oci_registry: NamespacedRegistry) -> None:
    """What a client sends is a blob in the end; one that goes away leaves nothing."""
    data = bytes(range(256)) * 50_000

    async def pieces(*, broken: bool) -> AsyncGenerator[bytes]:
        yield data[:9_000_000]
        if broken:
            raise ConnectionError
        yield data[9_000_000:]

    with oci_registry.requests.capture() as seen:
        async with (
            running("fastapi_upload.py", oci_registry.repository()) as (process, url),
            httpx.AsyncClient(base_url=url) as web,
        ):
            stored = await web.put("/files/a.bin", content=pieces(broken=False))
            with pytest.raises(ConnectionError):
                await web.put("/files/a.bin", content=pieces(broken=True))
            nothing = await web.put("/files/a.bin", content=b"")
            process.terminate()  # which waits for what is still going on
            await process.wait()
    async with oci.Client() as client:
        repo = client.repository(oci_registry.repository())
        assert await repo.blobs.read(stored.json()["digest"], limit=len(data)) == data

    assert (stored.status_code, stored.json()["size"]) == (201, len(data))
    assert nothing.json()["size"] == 0
    assert seen.count("DELETE", "*/uploads/*", status=204) == 1
    assert not oci_registry.app.uploads


@pytest.mark.parametrize(
    ("script", "arguments", "expected"),
    [
        ("pull_for_platform.py", ["v1", "windows/amd64"], b"linux/amd64, linux/arm64"),
        ("pull_for_platform.py", ["v1", "no platform"], b"os/architecture"),
        ("download_layer.py", ["v1", "layer", "--layer", "3"], b"2 layers"),
        ("download_layer.py", ["v2", "layer"], b"404"),
    ],
)
async def test_reading_says_what_is_wrong(
    oci_registry: NamespacedRegistry, tmp_path: Path, script: str, arguments: list[str], expected: bytes
) -> None:
    """One line on standard error, exit status 1, and nothing written."""
    async with oci.Client() as client:
        await push_for_platforms(client.repository(oci_registry.repository()))

    result = await run_script(EXAMPLES / script, oci_registry.repository(), *arguments, cwd=tmp_path)

    assert result.returncode == 1
    assert expected in result.stderr
    assert b"Traceback" not in result.stderr
    assert names_below(tmp_path) == []


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let our children hear SIGINT: a shell without job control starts what is in the background deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_and_leaves_nothing(
    oci_registry: NamespacedRegistry, number: signal.Signals
) -> None:
    """In the middle of a transfer: exit within seconds, no session, no tag."""
    manifest = await push_image(oci.MemoryStore(), [b"x" * 100_000])
    config, layer = manifest.children
    reached = anyio.Event()

    async def stuck(exchange: Exchange) -> None:
        """A source whose layer stops in the middle."""
        if "/manifests/" in exchange.target:
            await exchange.answer(200, manifest.raw, [("Content-Type", manifest.media_type)])
        elif config.digest in exchange.target:
            await exchange.answer(200, b'{"os": "linux"}')
        else:
            await exchange.answer(200, b"x" * 1000, length=layer.size)
            reached.set()
            await exchange.hung_up()

    async with hostile(stuck) as server:
        command = [
            sys.executable,
            EXAMPLES / "copy_image.py",
            f"{server.url}/a/b:v1",
            f"{oci_registry.repository()}:v1",
        ]
        async with await anyio.open_process([str(word) for word in command]) as process:
            await reached.wait()
            process.send_signal(number)
            with anyio.fail_after(5):
                assert await process.wait() == 130

    assert not oci_registry.app.uploads
    assert oci_registry.requests.count("PUT", "*/manifests/*") == 0
