"""Blobs, read and deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest

from oci_distribution.testing import serve_registry

if TYPE_CHECKING:
    from tests.testing.conftest import Remote

DATA = bytes(range(256)) * 10
MISSING = "sha256:" + "0" * 64


async def test_blob_is_read_back(remote: Remote) -> None:
    """GET answers the very bytes, with their digest, length, and a type that says nothing."""
    digest = (await remote.push_blob("a/b", DATA))["digest"]
    answer = await remote.ask("GET", f"/v2/a/b/blobs/{digest}")
    assert (answer.status, answer.body) == (200, DATA)
    assert answer.headers["Docker-Content-Digest"] == digest
    assert answer.headers["ETag"] == f'"{digest}"'
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Accept-Ranges"] == "bytes"


async def test_head_has_the_headers_of_get_and_no_body(remote: Remote) -> None:
    """HEAD tells digest and length."""
    digest = (await remote.push_blob("a/b", DATA))["digest"]
    answer = await remote.ask("HEAD", f"/v2/a/b/blobs/{digest}")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Length"] == str(len(DATA))
    assert answer.headers["Docker-Content-Digest"] == digest


async def test_large_blob_arrives_whole(remote: Remote) -> None:
    """A blob of more than one piece, and not a multiple of it, is sent whole."""
    data = DATA * 1000 + b"end"
    digest = (await remote.push_blob("a", data))["digest"]
    assert (await remote.ask("GET", f"/v2/a/blobs/{digest}")).body == data


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_empty_blob(remote: Remote, algorithm: str) -> None:
    """A blob may be empty, and its digest of either algorithm."""
    digest = (await remote.push_blob("a", b"", algorithm))["digest"]
    answer = await remote.ask("GET", f"/v2/a/blobs/{digest}")
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "0")


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=2550-", 2550, 2560),
        ("bytes=2550-99999", 2550, 2560),
        ("bytes=-5", 2555, 2560),
        ("bytes=-99999", 0, 2560),
    ],
)
async def test_range(remote: Remote, wanted: str, start: int, stop: int) -> None:
    """A range is answered with 206 and says which bytes it is."""
    digest = (await remote.push_blob("a", DATA))["digest"]
    answer = await remote.ask("GET", f"/v2/a/blobs/{digest}", headers={"Range": wanted})
    assert (answer.status, answer.body) == (206, DATA[start:stop])
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(DATA)}"
    assert answer.headers["Content-Length"] == str(stop - start)


@pytest.mark.parametrize("wanted", ["bytes=2560-", "bytes=9999-10000", "bytes=-0", "bytes=5-1"])
async def test_range_outside(remote: Remote, wanted: str) -> None:
    """A range that the blob does not have is answered with 416 and the blob's length."""
    digest = (await remote.push_blob("a", DATA))["digest"]
    answer = await remote.ask("GET", f"/v2/a/blobs/{digest}", headers={"Range": wanted})
    assert answer.status == 416
    assert answer.headers["Content-Range"] == f"bytes */{len(DATA)}"


@pytest.mark.parametrize("wanted", ["bytes=0-1,4-5", "bytes=-", "items=0-1", "nonsense"])
async def test_range_that_is_ignored(remote: Remote, wanted: str) -> None:
    """What is malformed, or several ranges, gets the whole blob."""
    digest = (await remote.push_blob("a", DATA))["digest"]
    answer = await remote.ask("GET", f"/v2/a/blobs/{digest}", headers={"Range": wanted})
    assert (answer.status, answer.body) == (200, DATA)


async def test_if_range(remote: Remote) -> None:
    """A range is only good for the content that the client means."""
    digest = (await remote.push_blob("a", DATA))["digest"]
    same = {"Range": "bytes=0-3", "If-Range": f'"{digest}"'}
    other = {"Range": "bytes=0-3", "If-Range": '"other"'}
    assert (await remote.ask("GET", f"/v2/a/blobs/{digest}", headers=same)).status == 206
    assert (await remote.ask("GET", f"/v2/a/blobs/{digest}", headers=other)).status == 200


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_unknown_blob(remote: Remote, method: str) -> None:
    """A blob that the repository does not hold is BLOB_UNKNOWN, a repository that is not there NAME_UNKNOWN."""
    await remote.push_blob("a", DATA)
    assert (await remote.ask(method, f"/v2/a/blobs/{MISSING}")).error == (404, "BLOB_UNKNOWN")
    assert (await remote.ask(method, f"/v2/other/blobs/{MISSING}")).error == (404, "NAME_UNKNOWN")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize(
    "digest", ["sha256:abc", "sha256:" + "A" * 64, "sha1:" + "0" * 40, "latest", "sha256:"]
)
async def test_invalid_digest(remote: Remote, method: str, digest: str) -> None:
    """What is no digest is DIGEST_INVALID, before anything is looked up."""
    assert (await remote.ask(method, f"/v2/a/blobs/{digest}")).error == (400, "DIGEST_INVALID")


async def test_blob_is_visible_only_where_it_was_pushed(remote: Remote) -> None:
    """Another repository does not have it."""
    digest = (await remote.push_blob("a", DATA))["digest"]
    await remote.push_blob("b", b"other")
    assert (await remote.ask("HEAD", f"/v2/b/blobs/{digest}")).status == 404


async def test_delete(remote: Remote) -> None:
    """A deleted blob is gone, here and not elsewhere."""
    digest = (await remote.push_blob("a", DATA))["digest"]
    await remote.push_blob("b", DATA)
    assert (await remote.ask("DELETE", f"/v2/a/blobs/{digest}")).status == 202
    assert (await remote.ask("HEAD", f"/v2/a/blobs/{digest}")).status == 404
    assert (await remote.ask("HEAD", f"/v2/b/blobs/{digest}")).status == 200


async def test_delete_switched_off(make_remote: type[Remote]) -> None:
    """Where deleting is disabled, it is UNSUPPORTED."""
    async with (
        serve_registry(delete_enabled=False) as registry,
        aiohttp.ClientSession(registry.url) as session,
    ):
        remote = make_remote(session, registry)
        digest = (await remote.push_blob("a", DATA))["digest"]
        assert (await remote.ask("DELETE", f"/v2/a/blobs/{digest}")).error == (405, "UNSUPPORTED")
        assert (await remote.ask("HEAD", f"/v2/a/blobs/{digest}")).status == 200
