"""What registries warn of reaches the user, once, and never the program's course."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings

import anyio
import pytest

import oci_distribution as oci
from oci_distribution.transport.warned import Warned
from tests.hostile import Exchange, hostile

SOON = '299 - "Your token ends soon."'


async def nobody(host: str, repository: str | None) -> oci.Credential:
    return oci.Credential()


async def warning(exchange: Exchange) -> None:
    await exchange.answer(200, headers=[("Warning", SOON), ("Warning", '299 - "Read only on Sunday."')])


async def test_python_warns() -> None:
    """By a category of its own, with the line of the caller's code, and each text once for each registry."""
    async with (
        hostile(warning) as server,
        hostile(warning) as other,
        oci.Client(auth_provider=nobody) as client,
    ):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for url in (server.url, server.url, other.url):
                await client.registry(url).ping()

    texts = [str(item.message) for item in caught]
    assert [text.partition(": ")[2] for text in texts] == [
        "Your token ends soon.",
        "Read only on Sunday.",
    ] * 2
    assert {item.category for item in caught} == {oci.RegistryWarning}
    assert {item.filename for item in caught} == {__file__}
    assert texts[0].startswith(server.url.removeprefix("http://"))


async def test_a_callback_takes_them() -> None:
    """In the place of Python's warnings: with the registry and the text."""
    taken: list[oci.RegistryWarning] = []

    async with (
        hostile(warning) as server,
        oci.Client(auth_provider=nobody, on_warning=taken.append) as client,
    ):
        await client.registry(server.url).ping()

    assert [(item.registry, item.text) for item in taken] == [
        (f"127.0.0.1:{server.port}", "Your token ends soon."),
        (f"127.0.0.1:{server.port}", "Read only on Sunday."),
    ]
    again = pickle.loads(pickle.dumps(taken[0]))
    assert (str(again), again.text) == (str(taken[0]), taken[0].text)


async def test_warnings_as_errors() -> None:
    """Then the call that was warned raises it: not retried, nothing left open, and the next one is fine."""
    asked = 0
    closed = anyio.Event()

    async def script(exchange: Exchange) -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            await exchange.answer(200, headers=[("Warning", SOON)], length=100)
            await exchange.hung_up()
            closed.set()
        else:
            await exchange.answer(200, headers=[("Warning", SOON)])

    async with hostile(script) as server, oci.Client(auth_provider=nobody) as client:
        registry = client.registry(server.url)
        with warnings.catch_warnings():
            warnings.simplefilter("error", oci.RegistryWarning)
            with pytest.raises(oci.RegistryWarning, match="Your token ends soon"):
                await registry.ping()
            with anyio.fail_after(10):
                await closed.wait()
            await registry.ping()

    assert asked == 2


async def test_a_refusal_warns_too() -> None:
    """The error is the registry's all the same."""
    taken: list[oci.RegistryWarning] = []

    async def script(exchange: Exchange) -> None:
        await exchange.answer(404, headers=[("Warning", SOON)])

    async with hostile(script) as server, oci.Client(auth_provider=nobody, on_warning=taken.append) as client:
        with pytest.raises(oci.ManifestUnknown):
            await client.registry(server.url).repository("a/b").manifests.get("v1")

    assert [item.text for item in taken] == ["Your token ends soon."]


async def test_storage_does_not_warn() -> None:
    """What a redirect leads to does not speak for the registry."""
    taken: list[oci.RegistryWarning] = []

    async def storage(exchange: Exchange) -> None:
        await exchange.answer(200, b"abc", [("Warning", '299 - "Buy more storage!"')])

    async with hostile(storage) as other:

        async def script(exchange: Exchange) -> None:
            await exchange.answer(307, headers=[("Location", f"{other.url}/blob")])

        async with (
            hostile(script) as server,
            oci.Client(auth_provider=nobody, on_warning=taken.append) as client,
        ):
            await client.registry(server.url).repository("a/b").blobs.read(oci.Digest.of(b"abc"))

    assert taken == []


def test_a_registry_cannot_make_us_remember_for_ever() -> None:
    """After fifty texts it is not heard any more; the others are."""
    shown: list[oci.RegistryWarning] = []
    warned = Warned(shown.append)

    for number in range(2000):
        warned.take("registry.example", [f'299 - "text {number}"'])

    warned.take("other.example", [SOON])

    assert len(shown) == 51
    assert (shown[-1].registry, shown[-1].text) == ("other.example", "Your token ends soon.")


def test_a_program_that_treats_warnings_as_errors_gets_one_error() -> None:
    """`python -W error` names the registry and what it says, as an exception of that class."""
    code = """
import asyncio, httpx, oci_distribution as oci
async def nobody(host, repository): return oci.Credential()
async def main():
    answered = httpx.MockTransport(lambda _: httpx.Response(200, headers={"Warning": '299 - "ends soon"'}))
    async with oci.Client(transport=answered, auth_provider=nobody) as client:
        await client.registry("127.0.0.1:1").ping()
asyncio.run(main())
"""
    failed = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, check=False, text=True
    )
    warned = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)

    assert failed.stderr.splitlines()[-1].endswith("RegistryWarning: 127.0.0.1:1: ends soon")
    assert "RegistryWarning: 127.0.0.1:1: ends soon" in warned.stderr
    assert "<string>:7" in warned.stderr  # the line of the program
