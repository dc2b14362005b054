"""Quirks of uploads: every registry stumbles where the real one was seen to."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import AsyncIterator

import pytest
from yarl import URL

from oci_distribution.testing import TokenAuth, User
from tests.testing.conftest import INDEX, Answer, BehavingLike, Remote, digest_of

LAYER = digest_of(b"layer")


async def patch(remote: Remote, location: str, data: bytes, start: int) -> Answer:
    headers = {"Content-Range": f"{start}-{start + len(data) - 1}"}
    return await remote.ask("PATCH", URL(location, encoded=True), data=io.BytesIO(data), headers=headers)


async def push_in_chunks(remote: Remote, *chunks: bytes) -> list[Answer]:
    """Push a blob in chunks, and return the answers, that of the PUT last."""
    location, start, answers = await remote.start("a"), 0, []
    for chunk in chunks:
        answers.append(await patch(remote, location, chunk, start))
        start += len(chunk)
        location = answers[-1].headers["Location"]
    target = URL(f"{location}&digest={digest_of(b''.join(chunks))}", encoded=True)
    return [*answers, await remote.ask("PUT", target)]


async def mount(remote: Remote, name: str, source: str | None, digest: str = LAYER) -> Answer:
    query = f"?mount={digest}" + ("" if source is None else f"&from={source}")
    return await remote.ask("POST", f"/v2/{name}/blobs/uploads/{query}")


@pytest.mark.parametrize("name", ["ecr", "ecr-public"])
async def test_range_that_stays(name: str, behaving_like: BehavingLike) -> None:
    """ECR answers 201 to every chunk, tells the end of the first, and stores them all."""
    async with behaving_like(name) as remote:
        *chunks, last = await push_in_chunks(remote, b"one,", b"two,", b"three")
        assert [(answer.status, answer.headers["Range"]) for answer in chunks] == [(201, "0-3")] * 3
        assert last.status == 201
        blob = await remote.ask("GET", f"/v2/a/blobs/{digest_of(b'one,two,three')}")
        assert blob.body == b"one,two,three"


async def test_mount_of_what_a_manifest_needs(behaving_like: BehavingLike) -> None:
    """ECR mounts a layer of an image, and opens a session for a blob that was only pushed."""
    async with behaving_like("ecr") as remote:
        await remote.push_image("a")
        lone = await remote.push_blob("a", b"lone")
        assert (await mount(remote, "b", "a")).status == 201
        assert (await mount(remote, "b", "a", lone["digest"])).status == 202
        assert (await mount(remote, "b", "nowhere")).status == 202


@pytest.mark.parametrize("name", ["ecr-public", "gar"])
async def test_mounts_never(name: str, behaving_like: BehavingLike) -> None:
    """A session is opened instead, and it is a good one."""
    async with behaving_like(name) as remote:
        await remote.push_image("a")
        answer = await mount(remote, "b", "a")
        assert answer.status == 202
        target = URL(f"{answer.headers['Location']}&digest={LAYER}", encoded=True)
        assert (await remote.ask("PUT", target, data=io.BytesIO(b"layer"))).status == 201


async def test_mount_within_one_account(behaving_like: BehavingLike) -> None:
    """Docker Hub mounts from the same account only."""
    async with behaving_like("docker-hub") as remote:
        await remote.push_image("ann/a")
        assert (await mount(remote, "ann/b", "ann/a")).status == 201
        assert (await mount(remote, "bob/b", "ann/a")).status == 202


async def test_mount_without_from(behaving_like: BehavingLike) -> None:
    """Quay wants to know where a blob is to be mounted from."""
    async with behaving_like("quay") as remote:
        await remote.push_image("a")
        assert (await mount(remote, "b", None)).error == (400, "INVALID_REQUEST")
        assert (await mount(remote, "b", "a")).status == 201


async def test_mount_from_where_one_may_not_read(behaving_like: BehavingLike) -> None:
    """GitLab answers 401 where others open a session."""
    rights = {"mine": {"pull", "push"}, "public": {"pull"}}
    auth = TokenAuth(users={"ann": User("secret", rights), "root": "root"})
    async with behaving_like("gitlab", auth=auth) as remote:
        await log_in(remote, "root:root", "repository:public:pull,push", "repository:secret:pull,push")
        await remote.push_blob("public", b"layer")
        await remote.push_blob("secret", b"layer")
        await log_in(
            remote,
            "ann:secret",
            "repository:mine:pull,push",
            "repository:public:pull",
            "repository:secret:pull",
        )
        assert (await mount(remote, "mine", "secret")).error == (401, "UNAUTHORIZED")
        assert (await mount(remote, "mine", "public")).status == 201


async def log_in(remote: Remote, user: str, *scopes: str) -> None:
    basic = {"Authorization": f"Basic {base64.b64encode(user.encode()).decode()}"}
    query = "&".join(f"scope={scope}" for scope in scopes)
    token = (await remote.ask("GET", f"/token?{query}", headers=basic)).json["token"]
    remote.http.headers["Authorization"] = f"Bearer {token}"


async def test_upload_that_cannot_be_asked(behaving_like: BehavingLike) -> None:
    """ECR Public does not know GET of an upload."""
    async with behaving_like("ecr-public") as remote:
        location = await remote.start("a")
        assert (await remote.ask("GET", location)).error == (404, "BLOB_UPLOAD_UNKNOWN")


async def test_chunk_that_is_too_long(behaving_like: BehavingLike) -> None:
    """GHCR answers to a chunk of more than 4 MiB as if it were in the wrong place."""
    async with behaving_like("ghcr") as remote:
        location = await remote.start("a")
        answer = await patch(remote, location, bytes((4 << 20) + 1), 0)
        assert answer.error == (416, "REQUESTED_RANGE_NOT_SATISFIABLE")
        assert (await patch(remote, location, bytes(4 << 20), 0)).status == 202


async def test_no_chunks(behaving_like: BehavingLike) -> None:
    """GAR takes no PATCH."""
    async with behaving_like("gar") as remote:
        answer = await patch(remote, await remote.start("a"), b"chunk", 0)
        assert answer.error == (405, "UNSUPPORTED")


async def test_uploads_outside_of_the_api(behaving_like: BehavingLike) -> None:
    """GAR's uploads are outside of /v2/, and credentials are wanted there, too."""
    async with behaving_like("gar", auth=TokenAuth(users={"ann": "secret"})) as remote:
        await log_in(remote, "ann:secret", "repository:a/b:pull,push")
        location = await remote.start("a/b")
        assert location.startswith("/artifacts-uploads/namespaces/a/b/uploads/")
        assert (await remote.ask("GET", location)).headers["Location"].startswith("/artifacts-uploads/")
        del remote.http.headers["Authorization"]
        assert (await remote.ask("GET", location)).status == 401
        assert (await remote.ask("GET", "/artifacts-uploads/nonsense")).status == 404


