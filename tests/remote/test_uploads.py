"""The upload ladder: the exact requests of each of its rungs, and what is remembered of a registry."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import oci_distribution as oci
from oci_distribution.remote import open_upload, uploads
from oci_distribution.remote.uploads import SURE_OF_MISSES
from oci_distribution.testing import Fault, RunningRegistry, serve_registry
from tests.hostile import Exchange, hostile

SMALL = b"a config, say"
DATA = bytes(range(256)) * 1000
DIGEST = oci.Digest.of(DATA)
BLOB = oci.Descriptor(media_type=oci.MediaType.OCTET_STREAM, digest=DIGEST, size=len(DATA))
CHUNK = 100_000
IN_CHUNKS = [("PATCH", CHUNK), ("PATCH", CHUNK), ("PATCH", 56_000), ("PUT", 0), ("HEAD", 0)]


@pytest.fixture(autouse=True)
def chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "CHUNK_SIZE", CHUNK)
    monkeypatch.setattr(open_upload, "SMALLEST_CHUNK", 1000)


@asynccontextmanager
async def at(profile: str) -> AsyncGenerator[tuple[oci.Repository, RunningRegistry]]:
    """Serve a registry with the quirks of another."""
    async with (
        serve_registry(profile=profile) as registry,
        oci.Client(retry=oci.RetryPolicy(base_delay=0.001)) as client,
    ):
        yield client.registry(registry.url).repository("team/app"), registry


def sent(registry: RunningRegistry) -> list[tuple[str, int]]:
    """Return methods with the bytes that they carried, and forget them."""
    found = [(request.method, request.body_size) for request in registry.requests]
    registry.requests.clear()
    return found


async def pieces_of(data: bytes) -> AsyncIterator[bytes]:
    yield data


def refuse(registry: RunningRegistry, *methods: str, status: int) -> None:
    for method in methods:
        registry.faults.add(Fault(method=method, path="*/blobs/uploads/*-*", status=status))


async def test_small_blob_goes_with_the_post(repo: oci.Repository, registry: RunningRegistry) -> None:
    """Two requests are all that it takes where the registry serves that."""
    blob = await repo.blobs.push(SMALL)

    assert sent(registry) == [("HEAD", 0), ("POST", len(SMALL))]
    assert await repo.blobs.read(blob) == SMALL


async def test_empty_blob_goes_with_the_post(repo: oci.Repository, registry: RunningRegistry) -> None:
    """Nothing is a blob, too."""
    blob = await repo.blobs.push(b"")

    assert sent(registry) == [("HEAD", 0), ("POST", 0)]
    assert await repo.blobs.read(blob) == b""


async def test_registry_that_ignores_the_body_of_a_post() -> None:
    """It answers with an upload, which is used; the next small blob is not sent in vain."""
    async with at("distribution-2.8") as (repo, registry):
        await repo.blobs.push(SMALL)
        assert sent(registry) == [("HEAD", 0), ("POST", len(SMALL)), ("PUT", len(SMALL))]
        await repo.blobs.push(SMALL[1:])
        assert sent(registry) == [("HEAD", 0), ("POST", 0), ("PUT", len(SMALL) - 1)]


@pytest.mark.parametrize("status", [400, 405, 413, 415, 501])
async def test_registry_that_refuses_a_post_with_a_body(
    repo: oci.Repository, registry: RunningRegistry, status: int
) -> None:
    """It gets an empty one, and the next small blob is not sent in vain."""
    registry.faults.add(Fault(method="POST", nth=1, status=status))

    await repo.blobs.push(SMALL)
    await repo.blobs.push(SMALL[1:])

    assert [method for method, _ in sent(registry)] == ["HEAD", "POST", "POST", "PUT", "HEAD", "POST", "PUT"]


async def test_file_goes_in_one_put(repo: oci.Repository, registry: RunningRegistry, tmp_path: Path) -> None:
    """Streamed, with its length."""
    (tmp_path / "layer").write_bytes(DATA)

    assert await repo.blobs.push(tmp_path / "layer") == BLOB
    assert sent(registry) == [("HEAD", 0), ("POST", 0), ("PUT", len(DATA))]


async def test_known_blob_is_not_sent(repo: oci.Repository, registry: RunningRegistry) -> None:
    """One question is enough."""
    await repo.blobs.push(DATA)
    sent(registry)

    await repo.blobs.push(DATA)

    assert sent(registry) == [("HEAD", 0)]


async def test_known_blob_of_another_length(repo: oci.Repository, registry: RunningRegistry) -> None:
    """A descriptor that is wrong about the length is not taken for what is there."""
    await repo.blobs.push(DATA)
    longer = BLOB.model_copy(update={"size": BLOB.size + 1})

    assert not await repo.exists(longer)
    with pytest.raises(oci.SizeMismatch):
        await repo.registry.push_blob("team/app", lambda: pieces_of(DATA), descriptor=longer)
    with pytest.raises(oci.SizeMismatch):
        await repo.registry.push_blob("team/app", pieces_of(DATA), descriptor=longer)
    assert not registry.app.uploads


async def push_many(repo: oci.Repository, registry: RunningRegistry, numbers: Iterable[int]) -> int:
    """Push small blobs of these numbers, and return how many were asked for first."""
    for number in numbers:
        await repo.blobs.push(b"%d" % number)
    return [method for method, _ in sent(registry)].count("HEAD")


async def test_small_blobs_are_hardly_asked_for_where_all_are_missing(
    repo: oci.Repository, registry: RunningRegistry
) -> None:
    """To ask for one is as much work as to send it; now and then one is asked for, in case that has changed."""
    assert await push_many(repo, registry, range(SURE_OF_MISSES)) == SURE_OF_MISSES
    assert await push_many(repo, registry, range(100, 100 + 2 * SURE_OF_MISSES)) == 2
    assert await repo.blobs.read(oci.Digest.of(b"110")) == b"110"


async def test_small_blobs_are_asked_for_again_when_one_is_there(
    repo: oci.Repository, registry: RunningRegistry
) -> None:
    """And a repository of which nothing is known, too."""
    await push_many(repo, registry, range(SURE_OF_MISSES))

    assert await push_many(repo, registry, [0, 1, 2, 3]) == 4
    other = repo.registry.repository("team/other")
    assert await push_many(other, registry, [0, 1]) == 2


async def test_large_blobs_are_always_asked_for(repo: oci.Repository, registry: RunningRegistry) -> None:
    """Whatever was missing before: to send one in vain costs more than all questions."""
    await push_many(repo, registry, range(SURE_OF_MISSES + 1))

    await repo.blobs.push(DATA)
    await repo.blobs.push(DATA)

    assert sent(registry) == [("HEAD", 0), ("POST", 0), ("PUT", len(DATA)), ("HEAD", 0)]


async def test_mount(repo: oci.Repository, registry: RunningRegistry) -> None:
    """What another repository holds is not sent."""
    await repo.blobs.push(DATA)
    sent(registry)

    other = repo.registry.repository("team/other")
    outcome = await other.push_blob(BLOB, oci.BytesSource(DATA), mount_from=repo.mount_point)

    assert outcome is oci.PushOutcome.MOUNTED
    assert sent(registry) == [("HEAD", 0), ("POST", 0)]


async def test_upload_that_a_mount_opens_is_used() -> None:
    """A registry that would rather be sent the blob has opened an upload for it."""
    async with at("gar") as (repo, registry):
        other = repo.registry.repository("team/other")
        outcome = await other.push_blob(BLOB, oci.BytesSource(DATA), mount_from=repo.mount_point)

        assert outcome is oci.PushOutcome.COPIED
        assert sent(registry) == [("HEAD", 0), ("POST", 0), ("PUT", len(DATA))]


async def test_registry_without_mounts_is_asked_once(repo: oci.Repository, registry: RunningRegistry) -> None:
    """405 says that it knows no mounts; a refusal of one mount says nothing of others."""
    registry.faults.add(Fault(method="POST", nth=1, status=401))
    registry.faults.add(Fault(method="POST", nth=3, status=405))
    other = repo.registry.repository("team/other")
    for number in range(4):
        data = DATA + bytes(number)
        blob = BLOB.model_copy(update={"digest": oci.Digest.of(data), "size": len(data)})
        await other.push_blob(blob, oci.BytesSource(data), mount_from=repo.mount_point)

    asked = ["mount" in request.query for request in registry.requests if request.method == "POST"]
    assert asked == [True, False, True, False, False, False]


async def test_mount_by_hand(repo: oci.Repository, registry: RunningRegistry) -> None:
    """It says whether it was done; the upload that is opened instead is given up."""
    await repo.blobs.push(DATA)
    other = repo.registry.repository("team/other")

    assert await other.blobs.mount(DIGEST, "team/app") is True
    assert await other.blobs.mount(oci.Digest.of(b"nowhere"), "team/app") is False
    assert not registry.app.uploads
    assert await other.blobs.read(DIGEST) == DATA


@pytest.mark.parametrize("status", [405, 413, 501])
async def test_put_that_is_refused(repo: oci.Repository, registry: RunningRegistry, status: int) -> None:
    """The whole goes in one PATCH, in an upload of its own, and an empty PUT ends it."""
    registry.faults.add(Fault(method="PUT", nth=1, status=status))

    await repo.blobs.push(DATA)

    assert [method for method, _ in sent(registry)] == [
        *("HEAD", "POST", "PUT", "GET", "DELETE"),
        *("POST", "PATCH", "PUT"),
    ]
    assert await repo.blobs.read(BLOB) == DATA


async def test_what_was_refused_is_remembered(repo: oci.Repository, registry: RunningRegistry) -> None:
    """A size that was too large stays so; smaller blobs still go whole."""
    registry.faults.add(Fault(method="PUT", nth=1, status=413))
    await repo.blobs.push(DATA)
    sent(registry)

    await repo.blobs.push(DATA + b"more")
    await repo.blobs.push(DATA[1:])

    assert sent(registry) == [
        *(("HEAD", 0), ("POST", 0), ("PATCH", len(DATA) + 4), ("PUT", 0)),
        *(("HEAD", 0), ("POST", 0), ("PUT", len(DATA) - 1)),
    ]


async def test_registry_that_takes_only_chunks(repo: oci.Repository, registry: RunningRegistry) -> None:
    """Neither PUT nor PATCH may be long: in chunks it goes, and the whole is looked at in the end."""
    registry.faults.add(Fault(method="PUT", nth=1, status=413))
    registry.faults.add(Fault(method="PATCH", nth=1, status=413))

    await repo.blobs.push(DATA)
    assert sent(registry)[-6:] == [("POST", 0), *IN_CHUNKS]
    await repo.blobs.push(DATA + b"more")
    assert [method for method, _ in sent(registry)[:3]] == ["HEAD", "POST", "PATCH"]


async def test_registry_that_takes_nothing(repo: oci.Repository, registry: RunningRegistry) -> None:
    """Its last refusal is the error, and no upload is left."""
    refuse(registry, "PUT", "PATCH", status=413)

    with pytest.raises(oci.SizeInvalid):
        await repo.blobs.push(DATA)

    assert not registry.app.uploads
    assert len(registry.requests) <= 30


@pytest.mark.parametrize("status_headers", [[("Range", "0-0")], []])
@pytest.mark.parametrize("chunk_size", [None, CHUNK])
async def test_proxy_that_takes_nothing(
    client: oci.Client, status_headers: list[tuple[str, str]], chunk_size: int | None
) -> None:
    """Its web page says no code, and the registry may not say what it holds: too large it is all the same."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        match exchange.method:
            case "POST":
                await exchange.answer(202, headers=[("Location", "/v2/team/app/blobs/uploads/1")])
            case "PUT" | "PATCH":
                await exchange.answer(413, b"<html>", [("Content-Type", "text/html")])
            case "GET":
                await exchange.answer(204, headers=status_headers)
            case _:
                await exchange.answer(404)

    async with hostile(script) as server:
        repo = client.registry(server.url).repository("team/app")
        with pytest.raises(oci.SizeInvalid, match="413"):
            await repo.blobs.push(DATA, chunk_size=chunk_size)
        with pytest.raises(oci.SizeInvalid, match="413"):
            async with repo.blobs.writer(chunk_size=CHUNK) as writer:
                await writer.write(DATA)


