"""Quirks of everything but uploads: every registry stumbles where the real one was seen to."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import AsyncIterator

import pytest
from yarl import URL

from tests.testing.conftest import INDEX, BehavingLike, Remote, digest_of

LAYER = digest_of(b"layer")
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
NEVER_PUSHED = f"sha256:{'0' * 64}"


async def tags(remote: Remote, query: str = "") -> list[str | None]:
    found: list[str | None] = (await remote.ask("GET", f"/v2/a/tags/list{query}")).json["tags"]
    return found


@pytest.mark.parametrize("name", ["ecr", "ecr-public"])
async def test_headers_that_are_missing(name: str, behaving_like: BehavingLike) -> None:
    """ECR says neither where a manifest is, nor what digest a GET by tag got; HEAD does."""
    async with behaving_like(name) as remote:
        raw = json.dumps(await remote.make_image("a")).encode()
        headers = {"Content-Type": remote.image}
        pushed = await remote.ask("PUT", "/v2/a/manifests/v1", data=io.BytesIO(raw), headers=headers)
        assert (pushed.status, pushed.headers.get("Location")) == (201, None)
        for method, reference, named in [
            ("GET", "v1", False),
            ("HEAD", "v1", True),
            ("GET", digest_of(raw), True),
        ]:
            answer = await remote.ask(method, f"/v2/a/manifests/{reference}")
            assert ("Docker-Content-Digest" in answer.headers) == named


async def test_invalid_tag(behaving_like: BehavingLike) -> None:
    """ECR answers 400 to a HEAD of a tag that cannot be, and HEADs have no body that says why."""
    async with behaving_like("ecr") as remote:
        await remote.push_image("a")
        answer = await remote.ask("HEAD", "/v2/a/manifests/v1+b")
        assert (answer.status, answer.body) == (400, b"")
        assert (await remote.ask("HEAD", "/v2/a/manifests/v2")).status == 404


@pytest.mark.parametrize(
    ("name", "most", "status", "code"),
    [
        ("ecr", 1000, 405, "UNSUPPORTED"),
        ("quay", 100, 413, "TOO_MANY_TAGS_REQUESTED"),
        ("distribution-3", 1000, 400, "PAGINATION_NUMBER_INVALID"),
    ],
)
async def test_page_that_is_too_long(
    name: str, most: int, status: int, code: str, behaving_like: BehavingLike
) -> None:
    """A page of more tags than the registry likes is refused, the largest is not."""
    async with behaving_like(name) as remote:
        await remote.push_image("a")
        assert (await remote.ask("GET", f"/v2/a/tags/list?n={most + 1}")).error == (status, code)
        assert await tags(remote, f"?n={most}") == ["v1"]


async def test_pages_that_nobody_asked_for(behaving_like: BehavingLike) -> None:
    """ECR gives a hundred tags and a link, unless another number is asked for."""
    async with behaving_like("ecr") as remote:
        raw = await remote.push_image("a")
        for number in range(100):
            await remote.push_manifest("a", f"t{number:02}", raw)
        first = await remote.ask("GET", "/v2/a/tags/list")
        assert (len(first.json["tags"]), "Link" in first.headers) == (100, True)
        assert len(await tags(remote, "?n=101")) == 101


@pytest.mark.parametrize("name", ["acr", "docker-hub", "gitlab"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_blob_elsewhere(name: str, method: str, behaving_like: BehavingLike) -> None:
    """A blob is had from another origin, by its signature and without any authorization."""
    async with behaving_like(name) as remote:
        await remote.push_image("org/a")
        answer = await remote.ask(method, f"/v2/org/a/blobs/{LAYER}", allow_redirects=False)
        signed = URL(answer.headers["Location"], encoded=True)
        assert (answer.status, signed.host, signed.port) == (307, "localhost", URL(remote.registry.url).port)
        headers = {"Range": "bytes=1-2"} if method == "GET" else {}
        storage = await remote.ask(method, signed, headers=headers)
        assert (storage.status, storage.body) == ((206, b"ay") if method == "GET" else (200, b""))
        assert (await remote.ask(method, signed.with_query(signature="wrong"))).status == 403
        twice = await remote.ask(method, signed, headers={"Authorization": "Bearer token"})
        assert twice.status == 400
        missing = await remote.ask(method, f"/v2/org/a/blobs/{NEVER_PUSHED}", allow_redirects=False)
        assert missing.status == 404


async def test_catalog_for_nobody(behaving_like: BehavingLike) -> None:
    """Docker Hub lists no repositories."""
    async with behaving_like("docker-hub") as remote:
        assert (await remote.ask("GET", "/v2/_catalog")).error == (401, "UNAUTHORIZED")


@pytest.mark.parametrize("name", ["docker-hub", "ghcr", "distribution-2.8", "distribution-3"])
async def test_nothing_can_be_deleted(name: str, behaving_like: BehavingLike) -> None:
    """Manifests, tags and blobs stay."""
    async with behaving_like(name) as remote:
        raw = await remote.push_image("a")
        for path in ("manifests/v1", f"manifests/{digest_of(raw)}", f"blobs/{LAYER}"):
            assert (await remote.ask("DELETE", f"/v2/a/{path}")).error == (405, "UNSUPPORTED")


async def test_pulls_are_counted(behaving_like: BehavingLike) -> None:
    """Docker Hub lets a hundred manifests be pulled, counts no HEAD, and goes on in a new window."""
    async with behaving_like("docker-hub") as remote:
        await remote.push_image("a")
        for left in (99, 98):
            answer = await remote.ask("GET", "/v2/a/manifests/v1")
            assert answer.headers["RateLimit-Limit"] == "100;w=21600"
            assert answer.headers["RateLimit-Remaining"] == f"{left};w=21600"
            await remote.ask("HEAD", "/v2/a/manifests/v1")
        for _ in range(98):
            assert (await remote.ask("GET", "/v2/a/manifests/v1")).status == 200
        assert (await remote.ask("GET", "/v2/a/manifests/v1")).error == (429, "TOOMANYREQUESTS")
        head = await remote.ask("HEAD", "/v2/a/manifests/v1")
        assert (head.status, head.headers["RateLimit-Remaining"]) == (200, "0;w=21600")
        remote.registry.requests.clear()
        assert (await remote.ask("GET", "/v2/a/manifests/v1")).status == 200


async def test_delete_while_tagged(behaving_like: BehavingLike) -> None:
    """GAR deletes a manifest when no tag points there any more."""
    async with behaving_like("gar") as remote:
        digest = digest_of(await remote.push_image("a"))
        answer = await remote.ask("DELETE", f"/v2/a/manifests/{digest}")
        assert answer.error == (400, "GOOGLE_MANIFEST_DANGLING_TAG")
        assert (await remote.ask("DELETE", "/v2/a/manifests/v1")).status == 202
        assert (await remote.ask("DELETE", f"/v2/a/manifests/{digest}")).status == 202


async def test_tags_with_their_manifests(behaving_like: BehavingLike) -> None:
    """GAR ignores n, and says in the list what every manifest is."""
    async with behaving_like("gar") as remote:
        raw = await remote.push_image("a")
        await remote.push_manifest("a", "v2", raw)
        document = (await remote.ask("GET", "/v2/a/tags/list?n=1")).json
        assert (document["tags"], document["child"]) == (["v1", "v2"], [])
        assert document["manifest"][digest_of(raw)]["tag"] == ["v1", "v2"]


@pytest.mark.parametrize("name", ["ghcr", "quay", "gitlab", "distribution-2.8", "distribution-3"])
async def test_no_referrers(name: str, behaving_like: BehavingLike) -> None:
    """There is no referrers API, and no OCI-Subject tells a pusher to rely on one."""
    async with behaving_like(name) as remote:
        raw = await remote.push_image("a")
        subject = {"mediaType": remote.image, "digest": digest_of(raw), "size": len(raw)}
        signature = json.dumps(await remote.make_image("a", b"signature", subject=subject)).encode()
        headers = {"Content-Type": remote.image}
        pushed = await remote.ask("PUT", "/v2/a/manifests/s", data=io.BytesIO(signature), headers=headers)
        assert (pushed.status, "OCI-Subject" in pushed.headers) == (201, False)
        assert (await remote.ask("GET", f"/v2/a/referrers/{digest_of(raw)}")).status == 404


async def test_session_cookie(behaving_like: BehavingLike) -> None:
    """Harbor sets a cookie, and lets nobody write who sends it back; reading goes on."""
    async with behaving_like("harbor") as remote:
        await remote.push_image("a")
        answer = await remote.ask("GET", "/v2/a/tags/list")
        assert answer.headers["Set-Cookie"].startswith("sid=")
        cookie = {"Cookie": "sid=00000000"}
        refused = await remote.ask("POST", "/v2/a/blobs/uploads/", headers=cookie)
        assert refused.error == (403, "FORBIDDEN")
        assert (await remote.ask("GET", "/v2/a/tags/list", headers=cookie)).status == 200


async def test_length_of_a_compressed_manifest(behaving_like: BehavingLike) -> None:
    """Harbor's GET is shorter than its HEAD says when the client takes gzip."""
    async with behaving_like("harbor") as remote:
        raw = await remote.push_image("a", annotations={"text": "long " * 100})
        remote.http._auto_decompress = False
        zipped, plain = {"Accept-Encoding": "gzip"}, {"Accept-Encoding": "identity"}
        head = await remote.ask("HEAD", "/v2/a/manifests/v1", headers=zipped)
        answer = await remote.ask("GET", "/v2/a/manifests/v1", headers=zipped)
        assert int(head.headers["Content-Length"]) == len(raw) > int(answer.headers["Content-Length"])
        assert gzip.decompress(answer.body) == raw
        assert (await remote.ask("GET", "/v2/a/manifests/v1", headers=plain)).body == raw


