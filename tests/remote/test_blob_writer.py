"""Blobs that are written piece by piece: sent in exact chunks, ended, given up, left open and gone on with."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

import oci_distribution as oci
from oci_distribution.testing import Fault, RunningRegistry, TokenAuth, serve_registry
from tests.disk import names_below
from tests.hostile import Exchange, hostile

DATA = bytes(range(256)) * 1000
DIGEST = oci.Digest.of(DATA)
CHUNK = 100_000


def sent(registry: RunningRegistry) -> list[tuple[str, int]]:
    """Return methods with the bytes that they carried, and forget them."""
    found = [(request.method, request.body_size) for request in registry.requests]
    registry.requests.clear()
    return found


async def half_written(repo: oci.Repository, data: bytes = DATA[:230_000]) -> oci.UploadSession:
    async with repo.blobs.writer(chunk_size=CHUNK) as writer:
        await writer.write(data)
        return await writer.suspend()


@pytest.mark.parametrize("piece", [1_000, 7_001, CHUNK, 255_999, len(DATA)])
async def test_chunks_have_exactly_their_size(
    repo: oci.Repository, registry: RunningRegistry, piece: int
) -> None:
    """Whatever the size of the pieces that are written."""
    async with repo.blobs.writer(chunk_size=CHUNK) as writer:
        for start in range(0, len(DATA), piece):
            await writer.write(DATA[start : start + piece])
        assert writer.size == len(DATA)
        blob = await writer.commit(media_type="application/x-test")

    assert blob == oci.Descriptor(media_type="application/x-test", digest=DIGEST, size=len(DATA))
    assert sent(registry) == [
        *(("POST", 0), ("PATCH", CHUNK), ("PATCH", CHUNK), ("PATCH", 56_000), ("PUT", 0), ("HEAD", 0)),
    ]
    assert await repo.blobs.read(blob) == DATA


@pytest.mark.parametrize("data", [b"", b"x", DATA[: CHUNK - 1]])
async def test_what_fits_into_a_chunk_goes_whole(
    repo: oci.Repository, registry: RunningRegistry, data: bytes
) -> None:
    """No registry refuses that form."""
    async with repo.blobs.writer(chunk_size=CHUNK) as writer:
        await writer.write(data)
        blob = await writer.commit()

    assert sent(registry) == [("POST", 0), ("PUT", len(data))]
    assert await repo.blobs.read(blob) == data


@pytest.mark.parametrize("kind", [bytearray, memoryview])
async def test_any_bytes(repo: oci.Repository, kind: type[bytearray | memoryview]) -> None:
    """What is written may change after that."""
    data = bytearray(DATA)
    async with repo.blobs.writer(chunk_size=CHUNK) as writer:
        await writer.write(kind(data))
        data[:] = bytes(len(data))
        assert (await writer.commit()).digest == DIGEST


async def test_expected_digest(repo: oci.Repository, registry: RunningRegistry) -> None:
    """Another one is found out before the registry hears of it, and the upload is given up."""
    for expected in (oci.Digest.of(b"other"), f"sha256:{'0' * 64}"):
        with pytest.raises(oci.DigestMismatch):
            async with repo.blobs.writer(chunk_size=CHUNK) as writer:
                await writer.write(DATA)
                await writer.commit(expected)
    assert registry.requests.count("PUT") == 0
    assert not registry.app.uploads

    async with repo.blobs.writer(chunk_size=CHUNK) as writer:
        await writer.write(DATA)
        assert (await writer.commit(DIGEST)).digest == DIGEST


async def test_expected_digest_of_another_algorithm(repo: oci.Repository, registry: RunningRegistry) -> None:
    """What was written cannot be compared with it: the writer has to know before."""
    async with repo.blobs.writer(chunk_size=CHUNK) as writer:
        await writer.write(DATA)
        with pytest.raises(oci.InvalidArgument, match="sha256"):
            await writer.commit(oci.Digest.of(DATA, "sha512"))
    assert registry.requests.count("PUT") == 0


async def test_expected_size(repo: oci.Repository, registry: RunningRegistry) -> None:
    """A descriptor says that, too."""
    blob = oci.Descriptor(media_type="application/x-test", digest=DIGEST, size=3)
    with pytest.raises(oci.SizeMismatch):
        async with repo.blobs.writer() as writer:
            await writer.write(DATA)
            await writer.commit(blob)
    assert not registry.app.uploads


async def test_sha512(repo: oci.Repository, registry: RunningRegistry) -> None:
    """The registry is told the algorithm when the upload starts."""
    async with repo.blobs.writer(chunk_size=CHUNK, algorithm="sha512") as writer:
        await writer.write(DATA)
        blob = await writer.commit()

    assert blob.digest == oci.Digest.of(DATA, "sha512")
    assert registry.requests[0].query == "digest-algorithm=sha512"


async def test_left_without_commit(repo: oci.Repository, registry: RunningRegistry) -> None:
    """The upload is given up."""
    async with repo.blobs.writer(chunk_size=CHUNK) as writer:
        await writer.write(DATA)

    assert not registry.app.uploads
    assert [method for method, _ in sent(registry)] == ["POST", "PATCH", "PATCH", "GET", "DELETE"]


async def test_left_by_an_error(repo: oci.Repository, registry: RunningRegistry) -> None:
    """The upload is given up, and the error goes on."""
    with pytest.raises(ZeroDivisionError):
        async with repo.blobs.writer(chunk_size=CHUNK) as writer:
            await writer.write(DATA)
            raise ZeroDivisionError
    assert not registry.app.uploads


async def test_cancelled(repo: oci.Repository, registry: RunningRegistry) -> None:
    """The upload is given up, although we are cancelled."""
    with anyio.CancelScope() as scope:
        async with repo.blobs.writer(chunk_size=CHUNK) as writer:
            await writer.write(DATA)
            scope.cancel()
            await writer.write(DATA)
    assert scope.cancelled_caught
    assert not registry.app.uploads


async def test_cancel_by_hand(repo: oci.Repository, registry: RunningRegistry) -> None:
    """Once is enough; after a commit there is nothing to be cancelled, least of all the blob."""
    async with repo.blobs.writer(chunk_size=CHUNK) as writer:
        await writer.write(DATA)
        await writer.cancel()
        await writer.cancel()
        with pytest.raises(RuntimeError, match="cancelled"):
            await writer.write(DATA)
    assert registry.requests.count("DELETE") == 1

    async with repo.blobs.writer(chunk_size=CHUNK) as writer:
        await writer.write(DATA)
        await writer.commit()
        await writer.cancel()
        with pytest.raises(RuntimeError, match="committed"):
            await writer.commit()
        assert writer.size == len(DATA)
    assert registry.requests.count("DELETE") == 1
    assert await repo.blobs.read(DIGEST) == DATA


async def test_misuse(repo: oci.Repository, registry: RunningRegistry) -> None:
    """It says what to do instead."""
    writer = repo.blobs.writer()
    with pytest.raises(RuntimeError, match="not open"):
        await writer.write(b"")
    async with writer:
        pass
    with pytest.raises(RuntimeError, match="ask for a new one"):
        async with writer:
            pass
    for chunk_size in (0, -1):
        with pytest.raises(oci.InvalidArgument):
            repo.blobs.writer(chunk_size=chunk_size)
    with pytest.raises(oci.InvalidDigest):
        repo.blobs.writer(algorithm="md5")
    assert registry.requests.count("POST") == 1


async def test_two_tasks_cannot_write_at_once(repo: oci.Repository, registry: RunningRegistry) -> None:
    """Their bytes would mix."""
    registry.faults.add(Fault(method="PATCH", nth=1, delay=0.05))
    async with repo.blobs.writer(chunk_size=CHUNK) as writer:
        with pytest.raises(ExceptionGroup) as caught:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(writer.write, DATA)
                tasks.start_soon(writer.write, DATA)
    assert caught.group_contains(anyio.BusyResourceError)


async def test_smallest_chunk_of_a_registry() -> None:
    """`OCI-Chunk-Min-Length` goes before what the user wants."""
    async with serve_registry(strict=True, chunk_min_length=120_000) as registry, oci.Client() as client:
        repo = client.registry(registry.url).repository("team/app")
        async with repo.blobs.writer(chunk_size=10) as writer:
            assert writer.chunk_size == 120_000
            await writer.write(DATA)
            await writer.commit()
        assert [size for method, size in sent(registry) if method == "PATCH"] == [120_000, 120_000, 16_000]


async def test_producer_is_slowed_down(client: oci.Client) -> None:
    """A write that fills a chunk returns when the registry has it, and not before."""
    reached, go_on = anyio.Event(), anyio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        if exchange.method == "PATCH":
            reached.set()
            await go_on.wait()
        status = {"POST": 202, "PATCH": 202, "PUT": 201}.get(exchange.method, 200)
        await exchange.answer(status, headers=[("Location", "/upload")])

    written: list[int] = []

    async def produce(writer: oci.BlobWriter) -> None:
        for _ in range(3):
            await writer.write(DATA[: CHUNK // 2])
            written.append(writer.size)

    async with hostile(script) as server:
        repo = client.registry(server.url).repository("a")
        async with repo.blobs.writer(chunk_size=CHUNK) as writer, anyio.create_task_group() as tasks:
            tasks.start_soon(produce, writer)
            await reached.wait()
            assert written == [CHUNK // 2]
            go_on.set()
    assert len(written) == 3


async def test_suspend_leaves_the_upload(repo: oci.Repository, registry: RunningRegistry) -> None:
    """It is open still, and what did not fill a chunk is not in it."""
    session = await half_written(repo)

    assert len(registry.app.uploads) == 1
    assert session.size == 2 * CHUNK
    assert session.digest == oci.Digest.of(DATA[: 2 * CHUNK])
    assert session.chunk_size == CHUNK


async def test_resume_in_another_process(
    repo: oci.Repository, registry: RunningRegistry, tmp_path: Path
) -> None:
    """All that is needed goes through JSON; the prefix is hashed again, and may be the whole."""
    text = (await half_written(repo)).model_dump_json()
    (tmp_path / "data").write_bytes(DATA)

    async with oci.Client() as client:
        other = client.registry(registry.url).repository("team/app")
        session = oci.UploadSession.model_validate_json(text)
        async with other.blobs.resume(session, prefix=tmp_path / "data") as writer:
            assert writer.size == 2 * CHUNK
            await writer.write(DATA[writer.size :])
            blob = await writer.commit()

    assert blob.digest == DIGEST
    assert await repo.blobs.read(blob) == DATA


async def test_resume_without_a_prefix(repo: oci.Repository, registry: RunningRegistry) -> None:
    """Then the digest has to be named, and the registry compares."""
    session = await half_written(repo)
    with pytest.raises(oci.DigestInvalid):
        async with repo.blobs.resume(session) as writer:
            await writer.write(DATA[writer.size :])
            with pytest.raises(oci.InvalidArgument, match="needs the digest"):
                await writer.commit()
            await writer.commit(oci.Digest.of(b"other"))
    registry.violations.clear()

    session = await half_written(repo)
    async with repo.blobs.resume(session) as writer:
        await writer.write(DATA[writer.size :])
        assert (await writer.commit(DIGEST)).size == len(DATA)
    assert await repo.blobs.read(DIGEST) == DATA


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_resume_after_the_smallest_chunk(repo: oci.Repository, count: int) -> None:
    """It has two bytes: a registry that holds one says the same as one that holds none."""
    async with repo.blobs.writer(chunk_size=1) as writer:
        await writer.write(b"abc"[:count])
        session = await writer.suspend()

    async with repo.blobs.resume(session, prefix=b"abc") as writer:
        await writer.write(b"abc"[writer.size :])
        assert (await writer.commit()).digest == oci.Digest.of(b"abc")


@pytest.mark.parametrize(
    ("prefix", "error"),
    [(DATA[:150_000], oci.SizeMismatch), (DATA[1:], oci.DigestMismatch), (b"", oci.SizeMismatch)],
)
async def test_prefix_that_does_not_fit(
    repo: oci.Repository, registry: RunningRegistry, prefix: bytes, error: type[oci.OCIError]
) -> None:
    """It is refused, and the upload stays as it is."""
    session = await half_written(repo)
    with pytest.raises(error):
        async with repo.blobs.resume(session, prefix=prefix):
            pass
    assert len(registry.app.uploads) == 1

    async with repo.blobs.resume(session, prefix=DATA) as writer:
        await writer.write(DATA[writer.size :])
        await writer.commit(DIGEST)


async def test_registry_that_holds_more_than_the_session_knows(
    repo: oci.Repository, registry: RunningRegistry
) -> None:
    """The process died after a chunk was taken, and before it could note that: nothing is sent twice."""
    async with repo.blobs.writer(chunk_size=CHUNK) as writer:
        await writer.write(DATA[:CHUNK])
        old = writer.session
        await writer.write(DATA[CHUNK : 2 * CHUNK])
        await writer.suspend()
    assert old.size == CHUNK
    sent(registry)

    async with repo.blobs.resume(old, prefix=DATA) as writer:
        assert writer.size == 2 * CHUNK
        await writer.write(DATA[writer.size :])
        assert (await writer.commit()).digest == DIGEST
    assert sent(registry) == [("GET", 0), ("PATCH", 56_000), ("PUT", 0), ("HEAD", 0)]


async def test_upload_that_is_forgotten(repo: oci.Repository, registry: RunningRegistry) -> None:
    """The registry dropped it: the caller has to begin again, and is told so by a type."""
    session = await half_written(repo)
    registry.app.uploads.clear()

    with pytest.raises(oci.BlobUploadUnknown):
        async with repo.blobs.resume(session, prefix=DATA):
            pass


async def test_upload_of_another_repository(repo: oci.Repository) -> None:
    """It cannot be gone on with here."""
    session = await half_written(repo)
    with pytest.raises(oci.InvalidArgument, match="not of"):
        async with repo.registry.repository("team/other").blobs.resume(session):
            pass


async def test_location_on_another_origin_gets_no_token(registry: RunningRegistry) -> None:
    """Whoever can write the session's file cannot have the registry's credentials sent elsewhere."""

    async def ann(host: str, repository: str | None) -> oci.Credential:
        return oci.Credential(username="ann", password="secret")

    async with (
        serve_registry(auth=TokenAuth(users={"ann": "secret"})) as home,
        oci.Client(auth_provider=ann) as client,
    ):
        repo = client.registry(home.url).repository("team/app")
        session = await half_written(repo)
        moved = session.model_copy(update={"location": session.location.replace(home.url, registry.url)})
        with pytest.raises(oci.BlobUploadUnknown):
            async with repo.blobs.resume(moved, prefix=DATA):
                pass
        assert [request.headers.get("authorization") for request in registry.requests] == [None]


@pytest.mark.parametrize(
    "change",
    [
        {"location": "file:///etc/passwd"},
        {"size": -1},
        {"repository": "../x"},
        {"more": 1},
        {"chunk_size": 0},
    ],
)
async def test_broken_session(repo: oci.Repository, change: dict[str, object]) -> None:
    """What is no session is refused when it is read."""
    session = await half_written(repo)
    with pytest.raises(ValueError, match="validation error"):
        oci.UploadSession.model_validate({**session.model_dump(), **change})
    await repo.blobs.resume(session).__aenter__()


async def test_no_secret_in_the_repr(repo: oci.Repository) -> None:
    """The query of a location may be all that it takes to write."""
    session = await half_written(repo)
    state = session.location.partition("state=")[2]
    assert state
    assert state not in repr(session) + str(session)


async def test_write_that_fails_can_be_suspended(client: oci.Client, registry: RunningRegistry) -> None:
    """A network that is down for long loses nothing: what the registry has is where another day goes on."""
    async with oci.Client(retry=oci.RetryPolicy(attempts=1)) as impatient:
        repo = impatient.registry(registry.url).repository("team/app")
        fault = registry.faults.add(Fault(method="PATCH", nth=2, reset_after=10_000))
        async with repo.blobs.writer(chunk_size=CHUNK) as writer:
            with pytest.raises(oci.TransportError):
                await writer.write(DATA)
            session = await writer.suspend()
        registry.faults.remove(fault)
    assert session.size == CHUNK

    repo = client.registry(registry.url).repository("team/app")
    async with repo.blobs.resume(session, prefix=DATA) as writer:
        assert CHUNK <= writer.size < 2 * CHUNK
        await writer.write(DATA[writer.size :])
        assert (await writer.commit()).digest == DIGEST


@asynccontextmanager
async def without_chunks(registry: RunningRegistry) -> AsyncGenerator[oci.Repository]:
    hosts = {registry.host: oci.HostConfig(profile=oci.RegistryProfile(chunks=False))}
    async with oci.Client(hosts=hosts) as client:
        yield client.registry(registry.url).repository("team/app")


async def test_registry_without_chunks(registry: RunningRegistry) -> None:
    """The bytes wait on disk; nothing can be left for another day."""
    async with without_chunks(registry) as repo, repo.blobs.writer() as writer:
        await writer.write(DATA)
        assert not registry.requests
        for use in (lambda: writer.session, lambda: writer.id):
            with pytest.raises(oci.UnsupportedError, match="takes no chunks"):
                use()
        with pytest.raises(oci.UnsupportedError):
            await writer.suspend()
        blob = await writer.commit()
        assert await repo.blobs.read(blob) == DATA


async def test_nothing_stays_on_disk(
    registry: RunningRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the writer is left."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with without_chunks(registry) as repo:
        with anyio.CancelScope() as scope:
            async with repo.blobs.writer() as writer:
                await writer.write(DATA * 10)
                assert any(name.endswith("/blob") for name in names_below(tmp_path))
                scope.cancel()
                await anyio.lowlevel.checkpoint()
        async with repo.blobs.writer() as writer:
            await writer.write(DATA)
            await writer.commit()
    assert not names_below(tmp_path)


async def test_repr(repo: oci.Repository) -> None:
    """It says where it writes, and how far it is."""
    async with repo.blobs.writer() as writer:
        await writer.write(b"abc")
        assert repr(writer) == f"<BlobWriter of {repo.registry.name}/team/app, open, 3 bytes>"