async def test_chunks_when_asked_for(repo: oci.Repository, registry: RunningRegistry) -> None:
    """Each chunk is of the size that was wanted, but the last."""
    await repo.blobs.push(DATA, chunk_size=CHUNK)

    assert sent(registry) == [("HEAD", 0), ("POST", 0), *IN_CHUNKS]
    assert await repo.blobs.read(BLOB) == DATA


async def test_chunks_by_configuration(registry: RunningRegistry) -> None:
    """What a user knows of a registry need not be found out."""
    profile = oci.RegistryProfile(whole=False, max_chunk=CHUNK // 2)
    hosts = {registry.host: oci.HostConfig(profile=profile)}
    async with oci.Client(hosts=hosts) as client:
        repo = client.registry(registry.url).repository("team/app")
        await repo.blobs.push(DATA)
        assert sent(registry) == [("HEAD", 0), ("POST", 0), ("PATCH", len(DATA)), ("PUT", 0)]
        await repo.blobs.push(DATA[1:], chunk_size=CHUNK)
        assert max(size for _, size in sent(registry)) == CHUNK // 2


async def test_smallest_chunk_of_a_registry() -> None:
    """`OCI-Chunk-Min-Length` goes before what the user wants."""
    async with serve_registry(strict=True, chunk_min_length=120_000) as registry, oci.Client() as client:
        repo = client.registry(registry.url).repository("team/app")
        await repo.blobs.push(DATA, chunk_size=10)

        sizes = [size for method, size in sent(registry) if method == "PATCH"]
        assert sizes == [120_000, 120_000, 16_000]


async def test_chunks_that_are_too_long(repo: oci.Repository, registry: RunningRegistry) -> None:
    """They are halved until they are taken, which is remembered."""
    for number in (1, 2):
        registry.faults.add(Fault(method="PATCH", nth=number, status=413))
    await repo.blobs.push(DATA, chunk_size=CHUNK)
    taken = [request.body_size for request in registry.requests if request.method == "PATCH"]
    assert max(taken) == CHUNK // 4
    sent(registry)

    await repo.blobs.push(DATA[1:], chunk_size=CHUNK)

    assert max(size for _, size in sent(registry)) == CHUNK // 4


async def test_ghcr_calls_a_long_chunk_a_wrong_range() -> None:
    """The place is right, so it is the length that is wrong."""
    data = bytes(9 << 20)
    async with at("ghcr") as (repo, registry):
        blob = await repo.blobs.push(data, chunk_size=8 << 20)

        assert (await repo.blobs.stat(blob.digest)).size == len(data)
        assert max(size for _, size in sent(registry)) == 4 << 20


async def test_lost_chunks_of_artifactory_are_found_out() -> None:
    """It says that all is well, and keeps the last one: the whole has another size in the end."""
    async with at("artifactory") as (repo, _):
        with pytest.raises(oci.SizeMismatch):
            await repo.blobs.push(DATA, chunk_size=CHUNK)


@pytest.mark.parametrize("fault", [{"answer_lost": True}, {"reset_after": 50_000}, {"status": 503}])
async def test_chunk_that_is_lost(
    repo: oci.Repository, registry: RunningRegistry, fault: dict[str, object]
) -> None:
    """The registry is asked how far it came, and gets the rest and no more."""
    registry.faults.add(Fault.model_validate({"method": "PATCH", "nth": 2, **fault}))

    await repo.blobs.push(DATA, chunk_size=CHUNK)

    assert await repo.blobs.read(BLOB) == DATA
    assert registry.requests.count("GET", "*/uploads/*") == 1
    assert registry.requests.count("POST") == 1


async def test_ecr_public_cannot_say_how_far_it_came() -> None:
    """Then the blob is sent again from the start."""
    async with at("ecr-public") as (repo, registry):
        registry.faults.add(Fault(method="PATCH", nth=2, answer_lost=True))
        await repo.blobs.push(DATA, chunk_size=CHUNK)

        assert registry.requests.count("POST") == 2
        assert await repo.blobs.read(BLOB) == DATA


@pytest.mark.parametrize("fault", [{"answer_lost": True}, {"status": 503}, {"reset": True}])
async def test_end_of_an_upload_that_is_lost(
    repo: oci.Repository, registry: RunningRegistry, fault: dict[str, object]
) -> None:
    """It is looked whether the blob is there, and only else the upload is ended once more."""
    registry.faults.add(Fault.model_validate({"method": "PUT", "nth": 1, **fault}))

    await repo.blobs.push(DATA, chunk_size=CHUNK)

    assert await repo.blobs.read(BLOB) == DATA
    assert registry.requests.count("PATCH") == 3


@pytest.mark.parametrize("chunk_size", [None, CHUNK])
async def test_sha512(repo: oci.Repository, registry: RunningRegistry, chunk_size: int | None) -> None:
    """The registry is told the algorithm when the upload starts."""
    digest = oci.Digest.of(DATA, "sha512")
    blob = BLOB.model_copy(update={"digest": digest})

    await repo.registry.push_blob("team/app", DATA, descriptor=blob, chunk_size=chunk_size)

    assert [request.query for request in registry.requests if request.method == "POST"] == [
        "digest-algorithm=sha512"
    ]
    assert await repo.blobs.read(blob) == DATA


async def test_function_as_source(repo: oci.Repository) -> None:
    """It is called once to be hashed, and once for each time that the blob is sent."""
    calls: list[None] = []

    async def pieces() -> AsyncIterator[bytes]:
        calls.append(None)
        for start in range(0, len(DATA), 10_000):
            yield DATA[start : start + 10_000]

    assert await repo.blobs.push(pieces) == BLOB
    assert len(calls) == 2
    assert await repo.blobs.read(BLOB) == DATA


async def test_function_in_chunks(repo: oci.Repository) -> None:
    """It is not called once more for each chunk, to read again what is before it."""
    calls: list[None] = []

    async def pieces() -> AsyncIterator[bytes]:
        calls.append(None)
        yield DATA

    assert await repo.blobs.push(pieces, chunk_size=CHUNK) == BLOB
    assert len(calls) == 2
    assert await repo.blobs.read(BLOB) == DATA


@pytest.mark.parametrize("change", [DATA[1:], DATA + b"more", DATA[::-1]])
async def test_function_in_chunks_that_returns_other_bytes(
    repo: oci.Repository, registry: RunningRegistry, change: bytes
) -> None:
    """The source has changed meanwhile: that is found out before the first chunk."""
    left = [DATA, change]

    async def pieces() -> AsyncIterator[bytes]:
        yield left.pop(0)

    with pytest.raises(oci.ContentError):
        await repo.blobs.push(pieces, chunk_size=CHUNK)

    assert registry.requests.count("PATCH") == 0
    assert not registry.app.uploads


async def test_function_that_returns_other_bytes(repo: oci.Repository, registry: RunningRegistry) -> None:
    """The source has changed meanwhile: no blob comes of it."""
    left = [DATA, DATA[1:]]

    async def pieces() -> AsyncIterator[bytes]:
        yield left.pop(0)

    with pytest.raises(oci.SizeMismatch):
        await repo.blobs.push(pieces)

    assert not registry.app.uploads
    with pytest.raises(oci.BlobUnknown):
        await repo.blobs.stat(DIGEST)


async def test_stream_goes_in_chunks(repo: oci.Repository, registry: RunningRegistry) -> None:
    """What can be read only once is hashed on the way."""

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(DATA), 7_000):
            yield DATA[start : start + 7_000]

    assert await repo.blobs.push(pieces(), chunk_size=CHUNK) == BLOB
    assert sent(registry) == [("POST", 0), *IN_CHUNKS]
    assert await repo.blobs.read(BLOB) == DATA


