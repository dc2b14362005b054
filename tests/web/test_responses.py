"""What clients get of blobs and manifests, by whole, part, head and condition, and what it costs the registry."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import httpx
import pytest

import oci_distribution as oci
from oci_distribution.testing import Fault, RunningRegistry
from oci_distribution.web import BlobResponse, ManifestResponse
from tests.hostile import Exchange, hostile
from tests.images import push_image

if TYPE_CHECKING:
    from tests.web.conftest import Serve

DATA = bytes(range(256)) * 4000
SIZE = len(DATA)
DIGEST = oci.Digest.of(DATA)
PATH = f"/team/app/blobs/{DIGEST}"
ETAG = f'"{DIGEST}"'


@pytest.fixture
async def pushed(repo: oci.Repository, registry: RunningRegistry) -> None:
    await repo.blobs.push(DATA)
    registry.requests.clear()


@pytest.mark.usefixtures("pushed")
async def test_whole_blob(web: httpx.AsyncClient, registry: RunningRegistry) -> None:
    """One request to the registry, and headers that say what it is."""
    answer = await web.get(PATH)

    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["content-length"] == str(SIZE)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["etag"] == ETAG
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert registry.requests.lines() == [f"GET /v2{PATH} -> 200"]


@pytest.mark.parametrize("data", [b"", b"x"])
async def test_smallest_blobs(web: httpx.AsyncClient, repo: oci.Repository, data: bytes) -> None:
    """Of nothing, and of one byte."""
    blob = await repo.blobs.push(data)

    answer = await web.get(f"/team/app/blobs/{blob.digest}", headers={"Range": "bytes=0-"})

    assert (answer.status_code, answer.content) == (206 if data else 200, data)


@pytest.mark.usefixtures("pushed")
async def test_head_of_a_blob(web: httpx.AsyncClient, registry: RunningRegistry) -> None:
    """The same headers, by a HEAD to the registry."""
    whole, head = await web.get(PATH), await web.head(PATH, headers={"Range": "bytes=0-1"})

    assert (head.status_code, head.content) == (200, b"")
    assert {**head.headers, "date": ""} == {**whole.headers, "date": ""}
    assert registry.requests[-1].line == f"HEAD /v2{PATH} -> 200"


@pytest.mark.usefixtures("pushed")
@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=1000-1999", 1000, 2000),
        (f"bytes={SIZE - 5}-", SIZE - 5, SIZE),
        ("bytes=-7", SIZE - 7, SIZE),
        (f"bytes=-{SIZE * 2}", 0, SIZE),
        (f"bytes=10-{SIZE * 2}", 10, SIZE),
        ("bytes=0-", 0, SIZE),
    ],
)
async def test_part_of_a_blob(
    web: httpx.AsyncClient, registry: RunningRegistry, wanted: str, start: int, stop: int
) -> None:
    """The part alone is fetched, after the size is known."""
    answer = await web.get(PATH, headers={"Range": wanted})

    assert (answer.status_code, answer.content) == (206, DATA[start:stop])
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert answer.headers["content-length"] == str(stop - start)
    head, get = registry.requests
    assert (head.method, get.method) == ("HEAD", "GET")
    assert get.answer_size == stop - start


@pytest.mark.usefixtures("pushed")
@pytest.mark.parametrize("wanted", [f"bytes={SIZE}-", f"bytes={SIZE + 10}-{SIZE + 20}", "bytes=-0"])
async def test_part_that_is_not_there(web: httpx.AsyncClient, registry: RunningRegistry, wanted: str) -> None:
    """416 with the size, and nothing is fetched."""
    answer = await web.get(PATH, headers={"Range": wanted})

    assert (answer.status_code, answer.content) == (416, b"")
    assert answer.headers["content-range"] == f"bytes */{SIZE}"
    assert registry.requests.count("GET") == 0


@pytest.mark.usefixtures("pushed")
@pytest.mark.parametrize("wanted", ["bytes=0-1,5-6", "bytes=5-2", "items=0-1", "bytes=-", "bytes=a-b", ""])
async def test_ranges_that_are_ignored(web: httpx.AsyncClient, wanted: str) -> None:
    """Several, malformed, or of what we do not count in: the whole."""
    answer = await web.get(PATH, headers={"Range": wanted})

    assert (answer.status_code, answer.content) == (200, DATA)


@pytest.mark.usefixtures("pushed")
@pytest.mark.parametrize(
    ("condition", "status"), [(ETAG, 206), ('"other"', 200), (f"W/{ETAG}", 200), ("Mon, 01 Jan 2024", 200)]
)
async def test_part_only_if_nothing_changed(web: httpx.AsyncClient, condition: str, status: int) -> None:
    """`If-Range` compares strongly; otherwise the whole comes."""
    answer = await web.get(PATH, headers={"Range": "bytes=0-9", "If-Range": condition})

    assert (answer.status_code, len(answer.content)) == (status, 10 if status == 206 else SIZE)


@pytest.mark.usefixtures("pushed")
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("condition", [ETAG, f"W/{ETAG}", f'"other", {ETAG}', "*"])
async def test_blob_that_the_client_has(
    web: httpx.AsyncClient, registry: RunningRegistry, method: str, condition: str
) -> None:
    """304 without a body, for a HEAD to the registry: it has to be there still."""
    answer = await web.request(method, PATH, headers={"If-None-Match": condition, "Range": f"bytes={SIZE}-"})

    assert (answer.status_code, answer.content) == (304, b"")
    assert answer.headers["etag"] == ETAG
    assert [request.method for request in registry.requests] == ["HEAD"]


@pytest.mark.usefixtures("pushed")
@pytest.mark.parametrize("condition", ['"other"', str(DIGEST), "W/other"])
async def test_blob_that_the_client_does_not_have(web: httpx.AsyncClient, condition: str) -> None:
    """Other entity tags, and what is none, are no reason to keep it back."""
    answer = await web.get(PATH, headers={"If-None-Match": condition})

    assert (answer.status_code, answer.content) == (200, DATA)


async def test_manifest(web: httpx.AsyncClient, repo: oci.Repository, registry: RunningRegistry) -> None:
    """Byte for byte, by tag and digest, whole and in part; the entity tag is the digest."""
    manifest = await push_image(repo, tag="v1")
    registry.requests.clear()

    whole = await web.get("/team/app/manifests/v1")
    head = await web.head(f"/team/app/manifests/{manifest.digest}")
    part = await web.get("/team/app/manifests/v1", headers={"Range": "bytes=1-3"})
    same = await web.get("/team/app/manifests/v1", headers={"If-None-Match": whole.headers["etag"]})

    assert (whole.status_code, whole.content) == (200, manifest.raw)
    assert whole.headers["content-type"] == manifest.media_type
    assert whole.headers["docker-content-digest"] == manifest.digest
    assert head.headers["content-length"] == str(len(manifest.raw))
    assert (part.status_code, part.content) == (206, manifest.raw[1:4])
    assert (same.status_code, same.content) == (304, b"")
    methods = [request.method for request in registry.requests]
    assert methods == ["GET", "HEAD", "HEAD", "GET", "HEAD"]


async def test_tag_that_moved(web: httpx.AsyncClient, repo: oci.Repository) -> None:
    """What the client has is of no use any more."""
    old = await push_image(repo, tag="v1")
    new = await push_image(repo, [b"another"], tag="v1")

    answer = await web.get("/team/app/manifests/v1", headers={"If-None-Match": f'"{old.digest}"'})

    assert (answer.status_code, answer.content) == (200, new.raw)


@pytest.mark.usefixtures("pushed")
async def test_connection_to_the_registry_that_breaks(
    web: httpx.AsyncClient, registry: RunningRegistry
) -> None:
    """Another one goes on, and the client notices nothing."""
    registry.faults.add(Fault(method="GET", nth=1, reset_answer_after=SIZE // 2))

    assert (await web.get(PATH)).content == DATA
    assert registry.requests.count("GET") == 2


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("http", ["h11", "httptools"])
@pytest.mark.parametrize("at", [0, SIZE - 1])
@pytest.mark.usefixtures("pushed")
async def test_wrong_bytes_break_the_answer_off(
    serve: Serve,
    registry: RunningRegistry,
    caplog: pytest.LogCaptureFixture,
    http: str,
    at: int,
    *,
    wrapped: bool,
) -> None:
    """The client has seen a length, and does not get it: what it has is not whole, and it knows."""
    registry.faults.add(Fault(method="GET", corrupt_at=at))
    async with (
        serve(registry.url, http=http, wrapped=wrapped) as backend,
        httpx.AsyncClient(verify=False) as web,
    ):
        with pytest.raises(httpx.RemoteProtocolError):
            await web.get(backend.url + PATH)
        await backend.until_in_progress(0)
        assert backend.left() == []

    assert "broken off" in caplog.text
    assert str(DIGEST) in caplog.text


@pytest.mark.parametrize("data", [b"", b"small"])
async def test_small_wrong_bytes_are_a_status(
    web: httpx.AsyncClient, registry: RunningRegistry, data: bytes
) -> None:
    """What comes in one piece is known to be wrong before anything was promised; the empty blob, too."""
    digest = oci.Digest.of(data)
    registry.faults.add(Fault(method="GET", path=f"*{digest}", status=200, body=data[:-1] + b"!"))

    answer = await web.get(f"/team/app/blobs/{digest}")

    assert answer.status_code == 502


async def test_descriptor_says_what_a_blob_is(repo: oci.Repository) -> None:
    """Its media type is the response's, unless another is given; headers of the caller's stay."""
    blob = await repo.blobs.push(b"{}", media_type="application/vnd.oci.image.config.v1+json")
    plain = BlobResponse(repo, blob, headers={"Cache-Control": "no-cache"})
    named = BlobResponse(repo, blob, media_type="application/json")

    answers = [await _answer_of(response) for response in (plain, named)]

    assert [answer.headers["content-type"] for answer in answers] == [blob.media_type, "application/json"]
    assert answers[0].headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "media_type", ["text/html", "image/svg+xml", "application/xhtml+xml", "application/vnd.acme+XML"]
)
async def test_what_somebody_pushed_is_no_page_of_ours(repo: oci.Repository, media_type: str) -> None:
    """A browser would run its scripts as the application's own."""
    blob = await repo.blobs.push(b"<script>alert(1)</script>", media_type=media_type)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(BlobResponse(repo, blob))) as web:
        answer = await web.get("http://any")

    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_manifest_of_any_type_is_no_page_of_ours(client: oci.Client) -> None:
    """What it says of itself is not what browsers are told."""
    image = json.dumps({"mediaType": "text/html", "annotations": {"a": "<script>"}}).encode()

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, image, [("Content-Type", "application/json")])

    async with hostile(script) as server:
        response = ManifestResponse(client.registry(server.url).repository("a"), "v1")
        async with httpx.AsyncClient(transport=httpx.ASGITransport(response)) as web:
            answer = await web.get("http://any")

    assert (answer.content, answer.headers["content-type"]) == (image, "application/octet-stream")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_blob_that_its_descriptor_holds(
    repo: oci.Repository, registry: RunningRegistry, method: str
) -> None:
    """Nobody is asked for it, and parts of it can be had."""
    blob = oci.Descriptor(media_type="text/x", digest=oci.Digest.of(b"hello"), size=5, data="aGVsbG8=")

    answer = await _answer_of(BlobResponse(repo, blob), method, {"Range": "bytes=1-2"})

    assert answer.status_code == (206 if method == "GET" else 200)
    assert answer.content == (b"el" if method == "GET" else b"")
    assert len(registry.requests) == 0


