"""Stat, get and push of blobs: streamed, verified, and cleaned up after."""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

import oci_distribution as oci
from oci_distribution.content.files import read_bounded
from oci_distribution.testing import RunningRegistry
from tests.hostile import Exchange, hostile

DATA = bytes(range(256)) * 5000
DIGEST = oci.Digest.of(DATA)
BLOB = oci.Descriptor(media_type=oci.MediaType.OCTET_STREAM, digest=DIGEST, size=len(DATA))


@pytest.mark.parametrize("data", [b"", b"x", DATA])
async def test_what_is_pushed_is_read(repo: oci.Repository, data: bytes) -> None:
    """Of every size, the empty one too."""
    descriptor = await repo.blobs.push(data, media_type="application/x-test")

    assert descriptor.media_type == "application/x-test"
    assert await repo.blobs.read(descriptor) == data
    assert await repo.blobs.read(descriptor.digest) == data
    assert (await repo.blobs.stat(descriptor.digest)).size == len(data)


async def test_a_push_is_head_post_put(repo: oci.Repository, registry: RunningRegistry) -> None:
    """Asked for, a session, and the whole in one PUT; a second push asks and is done."""
    await repo.blobs.push(DATA)
    await repo.blobs.push(DATA)

    assert [request.method for request in registry.requests] == ["HEAD", "POST", "PUT", "HEAD"]
    assert registry.requests[2].body_size == len(DATA)


async def test_a_file_is_pushed(repo: oci.Repository, tmp_path: Path) -> None:
    """A path is read in pieces, first to be hashed, then to be sent."""
    path = tmp_path / "layer"
    path.write_bytes(DATA * 3)

    descriptor = await repo.blobs.push(path)

    assert await repo.blobs.read(descriptor) == DATA * 3


