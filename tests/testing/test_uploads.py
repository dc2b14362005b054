"""Blobs, pushed in every form."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator

import aiohttp
import anyio
import pytest

from oci_distribution.testing import BasicAuth, DirectoryStorage, MemoryStorage, User, serve_registry
from tests.testing.conftest import Remote

DATA = b"0123456789"


def _no_upload_is_left(remote: Remote, storage: MemoryStorage | DirectoryStorage) -> bool:
    files = list((storage.path / ".uploads").iterdir()) if isinstance(storage, DirectoryStorage) else []
    return not remote.registry.app.uploads and not files


async def _stored(remote: Remote, name: str = "a", data: bytes = DATA, algorithm: str = "sha256") -> bool:
    answer = await remote.ask("GET", f"/v2/{name}/blobs/{remote.digest_of(data, algorithm)}")
    return answer.status == 200 and answer.body == data


async def test_post_then_put(remote: Remote, storage: MemoryStorage | DirectoryStorage) -> None:
    """A session is opened, and closed with the whole blob."""
    digest = remote.digest_of(DATA)
    opened = await remote.ask("POST", "/v2/a/blobs/uploads/")
    assert (opened.status, opened.headers["Range"]) == (202, "0-0")
    answer = await remote.ask("PUT", f"{opened.headers['Location']}&digest={digest}", data=DATA)
    assert (answer.status, answer.headers["Location"]) == (201, f"/v2/a/blobs/{digest}")
    assert answer.headers["Docker-Content-Digest"] == digest
    assert await _stored(remote)
    assert _no_upload_is_left(remote, storage)


async def test_path_without_the_last_slash(remote: Remote) -> None:
    """Some clients leave it out."""
    assert (await remote.ask("POST", "/v2/a/blobs/uploads")).status == 202


async def test_single_post(remote: Remote, storage: MemoryStorage | DirectoryStorage) -> None:
    """One request is enough."""
    answer = await remote.ask("POST", f"/v2/a/blobs/uploads/?digest={remote.digest_of(DATA)}", data=DATA)
    assert answer.status == 201
    assert await _stored(remote)
    assert _no_upload_is_left(remote, storage)


async def test_streamed_patch(remote: Remote) -> None:
    """PATCH without a range takes a stream of unknown length; a second one appends."""

    async def body() -> AsyncIterator[bytes]:
        yield DATA[:3]
        yield DATA[3:6]

    first = await remote.ask("PATCH", await remote.start("a"), data=body())
    assert (first.status, first.headers["Range"]) == (202, "0-5")
    second = await remote.ask("PATCH", first.headers["Location"], data=DATA[6:])
    location = second.headers["Location"]
    assert (await remote.ask("PUT", f"{location}&digest={remote.digest_of(DATA)}")).status == 201
    assert await _stored(remote)


@pytest.mark.parametrize("last_in_put", [False, True])
async def test_chunks(remote: Remote, *, last_in_put: bool) -> None:
    """Chunks with ranges, the last of which may come with the PUT."""
    location = await remote.start("a")
    first = await remote.ask("PATCH", location, data=DATA[:4], headers={"Content-Range": "0-3"})
    assert (first.status, first.headers["Range"]) == (202, "0-3")
    location, rest, headers = first.headers["Location"], DATA[4:], {"Content-Range": "4-9"}
    if not last_in_put:
        second = await remote.ask("PATCH", location, data=rest, headers=headers)
        location, rest, headers = second.headers["Location"], b"", {}
    answer = await remote.ask(
        "PUT", f"{location}&digest={remote.digest_of(DATA)}", data=rest, headers=headers
    )
    assert answer.status == 201
    assert await _stored(remote)


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("chunk", ["0-3", "5-8"])
async def test_chunk_out_of_order(remote: Remote, method: str, chunk: str) -> None:
    """A chunk that does not begin where the upload ends is refused with 416, and the upload can go on from there."""
    first = await remote.ask(
        "PATCH", await remote.start("a"), data=DATA[:4], headers={"Content-Range": "0-3"}
    )
    target = first.headers["Location"] + (f"&digest={remote.digest_of(DATA)}" if method == "PUT" else "")
    answer = await remote.ask(method, target, data=b"wxyz", headers={"Content-Range": chunk})
    assert answer.error == (416, "BLOB_UPLOAD_INVALID")
    assert answer.headers["Range"] == "0-3"
    second = await remote.ask(
        "PATCH", answer.headers["Location"], data=DATA[4:], headers={"Content-Range": "4-9"}
    )
    last = f"{second.headers['Location']}&digest={remote.digest_of(DATA)}"
    assert (await remote.ask("PUT", last)).status == 201
    assert await _stored(remote)


@pytest.mark.parametrize("chunk", ["3-0", "x-y", "bytes 0-3/4", "0-", "-3", "0-3/10"])
async def test_malformed_chunk_range(remote: Remote, chunk: str) -> None:
    """A `Content-Range` in another form than the specification's is refused."""
    answer = await remote.ask(
        "PATCH", await remote.start("a"), data=b"wxyz", headers={"Content-Range": chunk}
    )
    assert answer.error == (400, "BLOB_UPLOAD_INVALID")