async def test_stream_to_a_registry_without_chunks(registry: RunningRegistry) -> None:
    """It is kept on disk until its length is known, and goes whole."""

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(DATA), 7_000):
            yield DATA[start : start + 7_000]

    hosts = {registry.host: oci.HostConfig(profile=oci.RegistryProfile(chunks=False))}
    async with oci.Client(hosts=hosts) as client:
        repo = client.registry(registry.url).repository("team/app")
        assert await repo.blobs.push(pieces()) == BLOB
        assert sent(registry) == [("HEAD", 0), ("POST", 0), ("PUT", len(DATA))]
        assert await repo.blobs.read(BLOB) == DATA


@pytest.mark.parametrize("chunk_size", [None, CHUNK])
async def test_stream_that_breaks(
    repo: oci.Repository, registry: RunningRegistry, chunk_size: int | None
) -> None:
    """Its own error comes out, and no upload is left."""

    async def pieces() -> AsyncIterator[bytes]:
        yield DATA
        msg = "the disk is gone"
        raise OSError(msg)

    with pytest.raises(OSError, match="the disk is gone"):
        await repo.blobs.push(pieces(), chunk_size=chunk_size)

    assert not registry.app.uploads


async def test_stream_of_a_known_blob(repo: oci.Repository, registry: RunningRegistry) -> None:
    """It is not read when the blob is there, and found out when it is another."""
    for wrong, error in ((DATA[::-1], oci.DigestMismatch), (DATA[1:], oci.ContentError)):
        with pytest.raises(error):
            await repo.registry.push_blob("team/app", pieces_of(wrong), descriptor=BLOB)
    assert not registry.app.uploads
    await repo.blobs.push(DATA)

    outcome = await repo.registry.push_blob("team/app", pieces_of(b"never read"), descriptor=BLOB)

    assert outcome == (BLOB, oci.PushOutcome.EXISTED)