@pytest.mark.usefixtures("pushed")
async def test_part_of_a_descriptor(repo: oci.Repository, registry: RunningRegistry) -> None:
    """Its size is known, so that one request will do, and none where there is no such part."""
    blob = oci.Descriptor(media_type="text/x", digest=DIGEST, size=SIZE)

    part = await _answer_of(BlobResponse(repo, blob), headers={"Range": "bytes=-4"})
    missing = await _answer_of(BlobResponse(repo, blob), headers={"Range": f"bytes={SIZE}-"})

    assert (part.status_code, part.content) == (206, DATA[-4:])
    assert missing.status_code == 416
    assert registry.requests.lines() == [f"GET /v2{PATH} -> 206"]


async def test_head_of_a_descriptor_asks(repo: oci.Repository, registry: RunningRegistry) -> None:
    """That somebody knows a size does not mean that the registry has it."""
    blob = oci.Descriptor(media_type="text/x", digest=DIGEST, size=SIZE)

    with pytest.raises(oci.BlobUnknown):
        await _answer_of(BlobResponse(repo, blob), "HEAD")
    assert registry.requests.lines() == [f"HEAD /v2{PATH} -> 404"]


async def _answer_of(
    response: BlobResponse, method: str = "GET", headers: dict[str, str] | None = None
) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(response), base_url="http://app") as web:
        return await web.request(method, "/", headers=headers)
