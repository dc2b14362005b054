"""Conditional requests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.testing.conftest import Remote

OTHER = f'"sha256:{"0" * 64}"'


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("kind", ["manifests", "blobs"])
async def test_what_the_client_has_is_not_sent_again(remote: Remote, method: str, kind: str) -> None:
    """`If-None-Match` with the entity tag, alone, weak, among others or as `*`: 304 with the digest."""
    raw = await remote.push_image("a", "v1", layer=b"layer")
    path = "v1" if kind == "manifests" else remote.digest_of(b"layer")
    digest = remote.digest_of(raw if kind == "manifests" else b"layer")
    for known in (f'"{digest}"', f'W/"{digest}"', f'{OTHER}, "{digest}"', "*"):
        answer = await remote.ask(method, f"/v2/a/{kind}/{path}", headers={"If-None-Match": known})
        assert (answer.status, answer.body) == (304, b"")
        assert answer.headers["ETag"] == f'"{digest}"'
        assert answer.headers["Docker-Content-Digest"] == digest


async def test_what_has_changed_is_sent(remote: Remote) -> None:
    """`If-None-Match` with another entity tag is answered as if it were not there."""
    raw = await remote.push_image("a", "v1")
    answer = await remote.ask("GET", "/v2/a/manifests/v1", headers={"If-None-Match": OTHER})
    assert (answer.status, answer.body) == (200, raw)


async def test_read_of_another_than_what_is_there(remote: Remote) -> None:
    """`If-Match` on a read fails when the tag has moved."""
    await remote.push_image("a", "v1")
    answer = await remote.ask("GET", "/v2/a/manifests/v1", headers={"If-Match": OTHER})
    assert answer.error == (412, "DENIED")


async def _put(remote: Remote, tag: str, condition: dict[str, str], layer: bytes) -> tuple[int, bytes]:
    raw = json.dumps(await remote.make_image("a", layer)).encode()
    headers = {"Content-Type": remote.image, **condition}
    answer = await remote.ask("PUT", f"/v2/a/manifests/{tag}", data=raw, headers=headers)
    return answer.status, raw


async def test_tag_that_must_be_new(remote: Remote) -> None:
    """`If-None-Match: *` pushes where there is nothing, and nowhere else."""
    condition = {"If-None-Match": "*"}
    status, first = await _put(remote, "v1", condition, b"first")
    assert status == 201
    assert (await _put(remote, "v1", condition, b"second"))[0] == 412
    assert (await remote.ask("GET", "/v2/a/manifests/v1")).body == first


async def test_tag_that_must_not_have_moved(remote: Remote) -> None:
    """`If-Match` pushes over what the client has seen, and over nothing else."""
    first = await remote.push_image("a", "v1", layer=b"first")
    seen = {"If-Match": f'"{remote.digest_of(first)}"'}
    status, second = await _put(remote, "v1", seen, b"second")
    assert status == 201
    assert (await _put(remote, "v1", seen, b"third"))[0] == 412
    assert (await remote.ask("GET", "/v2/a/manifests/v1")).body == second


@pytest.mark.parametrize("condition", ["*", OTHER])
async def test_tag_that_must_be_there(remote: Remote, condition: str) -> None:
    """`If-Match` fails where there is nothing."""
    assert (await _put(remote, "v1", {"If-Match": condition}, b"layer"))[0] == 412


async def test_weak_entity_tag_allows_no_write(remote: Remote) -> None:
    """`If-Match` compares strongly (RFC 9110 section 13.1.1)."""
    raw = await remote.push_image("a", "v1")
    assert (await _put(remote, "v1", {"If-Match": f'W/"{remote.digest_of(raw)}"'}, b"x"))[0] == 412


async def test_delete_of_what_was_seen(remote: Remote) -> None:
    """A delete takes conditions, too."""
    raw = await remote.push_image("a", "v1")
    path, digest = "/v2/a/manifests/v1", remote.digest_of(raw)
    assert (await remote.ask("DELETE", path, headers={"If-Match": OTHER})).status == 412
    assert (await remote.ask("DELETE", path, headers={"If-Match": f'"{digest}"'})).status == 202