async def test_stream_by_sha512(repo: oci.Repository, registry: RunningRegistry) -> None:
    """It is hashed as its descriptor wants it, and the registry is told so; other bytes are found out."""
    blob = BLOB.model_copy(update={"digest": oci.Digest.of(DATA, "sha512")})
    with pytest.raises(oci.DigestMismatch):
        await repo.registry.push_blob("team/app", pieces_of(DATA[::-1]), descriptor=blob)
    await repo.registry.push_blob("team/app", pieces_of(DATA), descriptor=blob)

    assert {request.query for request in registry.requests if request.method == "POST"} == {
        "digest-algorithm=sha512"
    }
    assert await repo.blobs.read(blob) == DATA


async def test_bad_media_type(repo: oci.Repository, registry: RunningRegistry) -> None:
    """It is refused before anything is read or sent."""
    for data in (SMALL, pieces_of(SMALL)):
        with pytest.raises(oci.InvalidMediaType):
            await repo.blobs.push(data, media_type="nonsense")
    assert sent(registry) == []

    async with repo.blobs.writer() as writer:
        await writer.write(SMALL)
        with pytest.raises(oci.InvalidMediaType):
            await writer.commit(media_type="nonsense")
        assert (await writer.commit()).size == len(SMALL)


async def test_blob_of_another_registry_in_chunks(repo: oci.Repository, registry: RunningRegistry) -> None:
    """It is streamed through, each chunk from its own place."""
    async with serve_registry(strict=True) as other, oci.Client() as client:
        there = client.registry(other.url).repository("team/app")
        await there.blobs.push(DATA)
        blobs = oci.BlobSource(there, BLOB)
        _, outcome = await repo.registry.push_blob("team/app", blobs, descriptor=BLOB, chunk_size=CHUNK)
        starts = [request.headers.get("range") for request in other.requests if request.method == "GET"]

    assert outcome is oci.PushOutcome.COPIED
    assert starts == [None, "bytes=100000-", "bytes=200000-"]
    assert await repo.blobs.read(BLOB) == DATA
    assert registry.requests.count("PATCH") == 3


