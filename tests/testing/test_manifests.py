"""Manifests, pushed, read and deleted."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from yarl import URL

from oci_distribution.testing import serve_registry

if TYPE_CHECKING:
    from tests.testing.conftest import Remote

MISSING = "sha256:" + "0" * 64
LIMIT = 4 << 20


async def _put(
    remote: Remote, path: str | URL, document: Any, media_type: str | None = None, **options: Any
) -> Any:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    headers = {"Content-Type": remote.image if media_type is None else media_type}
    return await remote.ask("PUT", path, data=raw, headers=headers, **options)


async def test_manifest_is_read_back(remote: Remote) -> None:
    """By tag and by digest, GET answers the very bytes, with their type and digest."""
    raw = await remote.push_image("a/b", "v1")
    digest = remote.digest_of(raw)
    for reference in ("v1", digest):
        answer = await remote.ask("GET", f"/v2/a/b/manifests/{reference}")
        assert (answer.status, answer.body) == (200, raw)
        assert answer.headers["Content-Type"] == remote.image
        assert answer.headers["Docker-Content-Digest"] == digest
        assert answer.headers["ETag"] == f'"{digest}"'


async def test_head_has_the_headers_of_get_and_no_body(remote: Remote) -> None:
    """HEAD tells type, digest and length."""
    raw = await remote.push_image("a/b", "v1")
    answer = await remote.ask("HEAD", "/v2/a/b/manifests/v1")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(raw))
    assert answer.headers["Content-Type"] == remote.image
    assert answer.headers["Docker-Content-Digest"] == remote.digest_of(raw)


async def test_push_answers_where_it_is(remote: Remote) -> None:
    """The answer to a push names digest and location, and nothing that was not asked for."""
    raw = json.dumps(await remote.make_image("a")).encode()
    answer = await _put(remote, "/v2/a/manifests/v1", raw)
    digest = remote.digest_of(raw)
    assert (answer.status, answer.headers["Location"]) == (201, f"/v2/a/manifests/{digest}")
    assert answer.headers["Docker-Content-Digest"] == digest
    assert "OCI-Subject" not in answer.headers
    assert "OCI-Tag" not in answer.headers


async def test_push_by_digest_with_tags(remote: Remote) -> None:
    """`?tag=` names further tags, and the answer confirms each."""
    raw = json.dumps(await remote.make_image("a")).encode()
    answer = await _put(remote, f"/v2/a/manifests/{remote.digest_of(raw)}?tag=one&tag=two", raw)
    assert (answer.status, answer.headers.getall("OCI-Tag")) == (201, ["one", "two"])
    assert (await remote.ask("GET", "/v2/a/tags/list")).json["tags"] == ["one", "two"]


async def test_push_by_digest_without_tags(remote: Remote) -> None:
    """A manifest needs no tag."""
    raw = json.dumps(await remote.make_image("a")).encode()
    digest = remote.digest_of(raw)
    await remote.push_manifest("a", digest, raw)
    assert (await remote.ask("GET", f"/v2/a/manifests/{digest}")).body == raw
    assert (await remote.ask("GET", "/v2/a/tags/list")).json["tags"] == []


async def test_sha512(remote: Remote) -> None:
    """A manifest pushed by its sha512 is known by it."""
    raw = json.dumps(await remote.make_image("a")).encode()
    digest = remote.digest_of(raw, "sha512")
    answer = await _put(remote, f"/v2/a/manifests/{digest}?tag=v1", raw)
    assert (answer.status, answer.headers["Docker-Content-Digest"]) == (201, digest)
    assert (await remote.ask("HEAD", "/v2/a/manifests/v1")).headers["Docker-Content-Digest"] == digest


async def test_tag_moves(remote: Remote) -> None:
    """A tag points at what was pushed last; what it left stays."""
    first = await remote.push_image("a", "v1")
    second = await remote.push_image("a", "v1", layer=b"other")
    assert (await remote.ask("GET", "/v2/a/manifests/v1")).body == second
    assert (await remote.ask("GET", f"/v2/a/manifests/{remote.digest_of(first)}")).body == first


@pytest.mark.parametrize("media_type", ["application/vnd.example.thing.v1+json", "application/json"])
async def test_unknown_type_is_kept(remote: Remote, media_type: str) -> None:
    """A manifest of a type that we cannot interpret is stored as what it says it is."""
    document = {"mediaType": "application/vnd.example.thing.v1+json", "any": ["thing"]}
    assert (await _put(remote, "/v2/a/manifests/v1", document, media_type)).status == 201
    answer = await remote.ask("GET", "/v2/a/manifests/v1")
    assert answer.headers["Content-Type"] == "application/vnd.example.thing.v1+json"


async def test_parameters_of_the_type_are_ignored(remote: Remote) -> None:
    """As the specification has it."""
    document = await remote.make_image("a")
    assert (
        await _put(remote, "/v2/a/manifests/v1", document, f"{remote.image}; charset=utf-8")
    ).status == 201
    assert (await remote.ask("HEAD", "/v2/a/manifests/v1")).headers["Content-Type"] == remote.image


async def test_wrong_digest(remote: Remote) -> None:
    """What is pushed by digest must have it."""
    document = await remote.make_image("a")
    assert (await _put(remote, f"/v2/a/manifests/{MISSING}", document)).error == (400, "DIGEST_INVALID")
    assert (await remote.ask("HEAD", f"/v2/a/manifests/{MISSING}")).status == 404


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"no JSON",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        {"schemaVersion": 2},
        {"schemaVersion": 2, "config": {}, "layers": []},
        {"schemaVersion": 2, "config": {}, "manifests": []},
        {"schemaVersion": 2, "mediaType": "\ud800", "config": {}, "layers": []},
        {"schemaVersion": 2, "mediaType": "x" * 100_000},
        {"schemaVersion": 2, "config": 3, "layers": "x", "subject": "y"},
    ],
)
async def test_invalid_manifest(remote: Remote, document: Any) -> None:
    """What is no manifest is MANIFEST_INVALID, with a short message."""
    answer = await _put(remote, "/v2/a/manifests/v1", document)
    assert answer.error == (400, "MANIFEST_INVALID")
    assert len(answer.body) < 10_000


async def test_type_that_contradicts_the_content(remote: Remote) -> None:
    """Header and `mediaType` must agree."""
    document = await remote.make_image("a")
    assert (await _put(remote, "/v2/a/manifests/v1", document, remote.index)).error == (
        400,
        "MANIFEST_INVALID",
    )


@pytest.mark.parametrize("missing", ["config", "layer"])
async def test_image_without_its_blobs(remote: Remote, missing: str) -> None:
    """Everything that a manifest needs must be in the same repository before it."""
    document = await remote.make_image("a")
    descriptor = document["config"] if missing == "config" else document["layers"][0]
    descriptor["digest"] = MISSING
    answer = await _put(remote, "/v2/a/manifests/v1", document)
    assert answer.error == (404, "MANIFEST_BLOB_UNKNOWN")
    assert answer.json["errors"][0]["detail"] == {"digest": MISSING}
    other = await _put(remote, "/v2/b/manifests/v1", await remote.make_image("a"))
    assert other.error == (404, "MANIFEST_BLOB_UNKNOWN")


async def test_foreign_layer_may_be_missing(remote: Remote) -> None:
    """A layer that lies elsewhere need not be here."""
    document = await remote.make_image("a")
    document["layers"][0] |= {"digest": MISSING, "urls": ["https://example.com/layer"]}
    assert (await _put(remote, "/v2/a/manifests/v1", document)).status == 201


async def test_index_needs_its_manifests(remote: Remote) -> None:
    """The manifests of an index must be there as manifests, not only as blobs."""
    raw = json.dumps(await remote.make_image("a")).encode()
    entry = {"mediaType": remote.image, "digest": remote.digest_of(raw), "size": len(raw)}
    index = {"schemaVersion": 2, "mediaType": remote.index, "manifests": [entry]}
    await remote.push_blob("a", raw)
    answer = await _put(remote, "/v2/a/manifests/all", index, remote.index)
    assert answer.error == (404, "MANIFEST_BLOB_UNKNOWN")
    await remote.push_manifest("a", remote.digest_of(raw), raw)
    assert (await _put(remote, "/v2/a/manifests/all", index, remote.index)).status == 201


async def test_subject_is_confirmed_and_may_be_missing(remote: Remote) -> None:
    """`OCI-Subject` tells the client that the referrers API knows."""
    subject = {"mediaType": remote.image, "digest": MISSING, "size": 3}
    answer = await _put(remote, "/v2/a/manifests/v1", await remote.make_image("a", subject=subject))
    assert (answer.status, answer.headers["OCI-Subject"]) == (201, MISSING)


async def test_largest_manifest(remote: Remote) -> None:
    """4 MiB are accepted, and one byte more is not."""
    document = await remote.make_image("a", annotations={"fill": ""})
    document["annotations"]["fill"] = "x" * (LIMIT - len(json.dumps(document)))
    raw = json.dumps(document).encode()
    assert len(raw) == LIMIT

    async def body(data: bytes) -> Any:
        yield data

    headers = {"Content-Type": remote.image}
    path = "/v2/a/manifests/v1"
    assert (await remote.ask("PUT", path, data=body(raw), headers=headers)).status == 201
    assert (await remote.ask("PUT", path, data=io.BytesIO(raw), headers=headers)).status == 201
    too_long = await remote.ask("PUT", path, data=body(raw + b" "), headers=headers)
    assert too_long.error == (413, "SIZE_INVALID")
    announced = headers | {"Content-Length": str(LIMIT + 1)}
    early = await remote.ask("PUT", path, data=body(raw + b" "), headers=announced)
    assert early.error == (413, "SIZE_INVALID")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("reference", ["v1", MISSING, ".not-a-tag", "x" * 129])
async def test_unknown_manifest(remote: Remote, method: str, reference: str) -> None:
    """A manifest that is not there is MANIFEST_UNKNOWN, a repository that is not there NAME_UNKNOWN."""
    await remote.push_blob("a", b"x")
    answer = await remote.ask(method, f"/v2/a/manifests/{reference}")
    assert answer.error == (404, "MANIFEST_UNKNOWN")
    assert (await remote.ask(method, f"/v2/other/manifests/{reference}")).error == (404, "NAME_UNKNOWN")
    assert (await remote.ask("HEAD", f"/v2/a/manifests/{reference}")).status == 404


@pytest.mark.parametrize("reference", ["sha256:x", "sha1:" + "0" * 40, "a:b"])
async def test_invalid_digest(remote: Remote, reference: str) -> None:
    """A reference with a colon is a digest, and must be a good one."""
    await remote.push_image("a")
    for method in ("GET", "PUT", "DELETE"):
        answer = await remote.ask(method, f"/v2/a/manifests/{reference}", data=b"{}")
        assert answer.error == (400, "DIGEST_INVALID")


@pytest.mark.parametrize("tag", [".x", "-x", "x" * 129, "a%20b", "%C3%A4"])
async def test_push_to_an_invalid_tag(remote: Remote, tag: str) -> None:
    """Tags follow the grammar, in the path and as a parameter."""
    raw = json.dumps(await remote.make_image("a")).encode()
    for target in (tag, f"{remote.digest_of(raw)}?tag={tag}"):
        path = URL(f"/v2/a/manifests/{target}", encoded=True)
        assert (await _put(remote, path, raw)).error == (400, "MANIFEST_INVALID")


async def test_delete_by_tag_keeps_the_manifest(remote: Remote) -> None:
    """Only the tag goes."""
    raw = await remote.push_image("a", "v1")
    assert (await remote.ask("DELETE", "/v2/a/manifests/v1")).status == 202
    assert (await remote.ask("HEAD", "/v2/a/manifests/v1")).status == 404
    assert (await remote.ask("HEAD", f"/v2/a/manifests/{remote.digest_of(raw)}")).status == 200


async def test_delete_by_digest_takes_the_tags_along(remote: Remote) -> None:
    """No tag is left that points at nothing, and blobs stay."""
    raw = await remote.push_image("a", "v1")
    await remote.push_manifest("a", "v2", raw)
    await remote.push_image("a", "other", layer=b"other")
    digest = remote.digest_of(raw)
    assert (await remote.ask("DELETE", f"/v2/a/manifests/{digest}")).status == 202
    for reference in ("v1", "v2", digest):
        assert (await remote.ask("HEAD", f"/v2/a/manifests/{reference}")).status == 404
    assert (await remote.ask("GET", "/v2/a/tags/list")).json["tags"] == ["other"]
    assert (await remote.ask("HEAD", f"/v2/a/blobs/{remote.digest_of(b'layer')}")).status == 200


async def test_manifest_cannot_be_deleted_as_a_blob(remote: Remote) -> None:
    """Its tag would point at nothing."""
    raw = await remote.push_image("a", "v1")
    assert (await remote.ask("DELETE", f"/v2/a/blobs/{remote.digest_of(raw)}")).error == (404, "BLOB_UNKNOWN")
    assert (await remote.ask("GET", "/v2/a/manifests/v1")).body == raw


async def test_delete_switched_off(make_remote: type[Remote]) -> None:
    """Where deleting is disabled, it is UNSUPPORTED, for tags as for digests."""
    async with (
        serve_registry(delete_enabled=False) as registry,
        aiohttp.ClientSession(registry.url) as session,
    ):
        remote = make_remote(session, registry)
        raw = await remote.push_image("a", "v1")
        for reference in ("v1", remote.digest_of(raw)):
            assert (await remote.ask("DELETE", f"/v2/a/manifests/{reference}")).error == (405, "UNSUPPORTED")


async def test_sparse_manifest(make_remote: type[Remote]) -> None:
    """A registry that takes sparse manifests asks for nothing that they refer to."""
    async with serve_registry(sparse=True) as registry, aiohttp.ClientSession(registry.url) as session:
        remote = make_remote(session, registry)
        config = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": MISSING, "size": 1}
        image = {"schemaVersion": 2, "mediaType": remote.image, "config": config, "layers": []}
        assert (await _put(remote, "/v2/a/manifests/v1", image)).status == 201
