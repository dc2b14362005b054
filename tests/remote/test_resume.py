"""A blob whose connection breaks: another one goes on, once, with what is missing."""

from __future__ import annotations

import anyio
import pytest

import oci_distribution as oci
from oci_distribution.testing import Fault, RunningRegistry
from tests.hostile import Exchange, hostile

DATA = bytes(range(256)) * 10_000
DIGEST = oci.Digest.of(DATA)
BLOB = oci.Descriptor(media_type=oci.MediaType.OCTET_STREAM, digest=DIGEST, size=len(DATA))
HALF = len(DATA) // 2


async def _all_of(repo: oci.Repository) -> bytes:
    return await repo.blobs.read(BLOB)


@pytest.mark.parametrize("broken_at", [1, HALF, len(DATA) - 1])
async def test_broken_body_goes_on(repo: oci.Repository, registry: RunningRegistry, broken_at: int) -> None:
    """The rest is asked for, on the condition that it is the same blob, and the whole is verified."""
    await repo.blobs.push(DATA)
    registry.requests.clear()
    registry.faults.add(Fault(method="GET", nth=1, reset_answer_after=broken_at))

    async with repo.blobs.open(BLOB) as reader:
        assert await reader.read() == DATA
        assert reader.verified

    first, second = registry.requests
    assert (first.status, second.status) == (200, 206)
    assert "range" not in first.headers
    assert second.headers["range"] == f"bytes={broken_at}-"
    assert second.headers["if-range"] == f'"{DIGEST}"'


async def test_body_that_breaks_at_once(repo: oci.Repository, registry: RunningRegistry) -> None:
    """Before the first byte there is nothing to go on from."""
    await repo.blobs.push(DATA)
    registry.requests.clear()
    registry.faults.add(Fault(method="GET", nth=1, reset_answer_after=0))

    assert await repo.blobs.read(BLOB) == DATA
    assert ["range" in request.headers for request in registry.requests] == [False, False]


async def test_blob_that_breaks_again_and_again_but_gets_on(
    repo: oci.Repository, registry: RunningRegistry
) -> None:
    """However often it breaks, it comes to its end as long as it gets on between."""
    data = bytes(1 << 20) * 12
    blob = await repo.blobs.push(data)
    registry.faults.add(Fault(method="GET", reset_answer_after=(1 << 20) + 1))

    assert await repo.blobs.read(blob, limit=len(data)) == data


async def test_blob_that_gets_nowhere(client: oci.Client) -> None:
    """A registry that gives a byte at a time is given up after as many attempts as for any request."""

    async def script(exchange: Exchange) -> None:
        start = int((exchange.header("Range") or "bytes=0-")[6:-1])
        headers = [("Content-Range", f"bytes {start}-{len(DATA) - 1}/{len(DATA)}")] if start else []
        await exchange.answer(
            206 if start else 200, DATA[start : start + 1], headers, length=len(DATA) - start
        )
        exchange.close()

    async with hostile(script) as server:
        with pytest.raises(oci.BrokenAnswer) as caught:
            await _all_of(client.registry(server.url).repository("a"))

    assert len(server.requests) == oci.RetryPolicy().attempts
    assert len(caught.value.attempts) == oci.RetryPolicy().attempts - 1


async def test_registry_that_begins_again(client: oci.Client) -> None:
    """A 200 in answer to a range is the whole blob: what is there already is skipped."""

    async def script(exchange: Exchange) -> None:
        broken = len(server.requests) == 1
        await exchange.answer(200, DATA[:HALF] if broken else DATA, length=len(DATA))
        if broken:
            exchange.close()

    async with hostile(script) as server:
        assert await _all_of(client.registry(server.url).repository("a")) == DATA

    assert [request.header("Range") for request in server.requests] == [None, f"bytes={HALF}-"]


async def test_weak_validator_is_no_condition(client: oci.Client) -> None:
    """`If-Range` takes only strong entity tags (RFC 9110 section 13.1.5)."""

    async def script(exchange: Exchange) -> None:
        broken = len(server.requests) == 1
        await exchange.answer(200, DATA[:HALF] if broken else DATA, [("ETag", 'W/"x"')], length=len(DATA))
        if broken:
            exchange.close()

    async with hostile(script) as server:
        await _all_of(client.registry(server.url).repository("a"))

    assert server.requests[1].header("If-Range") is None


@pytest.mark.parametrize(
    "given",
    [
        None,
        "nonsense",
        f"bytes 0-{len(DATA) - 1}/{len(DATA)}",
        f"bytes {HALF + 1}-{len(DATA) - 1}/{len(DATA)}",
        f"bytes {HALF}-{len(DATA) - 1}/{len(DATA) + 1}",
    ],
)
async def test_registry_that_goes_on_elsewhere(client: oci.Client, given: str | None) -> None:
    """Another range than was asked for is an error, and not a blob with a hole."""

    async def script(exchange: Exchange) -> None:
        if len(server.requests) == 1:
            await exchange.answer(200, DATA[:HALF], length=len(DATA))
            exchange.close()
        else:
            headers = [] if given is None else [("Content-Range", given)]
            await exchange.answer(206, DATA[HALF:], headers)

    async with hostile(script) as server:
        with pytest.raises(oci.ProtocolError, match="asked for the blob from byte"):
            await _all_of(client.registry(server.url).repository("a"))


async def test_other_bytes_after_a_break_are_found(client: oci.Client) -> None:
    """What comes over two connections is verified like what comes over one."""

    async def script(exchange: Exchange) -> None:
        if len(server.requests) == 1:
            await exchange.answer(200, DATA[:HALF], length=len(DATA))
            exchange.close()
        else:
            headers = [("Content-Range", f"bytes {HALF}-{len(DATA) - 1}/{len(DATA)}")]
            await exchange.answer(206, bytes(len(DATA) - HALF), headers)

    async with hostile(script) as server:
        with pytest.raises(oci.DigestMismatch):
            await _all_of(client.registry(server.url).repository("a"))


@pytest.mark.usefixtures("impatient")
async def test_silence_in_a_body_is_a_break(repo: oci.Repository, registry: RunningRegistry) -> None:
    """A server that says nothing more is left, and asked for the rest."""
    await repo.blobs.push(DATA)
    repo.registry.sender.timeouts = oci.Timeouts(read=0.05)
    registry.faults.add(Fault(method="GET", nth=1, bytes_per_second=20))

    with anyio.fail_after(10):
        assert await _all_of(repo) == DATA


async def test_closing_while_it_waits_to_go_on(client: oci.Client) -> None:
    """A reader that is left in the pause before the next attempt leaves nothing behind."""
    paused, waiting = anyio.Event(), anyio.Event()

    async def script(exchange: Exchange) -> None:
        if len(server.requests) == 1:
            await exchange.answer(200, DATA[:HALF], length=len(DATA))
            exchange.close()
        else:
            paused.set()
            await waiting.wait()

    async def read(repo: oci.Repository) -> None:
        async with repo.blobs.open(BLOB) as reader:
            await reader.read()

    async with hostile(script) as server, anyio.create_task_group() as tasks:
        repo = client.registry(server.url).repository("a")
        tasks.start_soon(read, repo)
        await paused.wait()
        tasks.cancel_scope.cancel()

    assert server.sockets_of_clients() == 0