async def test_digest_for_a_tag(behaving_like: BehavingLike) -> None:
    """GitLab gives the subject itself to those who look for its referrers by tag."""
    async with behaving_like("gitlab") as remote:
        raw = await remote.push_image("a")
        answer = await remote.ask("GET", f"/v2/a/manifests/{digest_of(raw).replace(':', '-')}")
        assert (answer.status, answer.body) == (200, raw)


async def test_tags_that_are_none(behaving_like: BehavingLike) -> None:
    """Nexus lists a null, Artifactory lists digests; links to the next page stay."""
    async with behaving_like("nexus") as remote:
        raw = await remote.push_image("a")
        await remote.push_manifest("a", "v2", raw)
        assert await tags(remote) == [None, "v1", "v2"]
        assert "Link" in (await remote.ask("GET", "/v2/a/tags/list?n=1")).headers
    async with behaving_like("artifactory") as remote:
        raw = await remote.push_image("a")
        assert await tags(remote) == ["v1", digest_of(raw)]


async def test_manifest_without_length(behaving_like: BehavingLike) -> None:
    """Nexus wants to know how long a manifest is."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"{}"

    async with behaving_like("nexus") as remote:
        headers = {"Content-Type": remote.image}
        answer = await remote.ask("PUT", "/v2/a/manifests/v1", data=pieces(), headers=headers)
        assert answer.error == (411, "MANIFEST_INVALID")


async def test_long_manifest(behaving_like: BehavingLike) -> None:
    """Nexus takes manifests of up to 10 MiB, others up to 4 MiB."""
    async with behaving_like("nexus") as remote:
        await remote.push_image("a", "v1", annotations={"text": "x" * (9 << 20)})
        headers = {"Content-Type": remote.image}
        body = io.BytesIO(bytes((10 << 20) + 1))
        answer = await remote.ask("PUT", "/v2/a/manifests/v2", data=body, headers=headers)
        assert answer.error == (413, "SIZE_INVALID")


async def test_manifest_whose_length_is_not_told(behaving_like: BehavingLike) -> None:
    """zot sends longer manifests in chunks; its HEAD tells the length."""
    async with behaving_like("zot") as remote:
        raw = await remote.push_image("a", annotations={"text": "x" * 2000})
        answer = await remote.ask("GET", "/v2/a/manifests/v1")
        assert (answer.body, "Content-Length" in answer.headers) == (raw, False)
        head = await remote.ask("HEAD", "/v2/a/manifests/v1")
        assert head.headers["Content-Length"] == str(len(raw))


async def test_docker_types(behaving_like: BehavingLike) -> None:
    """zot takes OCI's types only."""
    async with behaving_like("zot") as remote:
        raw = json.dumps(await remote.make_image("a") | {"mediaType": DOCKER}).encode()
        headers = {"Content-Type": DOCKER}
        answer = await remote.ask("PUT", "/v2/a/manifests/v1", data=io.BytesIO(raw), headers=headers)
        assert answer.error == (415, "MANIFEST_INVALID")


async def test_tag_that_changes_its_type(behaving_like: BehavingLike) -> None:
    """zot moves a tag from image to image, and never from an index to an image."""
    async with behaving_like("zot") as remote:
        index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": []}).encode()
        await remote.push_manifest("a", "v1", index, INDEX)
        raw = await remote.push_image("a", "v2")
        headers = {"Content-Type": remote.image}
        answer = await remote.ask("PUT", "/v2/a/manifests/v1", data=io.BytesIO(raw), headers=headers)
        assert answer.error == (400, "MANIFEST_INVALID")
        await remote.push_image("a", "v2", b"another")


@pytest.mark.parametrize("name", ["distribution-2.8", "distribution-3"])
async def test_conditions_that_are_ignored(name: str, behaving_like: BehavingLike) -> None:
    """A tag moves, whatever the client says that it has seen there."""
    async with behaving_like(name) as remote:
        raw = await remote.push_image("a", tag="v1")
        for condition in ({"If-None-Match": "*"}, {"If-Match": f'"sha256:{"0" * 64}"'}):
            headers = {"Content-Type": remote.image, **condition}
            again = await remote.ask("PUT", "/v2/a/manifests/v1", data=io.BytesIO(raw), headers=headers)
            assert again.status == 201
