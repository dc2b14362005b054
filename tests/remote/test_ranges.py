"""Parts of a blob: half-open ranges, seeking, several connections, and bytes that nobody is asked for."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

import oci_distribution as oci
from oci_distribution.remote import blob_body, blob_sources
from oci_distribution.testing import Fault, RunningRegistry
from tests.hostile import Exchange, hostile

DATA = bytes(range(256)) * 4000
SIZE = len(DATA)
DIGEST = oci.Digest.of(DATA)
BLOB = oci.Descriptor(media_type=oci.MediaType.OCTET_STREAM, digest=DIGEST, size=SIZE)


@pytest.fixture
async def filled(repo: oci.Repository, registry: RunningRegistry) -> oci.Repository:
    await repo.blobs.push(DATA)
    registry.requests.clear()
    return repo


@pytest.mark.parametrize("blob", [BLOB, DIGEST])
@pytest.mark.parametrize(
    ("start", "stop", "asked"),
    [
        (0, 1, "0-0"),
        (5, 10, "5-9"),
        (SIZE - 1, None, f"{SIZE - 1}-"),
        (0, SIZE, f"0-{SIZE - 1}"),
        (7, SIZE, "7-"),
    ],
)
async def test_a_part_is_half_open(
    filled: oci.Repository,
    registry: RunningRegistry,
    blob: oci.Descriptor | oci.Digest,
    start: int,
    stop: int | None,
    asked: str,
) -> None:
    """What comes is from `start` to before `stop`, and is not said to be verified."""
    async with filled.blobs.open(blob, start=start, stop=stop) as reader:
        assert await reader.read() == DATA[start:stop]
        assert reader.verified == (start == 0 and stop == SIZE)
        assert reader.descriptor.size == SIZE

    (request,) = registry.requests
    assert request.status == 206
    assert request.headers["range"].startswith(f"bytes={asked}")


@pytest.mark.parametrize(("start", "stop"), [(SIZE, None), (5, 5), (SIZE, SIZE)])
async def test_an_empty_part_costs_no_request(
    filled: oci.Repository, registry: RunningRegistry, start: int, stop: int | None
) -> None:
    """There is nothing to ask for; 416 would be the answer."""
    async with filled.blobs.open(BLOB, start=start, stop=stop) as reader:
        assert [piece async for piece in reader] == []
        assert not reader.verified

    assert len(registry.requests) == 0


@pytest.mark.parametrize("position", [0, 5, SIZE])
async def test_an_empty_part_of_what_only_a_digest_names(
    filled: oci.Repository, registry: RunningRegistry, position: int
) -> None:
    """It is asked how long the blob is, and not for a range of nothing, which none can spell."""
    async with filled.blobs.open(DIGEST, start=position, stop=position) as reader:
        assert await reader.read() == b""
        assert reader.descriptor.size == SIZE

    (request,) = registry.requests
    assert "range" not in request.headers


async def test_an_empty_part_at_the_beginning(filled: oci.Repository, registry: RunningRegistry) -> None:
    """It is no other than one in the middle."""
    async with filled.blobs.open(BLOB, stop=0) as reader:
        assert await reader.read() == b""

    assert len(registry.requests) == 0


async def test_a_part_beyond_the_end_of_what_only_a_digest_names(filled: oci.Repository) -> None:
    """It is refused as soon as the length is known."""
    with pytest.raises(oci.InvalidArgument, match="no range"):
        async with filled.blobs.open(DIGEST, start=10, stop=SIZE + 1):
            pass


@pytest.mark.parametrize(("start", "stop"), [(-1, None), (2, 1), (0, SIZE + 1), (SIZE + 1, None), (0, -1)])
async def test_a_part_that_is_not_there(repo: oci.Repository, start: int, stop: int | None) -> None:
    """It is refused before any request."""
    with pytest.raises(oci.InvalidArgument, match="no range"):
        _ = repo.blobs.open(BLOB, start=start, stop=stop)


async def test_seeking(filled: oci.Repository) -> None:
    """Reading goes on elsewhere; what is read then is no whole any more, but from the start again it is."""
    async with filled.blobs.open(BLOB) as reader:
        first = await anext(reader)
        assert reader.tell() == len(first)
        await reader.seek(SIZE - 10)
        assert await reader.read() == DATA[-10:]
        assert not reader.verified
        assert reader.tell() == SIZE
        await reader.seek(0)
        assert await reader.read() == DATA
        assert reader.verified


async def test_seeking_within_a_part(filled: oci.Repository) -> None:
    """The end stays where it was."""
    async with filled.blobs.open(BLOB, start=10, stop=20) as reader:
        await reader.seek(15)
        assert await reader.read() == DATA[15:20]
        await reader.seek(20)
        assert await reader.read() == b""
        for position in (-1, 21):
            with pytest.raises(oci.InvalidArgument):
                await reader.seek(position)


async def test_seeking_a_reader_that_is_not_open(filled: oci.Repository) -> None:
    """Before it is opened and after it is closed there is nothing to seek in."""
    reader = filled.blobs.open(BLOB)
    with pytest.raises(RuntimeError, match="not open"):
        await reader.seek(0)
    async with reader:
        pass
    with pytest.raises(RuntimeError, match="closed"):
        await reader.seek(0)


async def test_a_part_that_breaks_goes_on(filled: oci.Repository, registry: RunningRegistry) -> None:
    """The rest of the part is asked for, and no more."""
    registry.faults.add(Fault(method="GET", nth=1, reset_answer_after=40))

    async with filled.blobs.open(BLOB, start=100, stop=200) as reader:
        assert await reader.read() == DATA[100:200]

    assert [request.headers["range"] for request in registry.requests] == ["bytes=100-199", "bytes=140-199"]


async def test_a_registry_without_ranges(client: oci.Client) -> None:
    """The whole comes, and what is before and after the part is dropped."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, DATA)

    async with (
        hostile(script) as server,
        client.registry(server.url).get_blob("a", BLOB, start=100, stop=200) as reader,
    ):
        assert await reader.read() == DATA[100:200]