async def test_progress_is_told(repo: oci.Repository, tmp_path: Path) -> None:
    """Whole or in chunks, up to the last byte."""
    (tmp_path / "layer").write_bytes(DATA)
    for chunk_size in (None, CHUNK):
        told: list[oci.Event] = []
        with oci.observe(told.append):
            await repo.blobs.push(tmp_path / "layer", chunk_size=chunk_size)
        positions = [event.position for event in told if isinstance(event, oci.Uploaded)]
        assert positions[-1] == len(DATA)
        assert positions == sorted(positions)
        await repo.blobs.delete(DIGEST)


async def test_things_that_are_no_bytes(repo: oci.Repository, registry: RunningRegistry) -> None:
    """Said before any request, with all that can be pushed: a text could be the content, or a path."""
    with pytest.raises(TypeError, match=r"cannot read a str: .* pathlib.Path, .* function .* async iterable"):
        await repo.blobs.push("layer.tar")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    with pytest.raises(oci.InvalidArgument):
        await repo.blobs.push(DATA, chunk_size=0)

    assert not registry.requests


class Lying(oci.BytesSource):
    """A source that has other bytes than it says, or breaks."""

    def __init__(self, data: bytes, size: int, error: Exception | None = None) -> None:
        super().__init__(data)
        self._said = size
        self._error = error

    @property
    def size(self) -> int:
        return self._said

    @asynccontextmanager
    async def open(self, offset: int = 0) -> AsyncGenerator[AsyncIterator[bytes]]:
        async def pieces(stream: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
            async for piece in stream:
                for start in range(0, len(piece), 10_000):
                    yield piece[start : start + 10_000]
            if self._error is not None:
                raise self._error

        async with super().open(offset) as stream:
            yield pieces(stream)


@pytest.mark.parametrize("way", ["whole", "stream", "chunks"])
@pytest.mark.parametrize(
    ("source", "error"),
    [
        (Lying(DATA[:-1], len(DATA)), oci.SizeMismatch),
        (Lying(DATA[:150_000], len(DATA)), oci.SizeMismatch),
        (Lying(b"", len(DATA)), oci.SizeMismatch),
        (Lying(DATA + b"x", len(DATA)), oci.SizeMismatch),
        (Lying(DATA * 2, len(DATA)), oci.SizeMismatch),
        (Lying(DATA[::-1], len(DATA)), oci.DigestInvalid),
        (Lying(DATA[:150_000], len(DATA), OSError("the disk is gone")), OSError),
        (Lying(b"", 1 << 41), oci.SizeMismatch),
    ],
    ids=["a byte less", "half", "nothing", "a byte more", "twice", "other bytes", "breaks", "huge"],
)
async def test_source_that_is_not_what_it_says(
    repo: oci.Repository, registry: RunningRegistry, way: str, source: Lying, error: type[Exception]
) -> None:
    """No blob comes of it, no upload is left, and the error says what was wrong."""
    if way == "stream":
        repo.registry.learned.refused_sizes["whole"] = 0
    blob = BLOB.model_copy(update={"size": source.size})
    chunk_size = CHUNK if way == "chunks" else None

    with pytest.raises(error):
        await repo.registry.push_blob("team/app", source, descriptor=blob, chunk_size=chunk_size)

    assert not registry.app.uploads
    with pytest.raises(oci.BlobUnknown):
        await repo.blobs.stat(DIGEST)
    registry.violations.clear()


async def test_ghcr_is_known_to_take_short_chunks() -> None:
    """Nobody has to configure it, or to find it out."""
    async with oci.Client() as client:
        assert client.registry("ghcr.io").learned.largest_chunk == 4 << 20
        assert client.registry("quay.io").learned.largest_chunk is None


async def test_registry_that_stored_something_else(repo: oci.Repository, registry: RunningRegistry) -> None:
    """It says so in the answer to a POST, to a mount, or to a PUT."""
    wrong = {"headers": {"Docker-Content-Digest": f"sha256:{'0' * 64}"}}
    await repo.blobs.push(DATA)
    registry.faults.add(Fault.model_validate({"method": "POST", **wrong}))
    other = repo.registry.repository("team/other")

    with pytest.raises(oci.DigestMismatch):
        await repo.blobs.push(SMALL)
    with pytest.raises(oci.DigestMismatch):
        await other.blobs.mount(DIGEST, "team/app")
    registry.faults.clear()
    registry.faults.add(Fault.model_validate({"method": "PUT", **wrong}))
    with pytest.raises(oci.DigestMismatch):
        await repo.blobs.push(DATA[1:])