async def test_chunk_of_another_length_than_its_range(remote: Remote) -> None:
    """Range and Content-Length must agree; the upload can go on."""
    location = await remote.start("a")
    answer = await remote.ask("PATCH", location, data=b"wxyz", headers={"Content-Range": "0-9"})
    assert answer.error == (400, "SIZE_INVALID")
    assert (await remote.ask("PATCH", location, data=DATA, headers={"Content-Range": "0-9"})).status == 202


async def test_streamed_chunk_of_another_length_than_its_range(remote: Remote) -> None:
    """Where the length shows only at the end, the upload is lost."""

    async def body() -> AsyncIterator[bytes]:
        yield b"wxyz"

    location = await remote.start("a")
    answer = await remote.ask("PATCH", location, data=body(), headers={"Content-Range": "0-9"})
    assert answer.error == (400, "SIZE_INVALID")
    assert (await remote.ask("GET", location)).error == (404, "BLOB_UPLOAD_UNKNOWN")


async def test_status(remote: Remote) -> None:
    """GET tells how far the upload is, also by a location that is not the newest."""
    location = await remote.start("a")
    fresh = await remote.ask("GET", location)
    assert (fresh.status, fresh.headers["Range"]) == (204, "0-0")
    await remote.ask("PATCH", fresh.headers["Location"], data=DATA)
    status = await remote.ask("GET", location)
    assert (status.status, status.headers["Range"]) == (204, "0-9")
    last = f"{status.headers['Location']}&digest={remote.digest_of(DATA)}"
    assert (await remote.ask("PUT", last)).status == 201


@pytest.mark.parametrize("method", ["PATCH", "PUT", "DELETE"])
async def test_only_the_newest_location_will_do(remote: Remote, method: str) -> None:
    """Each answer has another location, and the ones before are worth nothing but for asking."""
    location = await remote.start("a")
    newest = (await remote.ask("PATCH", location, data=DATA)).headers["Location"]
    assert newest != location
    target = f"{location}&digest={remote.digest_of(DATA)}"
    answer = await remote.ask(method, target)
    assert answer.error == (416, "BLOB_UPLOAD_INVALID")
    assert answer.headers["Location"] == newest


async def test_cancel(remote: Remote, storage: MemoryStorage | DirectoryStorage) -> None:
    """A cancelled upload leaves nothing."""
    sent = await remote.ask("PATCH", await remote.start("a"), data=DATA)
    location = sent.headers["Location"]
    assert (await remote.ask("DELETE", location)).status == 204
    assert _no_upload_is_left(remote, storage)
    for method in ("GET", "PATCH", "DELETE"):
        assert (await remote.ask(method, location)).error == (404, "BLOB_UPLOAD_UNKNOWN")


async def test_cancel_while_sending(remote: Remote, storage: MemoryStorage | DirectoryStorage) -> None:
    """Cancelling an upload that another request still sends to makes that one fail, and the one that waits for it."""
    location = await remote.start("a")
    errors: list[tuple[int, str]] = []

    async def second() -> None:
        errors.append((await remote.ask("GET", location)).error)

    async with anyio.create_task_group() as tasks:

        async def body() -> AsyncIterator[bytes]:
            yield DATA
            tasks.start_soon(second)
            await remote.wait_until(lambda: remote.registry.requests.count("GET") == 1)
            assert (await remote.ask("DELETE", location)).status == 204
            yield DATA

        errors.append((await remote.ask("PATCH", location, data=body())).error)
    assert errors == [(404, "BLOB_UPLOAD_UNKNOWN")] * 2
    assert _no_upload_is_left(remote, storage)


async def test_requests_to_one_upload_queue_up(remote: Remote) -> None:
    """While one request is sending, another one waits and then finds that its location is old."""
    location = await remote.start("a")
    answers: list[int] = []

    async def second() -> None:
        answers.append((await remote.ask("PATCH", location, data=b"other")).status)

    async with anyio.create_task_group() as tasks:

        async def body() -> AsyncIterator[bytes]:
            yield DATA[:5]
            tasks.start_soon(second)
            await remote.wait_until(lambda: remote.registry.requests.count("PATCH") == 2)
            yield DATA[5:]

        first = await remote.ask("PATCH", location, data=body())
    assert (first.status, answers) == (202, [416])