@pytest.mark.parametrize(("name", "limit"), [("acr", 20 << 20), ("serverless-registry", 100_000_000)])
async def test_body_that_is_too_long(name: str, limit: int, behaving_like: BehavingLike) -> None:
    """A proxy's web page with 413 is the answer to a long body, before it was read."""
    async with behaving_like(name) as remote:
        location = await remote.start("a")

        async def one_piece() -> AsyncIterator[bytes]:
            yield b"x"

        target, headers = f"{location}&digest={LAYER}", {"Content-Length": str(limit + 1)}
        async with remote.http.put(target, data=one_piece(), headers=headers) as answer:
            assert (answer.status, answer.content_type) == (413, "text/html")


async def test_chunk_without_length(behaving_like: BehavingLike) -> None:
    """ACR wants to know how long a chunk is."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"chunk"

    async with behaving_like("acr") as remote:
        headers = {"Content-Range": "0-4"}
        answer = await remote.ask("PATCH", await remote.start("a"), data=pieces(), headers=headers)
        assert answer.error == (400, "CONTENT_LENGTH_INVALID")


async def test_last_chunk_only(behaving_like: BehavingLike) -> None:
    """Artifactory stores the last chunk and says that all went well; one PUT goes well indeed."""
    async with behaving_like("artifactory") as remote:
        *_, last = await push_in_chunks(remote, b"one,", b"two,", b"three")
        assert last.status == 201
        assert (await remote.ask("GET", f"/v2/a/blobs/{digest_of(b'one,two,three')}")).body == b"three"
        (*_, last) = await push_in_chunks(remote, b"alone")
        assert (await remote.ask("GET", f"/v2/a/blobs/{digest_of(b'alone')}")).body == b"alone"


@pytest.mark.parametrize(
    ("accept", "status"),
    [(INDEX, 406), (f"{INDEX}, */*", 202), ("application/json", 202), ("*/*;q=0.1", 202), ("", 202)],
)
async def test_upload_that_accepts_manifests(accept: str, status: int, behaving_like: BehavingLike) -> None:
    """Artifactory looks at what the answer to an upload may be."""
    async with behaving_like("artifactory") as remote:
        answer = await remote.ask("POST", "/v2/a/blobs/uploads/", headers={"Accept": accept})
        assert answer.status == status


async def test_range_of_one_chunk(behaving_like: BehavingLike) -> None:
    """zot tells the length of the chunk that came."""
    async with behaving_like("zot") as remote:
        *chunks, last = await push_in_chunks(remote, b"four", b"more")
        assert [answer.headers["Range"] for answer in chunks] == ["0-3", "0-3"]
        assert last.status == 201


@pytest.mark.parametrize("name", ["distribution-2.8", "distribution-3"])
async def test_what_is_newer_than_distribution(name: str, behaving_like: BehavingLike) -> None:
    """A single POST opens a session, further tags and another algorithm go unnoticed."""
    async with behaving_like(name) as remote:
        started = await remote.ask("POST", f"/v2/a/blobs/uploads/?digest={LAYER}", data=io.BytesIO(b"layer"))
        assert (started.status, started.headers["Range"]) == (202, "0-0")
        assert (await remote.ask("HEAD", f"/v2/a/blobs/{LAYER}")).status == 404
        raw = json.dumps(await remote.make_image("a")).encode()
        path, headers = f"/v2/a/manifests/{digest_of(raw)}?tag=v1", {"Content-Type": remote.image}
        pushed = await remote.ask("PUT", path, data=io.BytesIO(raw), headers=headers)
        assert (pushed.status, "OCI-Tag" in pushed.headers) == (201, False)
        assert (await remote.ask("GET", "/v2/a/tags/list")).json["tags"] == []
        assert (await remote.ask("POST", "/v2/a/blobs/uploads/?digest-algorithm=md5")).status == 202


@pytest.mark.parametrize("name", ["distribution-2.8", "distribution-3"])
async def test_put_that_appends_anywhere(name: str, behaving_like: BehavingLike) -> None:
    """distribution appends what comes with the PUT, and drops the upload when the digest is wrong then."""
    async with behaving_like(name) as remote:
        location = (await patch(remote, await remote.start("a"), b"one,", 0)).headers["Location"]
        target = URL(f"{location}&digest={digest_of(b'one,two')}", encoded=True)
        headers = {"Content-Range": "0-2"}
        assert (await remote.ask("PUT", target, data=io.BytesIO(b"two"), headers=headers)).status == 201
        location = await remote.start("a")
        assert (await remote.ask("PUT", URL(f"{location}&digest={LAYER}", encoded=True))).status == 400
        assert (await remote.ask("GET", location)).status == 404


async def test_range_of_an_empty_upload(behaving_like: BehavingLike) -> None:
    """Gitea's empty upload ends before it begins."""
    async with behaving_like("gitea") as remote:
        started = await remote.ask("POST", "/v2/a/blobs/uploads/")
        assert started.headers["Range"] == "0--1"
        status = await remote.ask("GET", started.headers["Location"])
        assert status.headers["Range"] == "0--1"
        answer = await patch(remote, status.headers["Location"], b"one", 0)
        assert answer.headers["Range"] == "0-2"


async def test_stream_after_a_chunk(behaving_like: BehavingLike) -> None:
    """Gitea takes one PATCH without Content-Range, the first."""
    async with behaving_like("gitea") as remote:
        location = URL(await remote.start("a"), encoded=True)
        first = await remote.ask("PATCH", location, data=io.BytesIO(b"one"))
        assert first.status == 202
        location = URL(first.headers["Location"], encoded=True)
        second = await remote.ask("PATCH", location, data=io.BytesIO(b"two"))
        assert second.error == (400, "BLOB_UPLOAD_INVALID")
