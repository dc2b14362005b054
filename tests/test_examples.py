"""The examples run, and end well when they are told to stop."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import anyio
import pytest

import oci_distribution as oci
from oci_distribution.testing import RunningRegistry, serve_registry
from tests.hostile import Exchange, hostile
from tests.images import holdings, push_image, push_index

EXAMPLES = Path(__file__).parents[1] / "examples"


async def run(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run an example in a process of its own."""
    return await anyio.run_process([sys.executable, *map(str, arguments)], check=False)


@pytest.fixture
async def registry() -> AsyncGenerator[RunningRegistry]:
    async with serve_registry() as registry:
        yield registry


async def test_the_demo_ends_well() -> None:
    """Small, it does the whole job: exit status 0, and a table."""
    result = await run(EXAMPLES / "demo.py", "2")

    assert result.returncode == 0, result.stderr
    assert b"digests right" in result.stdout


async def test_copy_image_copies_all_platforms(registry: RunningRegistry, tmp_path: Path) -> None:
    """From a registry to a layout and back, and the second time it was there."""
    async with oci.Client() as client:
        repo = client.registry(registry.url).repository("team/app")
        await push_index(repo, [await push_image(repo, os=os) for os in ("linux", "windows")], tag="v1")
        source, layout, back = (
            f"{registry.host}/team/app:v1",
            f"oci:{tmp_path}/x:v1",
            f"{registry.url}/team/back:v2",
        )

        first = await run(EXAMPLES / "copy_image.py", source, layout)
        second = await run(EXAMPLES / "copy_image.py", layout, back)
        third = await run(EXAMPLES / "copy_image.py", layout, back)

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
    registry: RunningRegistry, tmp_path: Path, source: str, expected: bytes
) -> None:
    """One line on standard error, exit status 1, and nothing written."""
    result = await run(EXAMPLES / "copy_image.py", source.format(host=registry.host), f"oci:{tmp_path}/x:v1")

    assert result.returncode == 1
    assert expected in result.stderr
    assert b"Traceback" not in result.stderr
    assert not (tmp_path / "x").exists()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let our children hear SIGINT: a shell without job control starts what is in the background deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_and_leaves_nothing(registry: RunningRegistry, number: signal.Signals) -> None:
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
            f"{registry.url}/team/app:v1",
        ]
        async with await anyio.open_process([str(word) for word in command]) as process:
            await reached.wait()
            process.send_signal(number)
            with anyio.fail_after(5):
                assert await process.wait() == 130

    assert not registry.app.uploads
    assert registry.requests.count("PUT", "*/manifests/*") == 0