async def test_a_small_file_may_grow(
    repo: oci.Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that has become large by the time it is read is pushed as a large one."""
    path = tmp_path / "log"
    path.write_bytes(b"small")
    grown = bytes(1 << 20)

    def growing(path: Path, limit: int) -> bytes:
        path.write_bytes(grown)
        return read_bounded(path, limit)

    monkeypatch.setattr("oci_distribution.remote.pushes.read_bounded", growing)
    blob = await repo.blobs.push(path)

    assert await repo.blobs.read(blob) == grown


async def test_a_pipe_is_refused(repo: oci.Repository, registry: RunningRegistry, tmp_path: Path) -> None:
    """At once: a thread that opens it would wait for a writer, whatever is cancelled."""
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(oci.StoreError, match="no regular file"):
        await repo.blobs.push(tmp_path / "pipe")

    assert len(registry.requests) == 0


async def test_a_file_that_is_not_there_is_an_error_before_any_request(
    repo: oci.Repository, registry: RunningRegistry, tmp_path: Path
) -> None:
    """It says which file."""
    with pytest.raises((oci.OCIError, OSError), match="missing"):
        await repo.blobs.push(tmp_path / "missing")

    assert len(registry.requests) == 0


async def test_what_cannot_be_read_again_is_refused(repo: oci.Repository) -> None:
    """The error says what is taken: a newcomer passes the name of a file first."""
    with pytest.raises(TypeError, match="Path"):
        await repo.blobs.push("layer.tar.gz")  # type: ignore[arg-type]


async def test_a_stream_is_verified_before_its_last_piece(repo: oci.Repository) -> None:
    """Whoever gets to the end has what the digest says; `verified` says whether that was so."""
    await repo.blobs.push(DATA)
    read = b""

    async with repo.blobs.open(BLOB) as blob:
        assert not blob.verified
        async for piece in blob:
            read += piece
        assert blob.verified

    assert read == DATA


async def test_a_reader_can_be_awaited_instead(repo: oci.Repository) -> None:
    """For callers whose response outlives the function."""
    await repo.blobs.push(DATA)

    blob = await repo.blobs.open(DIGEST)
    try:
        assert blob.descriptor.size == len(DATA)
        assert await blob.read() == DATA
    finally:
        await blob.aclose()


async def test_a_reader_that_nobody_closes_is_warned_of(repo: oci.Repository) -> None:
    """It keeps a connection until the client is closed; one that was read to its end keeps nothing."""
    blob = await repo.blobs.push(bytes(8 << 20))
    readers = [await repo.blobs.open(blob)]

    def forget() -> None:
        readers.clear()
        gc.collect()

    await anext(readers[0])
    with pytest.warns(ResourceWarning, match=f"BlobReader of {blob.digest}> was not closed"):
        forget()

    readers.append(await repo.blobs.open(blob))
    await readers[0].read(limit=blob.size)
    forget()


async def test_leaving_early_is_no_error(repo: oci.Repository) -> None:
    """Who has seen enough leaves, and the client goes on."""
    await repo.blobs.push(DATA)

    async with repo.blobs.open(BLOB) as blob:
        await anext(blob)

    assert not blob.verified
    assert await repo.blobs.read(BLOB) == DATA


async def test_a_reader_is_opened_once(repo: oci.Repository) -> None:
    """Misuse is a RuntimeError that says what to do."""
    await repo.blobs.push(DATA)
    blob = repo.blobs.open(DIGEST)
    with pytest.raises(RuntimeError, match="not open"):
        await anext(blob)
    with pytest.raises(RuntimeError, match="open"):
        _ = blob.descriptor
    async with blob:
        pass
    with pytest.raises(RuntimeError, match="new one"):
        _ = await blob


async def test_a_reader_that_ended_badly_does_not_look_ended(
    repo: oci.Repository, client: oci.Client
) -> None:
    """After a break, a close or the end, reading on is a RuntimeError and never an empty blob."""
    await repo.blobs.push(DATA)
    async with repo.blobs.open(BLOB) as whole:
        await whole.read()
        with pytest.raises(RuntimeError, match="new reader"):
            await whole.read()
    closed = await repo.blobs.open(BLOB)
    await closed.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await closed.read()

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, DATA[:1000], length=len(DATA))
        exchange.close()

    async with hostile(script) as server, client.registry(server.url).get_blob("a/b", BLOB) as broken:
        with pytest.raises(oci.BrokenAnswer):
            await broken.read()
        with pytest.raises(RuntimeError, match="failed before"):
            await broken.read()


async def test_read_has_a_limit(repo: oci.Repository) -> None:
    """A blob is not taken into memory whole by accident."""
    descriptor = await repo.blobs.push(DATA)

    with pytest.raises(oci.LimitExceeded):
        await repo.blobs.read(descriptor, limit=len(DATA) - 1)


@pytest.mark.parametrize(
    ("body", "length", "expected"),
    [
        (DATA[:-1] + b"x", None, oci.DigestMismatch),
        (DATA[:-1], None, oci.SizeMismatch),
        (DATA + b"x", None, oci.SizeMismatch),
        (DATA[:1000], len(DATA), oci.BrokenAnswer),
    ],
)
async def test_what_is_not_the_blob_is_an_error(
    client: oci.Client, body: bytes, length: int | None, expected: type[oci.OCIError]
) -> None:
    """Other bytes, fewer, more, or a connection that breaks: never the last piece."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, body, length=length)
        exchange.close()

    read = b""
    async with hostile(script) as server:
        with pytest.raises(expected) as caught:
            async with client.registry(server.url).get_blob("a/b", BLOB) as blob:
                async for piece in blob:
                    read += piece

    assert len(read) < len(DATA)
    assert server.url in str(caught.value)


async def test_a_body_without_a_length_is_counted(client: oci.Client) -> None:
    """A server that does not say how much there is cannot make us read for ever."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        await exchange.send_for_ever(bytes(1 << 16))

    async with hostile(script) as server:
        with anyio.fail_after(10), pytest.raises(oci.SizeMismatch):
            await client.registry(server.url).repository("a/b").blobs.read(BLOB)


async def test_a_blob_that_is_not_there(repo: oci.Repository) -> None:
    """The class says what is missing, for HEAD and GET."""
    await repo.blobs.push(b"another")
    with pytest.raises(oci.BlobUnknown):
        await repo.blobs.stat(DIGEST)
    with pytest.raises(oci.BlobUnknown):
        await repo.blobs.read(DIGEST)


@pytest.mark.parametrize("digest", ["", "sha256:../../x", "sha256:" + "A" * 64, "md5:" + "0" * 32, "latest"])
async def test_bad_digests_never_leave(repo: oci.Repository, registry: RunningRegistry, digest: str) -> None:
    """A digest is checked before a URL is built from it."""
    with pytest.raises(oci.InvalidDigest):
        await repo.blobs.stat(digest)
    with pytest.raises(oci.InvalidDigest):
        _ = repo.blobs.open(digest)

    assert len(registry.requests) == 0


async def test_a_push_of_other_bytes_leaves_no_session(
    repo: oci.Repository, registry: RunningRegistry
) -> None:
    """The registry refuses what does not hash right, and nothing of it stays."""
    with pytest.raises(oci.DigestInvalid):
        await repo.registry.push_blob("team/app", oci.BytesSource(DATA[::-1]), descriptor=BLOB)

    assert not registry.app.uploads
    with pytest.raises(oci.NotFound):
        await repo.blobs.stat(DIGEST)
    assert [violation.rule for violation in registry.violations] == ["content-digest"]
    registry.violations.clear()


async def test_a_source_of_another_length_is_refused_before_any_request(
    repo: oci.Repository, registry: RunningRegistry
) -> None:
    """The descriptor and the source must agree."""
    with pytest.raises(oci.SizeMismatch):
        await repo.registry.push_blob("team/app", oci.BytesSource(DATA[1:]), descriptor=BLOB)
    with pytest.raises(oci.DigestMismatch):
        await repo.registry.push_blob("team/app", DATA[::-1], descriptor=BLOB)

    assert len(registry.requests) == 0


class Source(oci.BytesSource):
    """A source that does something before its second piece."""

    def __init__(self) -> None:
        super().__init__(DATA)
        self.half = anyio.Event()

    @asynccontextmanager
    async def open(self, offset: int = 0) -> AsyncGenerator[AsyncIterator[bytes]]:
        async def pieces() -> AsyncGenerator[bytes]:
            yield DATA[:1000]
            self.half.set()
            await self.then()
            yield DATA[1000:]

        yield pieces()

    async def then(self) -> None:
        await anyio.sleep_forever()


async def test_a_cancelled_push_leaves_no_session(repo: oci.Repository, registry: RunningRegistry) -> None:
    """The session is deleted on the way out."""
    source = Source()
    async with anyio.create_task_group() as group:
        group.start_soon(repo.push_blob, BLOB, source)
        await source.half.wait()
        assert registry.app.uploads
        group.cancel_scope.cancel()

    assert not registry.app.uploads
    assert await repo.blobs.push(DATA) == BLOB


async def test_a_source_that_fails_leaves_no_session(repo: oci.Repository, registry: RunningRegistry) -> None:
    """Its own error comes out, and the session is deleted."""

    class Failing(Source):
        async def then(self) -> None:
            raise oci.NotFound("half of it is gone")

    with pytest.raises(oci.NotFound, match="half of it"):
        await repo.push_blob(BLOB, Failing())

    assert not registry.app.uploads


async def test_a_session_that_opens_while_we_are_cancelled_is_given_up(client: oci.Client) -> None:
    """Its location is waited for: without it nobody could delete the session."""
    asked, release = anyio.Event(), anyio.Event()

    async def script(exchange: Exchange) -> None:
        match exchange.method:
            case "HEAD":
                await exchange.answer(404)
            case "POST":
                asked.set()
                await release.wait()
                await exchange.answer(202, headers=[("Location", "/upload/1")])
            case _:
                await exchange.answer(204)

    async with hostile(script) as server:
        repository = client.registry(server.url).repository("a/b")
        async with anyio.create_task_group() as group:
            group.start_soon(repository.push_blob, BLOB, oci.BytesSource(DATA))
            await asked.wait()
            group.cancel_scope.cancel()
            release.set()

    assert [(request.method, request.target) for request in server.requests[2:]] == [
        ("GET", "/upload/1"),
        ("DELETE", "/upload/1"),
    ]


async def test_a_session_that_moves_on_is_given_up_again(client: oci.Client) -> None:
    """distribution answers 416 as long as it takes in what arrived of the PUT; the newest location counts."""
    statuses = 0

    async def script(exchange: Exchange) -> None:
        nonlocal statuses
        match exchange.method:
            case "HEAD":
                await exchange.answer(404)
            case "POST":
                await exchange.answer(202, headers=[("Location", "/upload/0")])
            case "PUT":
                await exchange.read_body()
                await exchange.answer(400, b'{"errors": [{"code": "DIGEST_INVALID"}]}')
            case "GET":
                statuses += 1
                await exchange.answer(204, headers=[("Location", f"/upload/{statuses}")])
            case _:
                await exchange.answer(416 if statuses < 3 else 204)

    async with hostile(script) as server:
        with pytest.raises(oci.DigestInvalid):
            await client.registry(server.url).repository("a/b").push_blob(BLOB, oci.BytesSource(DATA))

    deleted = [request.target for request in server.requests if request.method == "DELETE"]
    assert deleted == ["/upload/1", "/upload/2", "/upload/3"]


async def test_a_broken_put_is_asked_about_and_sent_again(client: oci.Client) -> None:
    """After a lost answer the registry is asked; what it does not have is sent in a new session."""
    sessions = 0

    async def script(exchange: Exchange) -> None:
        nonlocal sessions
        await exchange.read_body()
        match exchange.method:
            case "HEAD":
                await exchange.answer(404)
            case "POST":
                sessions += 1
                await exchange.answer(202, headers=[("Location", f"/upload/{sessions}?_state=a%2Fb")])
            case "PUT" if exchange.target.startswith("/upload/1?"):
                exchange.reset()
            case "PUT":
                await exchange.answer(201)
            case _:
                await exchange.answer(404)

    async with hostile(script) as server:
        outcome = await client.registry(server.url).repository("a/b").push_blob(BLOB, oci.BytesSource(DATA))

    methods = [request.method for request in server.requests]
    assert outcome is oci.PushOutcome.COPIED
    assert methods == ["HEAD", "POST", "PUT", "GET", "DELETE", "HEAD", "POST", "PUT"]
    assert server.requests[2].target == f"/upload/1?_state=a%2Fb&digest={DIGEST}"
    assert server.requests[-1].body == DATA


async def test_a_put_whose_answer_was_lost_after_all_was_stored(client: oci.Client) -> None:
    """An upload that "failed" and is there was none to repeat."""
    stored = False

    async def script(exchange: Exchange) -> None:
        nonlocal stored
        await exchange.read_body()
        match exchange.method:
            case "HEAD":
                await exchange.answer(*((200, DATA) if stored else (404,)))
            case "POST":
                await exchange.answer(202, headers=[("Location", "/upload/1")])
            case "PUT":
                stored = True
                exchange.reset()
            case _:
                await exchange.answer(404)

    async with hostile(script) as server:
        await client.registry(server.url).repository("a/b").push_blob(BLOB, oci.BytesSource(DATA))

    assert [request.method for request in server.requests].count("PUT") == 1


@pytest.mark.parametrize("location", [None, "http://user:pw@127.0.0.1/x", "gopher://x/", "http://a b/"])
async def test_bad_upload_locations_are_refused(client: oci.Client, location: str | None) -> None:
    """A session leads to a URL, or it is no session."""

    async def script(exchange: Exchange) -> None:
        if exchange.method == "HEAD":
            await exchange.answer(404)
        else:
            await exchange.answer(202, headers=[("Location", location)] if location else [])

    async with hostile(script) as server:
        with pytest.raises((oci.ProtocolError, oci.ForbiddenOrigin)):
            await client.registry(server.url).repository("a/b").push_blob(BLOB, oci.BytesSource(DATA))


async def test_mounting(repo: oci.Repository, registry: RunningRegistry) -> None:
    """What another repository of the registry holds is mounted, and not sent."""
    await repo.blobs.push(DATA)
    other = repo.registry.repository("team/other")
    registry.requests.clear()

    outcome = await other.push_blob(BLOB, oci.BytesSource(DATA), mount_from=repo.mount_point)

    assert outcome is oci.PushOutcome.MOUNTED
    assert [request.method for request in registry.requests] == ["HEAD", "POST"]
    assert await other.blobs.read(BLOB) == DATA


async def test_a_mount_that_opens_a_session_instead_is_used(
    repo: oci.Repository, registry: RunningRegistry
) -> None:
    """202 is an upload: it is continued, not left behind."""
    empty = repo.registry.repository("team/empty").mount_point

    outcome = await repo.push_blob(BLOB, oci.BytesSource(DATA), mount_from=empty)

    assert outcome is oci.PushOutcome.COPIED
    assert [request.method for request in registry.requests] == ["HEAD", "POST", "PUT"]
    assert not registry.app.uploads


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405])
async def test_a_refused_mount_is_no_failure(client: oci.Client, status: int) -> None:
    """GitLab and ECR Public refuse mounts in their own ways; the blob is sent all the same."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        if exchange.method == "HEAD":
            await exchange.answer(404)
        elif "mount=" in exchange.target:
            await exchange.answer(status)
        elif exchange.method == "POST":
            await exchange.answer(202, headers=[("Location", "/upload/1")])
        else:
            await exchange.answer(201)

    async with hostile(script) as server:
        repository = client.registry(server.url).repository("a/b")
        elsewhere = repository.registry.repository("c/d").mount_point
        outcome = await repository.push_blob(BLOB, oci.BytesSource(DATA), mount_from=elsewhere)

    assert outcome is oci.PushOutcome.COPIED


async def test_another_registry_is_not_mounted_from(repo: oci.Repository, registry: RunningRegistry) -> None:
    """A mount works within one registry only, and elsewhere is not even tried."""
    await repo.push_blob(BLOB, oci.BytesSource(DATA), mount_from=oci.MountPoint("elsewhere", "team/other"))

    assert registry.requests.count("POST") == 1
    assert "mount" not in "".join(request.query for request in registry.requests)