async def test_wrong_digest(remote: Remote, storage: MemoryStorage | DirectoryStorage) -> None:
    """Content that has another digest is refused, and forgotten."""
    digest = remote.digest_of(b"other")
    location = await remote.start("a")
    answer = await remote.ask("PUT", f"{location}&digest={digest}", data=DATA)
    assert answer.error == (400, "DIGEST_INVALID")
    at_once = await remote.ask("POST", f"/v2/a/blobs/uploads/?digest={digest}", data=DATA)
    assert at_once.error == (400, "DIGEST_INVALID")
    assert _no_upload_is_left(remote, storage)
    assert (await remote.ask("HEAD", f"/v2/a/blobs/{digest}")).status == 404


@pytest.mark.parametrize("query", ["", "&digest=", "&digest=sha256:abc", "&digest=md5:0123"])
async def test_invalid_or_missing_digest(remote: Remote, query: str) -> None:
    """PUT must say the digest; the upload can go on."""
    location = await remote.start("a")
    assert (await remote.ask("PUT", location + query, data=DATA)).error == (400, "DIGEST_INVALID")
    good = f"{location}&digest={remote.digest_of(DATA)}"
    assert (await remote.ask("PUT", good, data=DATA)).status == 201


@pytest.mark.parametrize("query", ["?digest=x", "?mount=x&from=b", "?digest-algorithm=md5"])
async def test_invalid_digest_at_the_start(remote: Remote, query: str) -> None:
    """Digests and algorithms are checked before anything begins."""
    answer = await remote.ask("POST", f"/v2/a/blobs/uploads/{query}", data=DATA)
    assert answer.error == (400, "DIGEST_INVALID")


@pytest.mark.parametrize("announced", ["", "?digest-algorithm=sha512"])
async def test_sha512_in_chunks(remote: Remote, announced: str) -> None:
    """sha512 works, best when it is announced, but also when it comes as a surprise at the end."""
    sent = await remote.ask("PATCH", await remote.start("a", announced), data=DATA)
    digest = remote.digest_of(DATA, "sha512")
    assert (await remote.ask("PUT", f"{sent.headers['Location']}&digest={digest}")).status == 201
    assert await _stored(remote, algorithm="sha512")


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_surprising_algorithm_is_checked_too(remote: Remote, algorithm: str) -> None:
    """A digest of another algorithm than announced must match as well."""
    other = "sha512" if algorithm == "sha256" else "sha256"
    sent = await remote.ask("PATCH", await remote.start("a", f"?digest-algorithm={other}"), data=DATA)
    digest = remote.digest_of(b"other", algorithm)
    answer = await remote.ask("PUT", f"{sent.headers['Location']}&digest={digest}")
    assert answer.error == (400, "DIGEST_INVALID")


async def test_unknown_upload(remote: Remote) -> None:
    """An upload that never was, or belongs to another repository, is BLOB_UPLOAD_UNKNOWN."""
    location = await remote.start("a")
    for path in ("/v2/a/blobs/uploads/nothing", location.replace("/v2/a/", "/v2/b/")):
        assert (await remote.ask("GET", path)).error == (404, "BLOB_UPLOAD_UNKNOWN")


async def test_mount(remote: Remote) -> None:
    """A blob of another repository is there without being sent."""
    digest = (await remote.push_blob("a", DATA))["digest"]
    answer = await remote.ask("POST", f"/v2/b/c/blobs/uploads/?mount={digest}&from=a")
    assert (answer.status, answer.headers["Location"]) == (201, f"/v2/b/c/blobs/{digest}")
    assert await _stored(remote, "b/c")
    again = await remote.ask("POST", f"/v2/b/c/blobs/uploads/?mount={digest}&from=a")
    assert again.status == 201


async def test_mounted_blob_outlives_its_source(remote: Remote) -> None:
    """A mount is a blob of its own."""
    digest = (await remote.push_blob("a", DATA))["digest"]
    await remote.ask("POST", f"/v2/b/blobs/uploads/?mount={digest}&from=a")
    await remote.ask("DELETE", f"/v2/a/blobs/{digest}")
    assert await _stored(remote, "b")


@pytest.mark.parametrize("source", ["&from=a", "&from=nowhere", ""])
async def test_mount_that_cannot_be(remote: Remote, source: str) -> None:
    """Where the blob is not found, the answer is an upload, which works like any other."""
    await remote.push_blob("a", b"other")
    digest = remote.digest_of(DATA)
    location = await remote.start("b", f"?mount={digest}{source}")
    assert (await remote.ask("PUT", f"{location}&digest={digest}", data=DATA)).status == 201