@pytest.mark.parametrize("given", [None, "bytes 0-99/1024000", "bytes 99-199/1024000", "bytes 100-199/5000"])
async def test_another_part_than_was_asked_for(client: oci.Client, given: str | None) -> None:
    """It is an error that says what came."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(206, DATA[100:200], [] if given is None else [("Content-Range", given)])

    async with hostile(script) as server:
        with pytest.raises((oci.ProtocolError, oci.SizeMismatch)):
            async with client.registry(server.url).get_blob("a", BLOB, start=100, stop=200) as reader:
                await reader.read()


@pytest.mark.parametrize(("stop", "end"), [(200, 200), (None, SIZE)])
async def test_a_part_that_is_too_short(client: oci.Client, stop: int | None, end: int) -> None:
    """An answer that ends early in good order is found out by its length, the rest of the blob's, too."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(206, DATA[100:150], [("Content-Range", f"bytes 100-149/{SIZE}")])

    async with hostile(script) as server:
        with pytest.raises(oci.SizeMismatch, match=f"ended at byte 150, before {end}"):
            async with client.registry(server.url).get_blob("a", BLOB, start=100, stop=stop) as reader:
                await reader.read()


async def test_a_part_that_is_too_long(client: oci.Client) -> None:
    """No more is handed out than was asked for, however long the answer goes on."""

    async def script(exchange: Exchange) -> None:
        head = f"HTTP/1.1 206 OK\r\nContent-Range: bytes {SIZE - 9}-{SIZE - 1}/{SIZE}\r\n"
        await exchange.send(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        await exchange.send_for_ever(b"10000\r\n" + bytes(1 << 16) + b"\r\n")

    async with (
        hostile(script) as server,
        client.registry(server.url).get_blob("a", BLOB, start=SIZE - 9) as reader,
    ):
        assert await reader.read(limit=9) == bytes(9)


async def _serve_a_little(exchange: Exchange) -> None:
    """Serve no more than 100,000 bytes of any range; what is no range breaks off in the middle."""
    asked = exchange.header("Range")
    if asked is None:
        await exchange.answer(200, DATA[: SIZE // 2], length=SIZE)
        exchange.close()
        return
    begin, _, last = asked.removeprefix("bytes=").partition("-")
    start = int(begin)
    stop = min(start + 100_000, int(last or SIZE - 1) + 1)
    await exchange.answer(206, DATA[start:stop], [("Content-Range", f"bytes {start}-{stop - 1}/{SIZE}")])


@pytest.mark.parametrize(("start", "stop"), [(0, None), (10, None), (10, 400_000)])
async def test_a_registry_that_serves_less_than_the_range(
    client: oci.Client, start: int, stop: int | None
) -> None:
    """It may (RFC 9110 section 15.3.7), and is asked for the rest, after a break, too."""
    async with (
        hostile(_serve_a_little) as server,
        client.registry(server.url).get_blob("a", BLOB, start=start, stop=stop) as reader,
    ):
        assert await reader.read() == DATA[start:stop]


@pytest.mark.parametrize("blob", [BLOB, DIGEST])
async def test_limits_of_reading_a_part(filled: oci.Repository, blob: oci.Descriptor | oci.Digest) -> None:
    """What counts is how much is left."""
    async with filled.blobs.open(blob, start=SIZE - 10) as reader:
        with pytest.raises(oci.LimitExceeded):
            await reader.read(limit=9)
        assert await reader.read(limit=10) == DATA[-10:]


@pytest.mark.usefixtures("impatient")
async def test_a_slow_body_is_left(filled: oci.Repository, registry: RunningRegistry) -> None:
    """One that comes with less than the minimum rate is taken for broken, and goes on over another connection."""
    filled.registry.sender.timeouts = oci.Timeouts(minimum_rate=1_000_000, rate_window=0.05)
    registry.faults.add(Fault(method="GET", nth=1, bytes_per_second=2000))

    with anyio.fail_after(10):
        assert await filled.blobs.read(BLOB) == DATA

    assert [request.status for request in registry.requests] == [200, 206]


async def test_a_slow_reader_is_not_a_slow_body(filled: oci.Repository, registry: RunningRegistry) -> None:
    """The time that the reader takes does not count."""
    filled.registry.sender.timeouts = oci.Timeouts(minimum_rate=10_000_000, rate_window=0.02)

    async with filled.blobs.open(BLOB) as reader:
        async for _ in reader:
            await anyio.sleep(0.03)

    assert len(registry.requests) == 1


async def test_content_of_a_descriptor_is_not_asked_for(
    repo: oci.Repository, registry: RunningRegistry
) -> None:
    """`data` that is what the descriptor says costs no request; any other is as if it were not there."""
    content = b"{}"
    descriptor = oci.Descriptor(
        media_type=oci.MediaType.EMPTY_JSON,
        digest=oci.Digest.of(content),
        size=2,
        data=base64.b64encode(content).decode(),
    )

    async with repo.blobs.open(descriptor) as reader:
        assert await reader.read() == content
        assert reader.verified
    assert len(registry.requests) == 0

    wrong = descriptor.model_copy(update={"data": base64.b64encode(b"[]").decode()})
    with pytest.raises(oci.NotFound):
        await repo.blobs.read(wrong)


async def _serve_data(exchange: Exchange) -> None:
    await exchange.answer(200, DATA)


async def test_foreign_layers_come_from_elsewhere(repo: oci.Repository) -> None:
    """Where the registry does not have a blob, its `urls` are asked, with nothing of ours (CVE-2020-15157)."""
    async with hostile(_serve_data) as elsewhere:
        urls = ("http://127.0.0.1:9/nobody", f"{elsewhere.url}/layer?x=1")
        blob = BLOB.model_copy(update={"urls": urls})
        assert await repo.blobs.read(blob) == DATA

    (request,) = elsewhere.requests
    assert request.target == "/layer?x=1"
    assert request.header("Authorization") is None


async def test_foreign_layers_come_from_the_first_place_that_has_them(repo: oci.Repository) -> None:
    """What is no such blob by its length is passed over."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, DATA if exchange.target == "/layer" else b"<html>not any more</html>")

    async with hostile(script) as elsewhere:
        blob = BLOB.model_copy(update={"urls": (f"{elsewhere.url}/moved", f"{elsewhere.url}/layer")})
        assert await repo.blobs.read(blob) == DATA


async def test_what_the_registry_has_does_not_come_from_elsewhere(filled: oci.Repository) -> None:
    """The registry is asked first."""
    async with hostile(_serve_data) as elsewhere:
        await filled.blobs.read(BLOB.model_copy(update={"urls": (f"{elsewhere.url}/layer",)}))

    assert elsewhere.requests == []


async def test_foreign_layers_that_are_nowhere(repo: oci.Repository) -> None:
    """The error is the registry's, and says what the other places said."""
    blob = BLOB.model_copy(update={"urls": ("http://127.0.0.1:9/nobody", "file:///etc/passwd")})
    with pytest.raises(oci.NotFound) as caught:
        await repo.blobs.read(blob)

    assert len(caught.value.__notes__) == 2


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blob_sources, "PART", 100_000)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("connections", [2, 4, 100])
async def test_several_connections(
    filled: oci.Repository, registry: RunningRegistry, connections: int
) -> None:
    """Parts come at once and are handed out in order, verified as a whole."""
    async with filled.blobs.open(BLOB, connections=connections) as reader:
        assert await reader.read() == DATA
        assert reader.verified

    ranges = {request.headers["range"] for request in registry.requests}
    assert ranges == {f"bytes={n}-{min(n + 100_000, SIZE) - 1}" for n in range(0, SIZE, 100_000)}


@pytest.mark.usefixtures("small_parts")
async def test_several_connections_for_a_part(filled: oci.Repository) -> None:
    """A range can be fetched that way, too."""
    async with filled.blobs.open(BLOB, start=50, stop=450_050, connections=3) as reader:
        assert await reader.read() == DATA[50:450_050]


@pytest.mark.usefixtures("small_parts")
async def test_parts_that_break_go_on(filled: oci.Repository, registry: RunningRegistry) -> None:
    """Each part is as robust as a whole."""
    for nth in (1, 3, 5):
        registry.faults.add(Fault(method="GET", nth=nth, reset_answer_after=777))

    async with filled.blobs.open(BLOB, connections=4) as reader:
        assert await reader.read() == DATA


@pytest.mark.usefixtures("small_parts")
async def test_several_connections_without_ranges(client: oci.Client) -> None:
    """A registry that sends the whole is asked once."""
    async with (
        hostile(_serve_data) as server,
        client.registry(server.url).get_blob("a", BLOB, connections=4) as reader,
    ):
        assert await reader.read() == DATA
        assert reader.verified

    assert len(server.requests) == 1


@pytest.mark.usefixtures("small_parts")
async def test_parts_that_are_not_the_blob(filled: oci.Repository, registry: RunningRegistry) -> None:
    """One wrong byte in any of them is found."""
    registry.faults.add(Fault(method="GET", nth=4, corrupt_at=1))

    with pytest.raises(oci.DigestMismatch):
        async with filled.blobs.open(BLOB, connections=4) as reader:
            await reader.read()


@asynccontextmanager
async def _held_back(client: oci.Client, released: anyio.Event) -> AsyncGenerator[oci.Registry]:
    """A registry that serves the first two parts, and lets the others wait."""

    async def script(exchange: Exchange) -> None:
        begin, _, end = (exchange.header("Range") or "")[6:].partition("-")
        if int(begin) > 100_000:
            await released.wait()
        given = f"bytes {begin}-{end}/{SIZE}"
        await exchange.answer(206, DATA[int(begin) : int(end) + 1], [("Content-Range", given)])

    async with hostile(script) as server:
        yield client.registry(server.url)
        assert server.sockets_of_clients() <= 2  # idle ones


@pytest.mark.usefixtures("small_parts")
async def test_leaving_several_connections_early(client: oci.Client) -> None:
    """What is on its way is ended, and no connection stays."""
    async with (
        _held_back(client, anyio.Event()) as registry,
        registry.get_blob("a", BLOB, connections=4) as reader,
    ):
        assert await anext(reader)


async def test_bad_numbers_of_connections(repo: oci.Repository) -> None:
    """None at all, or several for a blob whose size is not known."""
    for blob, connections, reason in ((BLOB, 0, "at least one"), (DIGEST, 2, "descriptor")):
        with pytest.raises(oci.InvalidArgument, match=reason):
            _ = repo.blobs.open(blob, connections=connections)


def test_parts_are_worth_a_connection() -> None:
    """A part is more than what has to come before a break counts as the first again."""
    assert blob_sources.PART > blob_body.PROGRESS