async def test_mount_from_wherever_it_is(remote: Remote) -> None:
    """Without `from`, the registry looks for the blob itself."""
    await remote.push_blob("a/source", DATA)
    answer = await remote.ask("POST", f"/v2/b/blobs/uploads/?mount={remote.digest_of(DATA)}")
    assert answer.status == 201
    assert await _stored(remote, "b")


async def test_mount_from_where_one_may_not_read() -> None:
    """Without `from`, a blob is not found where the client has no right to pull."""
    users = {"ann": User("secret", {"hers": ["pull", "push"]}), "bob": User("secret")}
    async with (
        serve_registry(auth=BasicAuth(users)) as registry,
        aiohttp.ClientSession(registry.url, headers=_basic("bob")) as bob,
        aiohttp.ClientSession(registry.url, headers=_basic("ann")) as ann,
    ):
        digest = (await Remote(bob, registry).push_blob("his", DATA))["digest"]
        await Remote(ann, registry).start("hers", f"?mount={digest}")  # which wants an upload for an answer


def _basic(name: str) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(f'{name}:secret'.encode()).decode()}"}


async def test_mount_from_an_invalid_name(remote: Remote) -> None:
    """The source's name is checked."""
    answer = await remote.ask("POST", f"/v2/b/blobs/uploads/?mount={remote.digest_of(DATA)}&from=../a")
    assert answer.error == (400, "NAME_INVALID")


async def test_concurrent_pushes_of_the_same_blob(
    remote: Remote, storage: MemoryStorage | DirectoryStorage
) -> None:
    """All of them succeed, and there is one blob."""
    data = DATA * 50_000

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(remote.push_blob, "a", data)
    assert await _stored(remote, data=data)
    assert _no_upload_is_left(remote, storage)


async def test_body_that_breaks_off_stays_for_resuming(remote: Remote) -> None:
    """What arrived before a connection broke is kept, and counted in the status."""
    location = await remote.start("a")
    address, port = remote.registry.host.split(":")
    async with await anyio.connect_tcp(address, int(port)) as stream:
        head = f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"
        await stream.send(head.encode() + DATA[:6])
        (session,) = remote.registry.app.uploads.values()
        await remote.wait_until(lambda: session.size == 6)
    status = await remote.ask("GET", location)
    assert (status.status, status.headers["Range"]) == (204, "0-5")
    sent = await remote.ask("PATCH", status.headers["Location"], data=DATA[6:])
    digest = remote.digest_of(DATA)
    assert (await remote.ask("PUT", f"{sent.headers['Location']}&digest={digest}")).status == 201
    assert await _stored(remote)


async def test_unfinished_upload_is_removed_with_the_registry(
    remote: Remote, storage: MemoryStorage | DirectoryStorage
) -> None:
    """Closing the app drops what nobody will finish, and keeps content."""
    await remote.push_blob("a", DATA)
    await remote.ask("PATCH", await remote.start("a"), data=DATA)
    remote.registry.app.close()
    assert _no_upload_is_left(remote, storage)
    assert await _stored(remote)


async def test_shortest_chunk() -> None:
    """The minimum is told, and a shorter chunk must be the last one."""
    async with (
        serve_registry(chunk_min_length=4) as registry,
        aiohttp.ClientSession(registry.url) as session,
    ):
        remote = Remote(session, registry)
        answer = await remote.ask("POST", "/v2/a/blobs/uploads/")
        assert answer.headers["OCI-Chunk-Min-Length"] == "4"
        location = answer.headers["Location"]
        for chunk, body in (("0-3", b"abcd"), ("4-5", b"ef")):
            answer = await remote.ask("PATCH", location, data=body, headers={"Content-Range": chunk})
            assert answer.status == 202
            location = answer.headers["Location"]
        refused = await remote.ask("PATCH", location, data=b"ghij", headers={"Content-Range": "6-9"})
        assert refused.error == (400, "BLOB_UPLOAD_INVALID")
        answer = await remote.ask("PUT", f"{location}&digest={remote.digest_of(b'abcdef')}")
        assert answer.status == 201


async def test_idle_upload_is_forgotten() -> None:
    """An upload that nobody goes on with makes room when the next one starts."""
    async with (
        serve_registry(upload_lifetime=0) as registry,
        aiohttp.ClientSession(registry.url) as session,
    ):
        remote = Remote(session, registry)
        idle = await remote.start("a")
        await remote.start("a")
        assert len(registry.app.uploads) == 1
        assert (await remote.ask("GET", idle)).error == (404, "BLOB_UPLOAD_UNKNOWN")
