"""Tags, repositories and referrers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from yarl import URL

from oci_distribution.spec.headers import next_link
from oci_distribution.testing import MemoryStorage, serve_registry

if TYPE_CHECKING:
    from tests.testing.conftest import Remote

TAGS = ["A", "B", "_x", "a", "b", "v1", "v10", "v2"]
SUBJECT = "sha256:" + "1" * 64


@pytest.fixture
async def tagged(remote: Remote) -> Remote:
    raw = await remote.push_image("a/b", "v1")
    for tag in reversed(TAGS):
        await remote.push_manifest("a/b", tag, raw)
    return remote


@pytest.fixture
async def paged(make_remote: type[Remote]) -> AsyncIterator[Remote]:
    """A registry with pages of three."""
    async with serve_registry(page_size=3) as registry, aiohttp.ClientSession(registry.url) as session:
        remote = make_remote(session, registry)
        raw = await remote.push_image("a/b", "v1")
        for tag in TAGS:
            await remote.push_manifest("a/b", tag, raw)
        yield remote


async def _pages(remote: Remote, path: str, key: str) -> list[list[Any]]:
    pages: list[list[Any]] = []
    target: str | None = path
    while target is not None:
        answer = await remote.ask("GET", target)
        assert answer.status == 200
        pages.append(answer.json[key])
        target = next_link(answer.headers.getall("Link", []))
    return pages


async def test_all_tags(tagged: Remote) -> None:
    """The list is in ASCII order, and says whose it is."""
    answer = await tagged.ask("GET", "/v2/a/b/tags/list")
    assert (answer.status, answer.json) == (200, {"name": "a/b", "tags": TAGS})
    assert answer.headers["Content-Type"] == "application/json"
    assert "Link" not in answer.headers


async def test_pages_of_tags(tagged: Remote) -> None:
    """`n` makes pages, each linking to the next, until all were seen once."""
    assert await _pages(tagged, "/v2/a/b/tags/list?n=3", "tags") == [TAGS[:3], TAGS[3:6], TAGS[6:]]
    assert await _pages(tagged, "/v2/a/b/tags/list?n=4", "tags") == [TAGS[:4], TAGS[4:]]
    assert await _pages(tagged, "/v2/a/b/tags/list?n=99", "tags") == [TAGS]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("n=2&last=B", ["_x", "a"]),
        ("last=v1", ["v10", "v2"]),
        ("last=C", ["_x", "a", "b", "v1", "v10", "v2"]),
        ("last=zzz", []),
        ("n=0", []),
    ],
)
async def test_part_of_the_tags(tagged: Remote, query: str, expected: list[str]) -> None:
    """`last` is where to go on, not included, and need not exist; `n=0` gets nothing, not even a link."""
    answer = await tagged.ask("GET", f"/v2/a/b/tags/list?{query}")
    assert answer.json["tags"] == expected
    assert ("Link" in answer.headers) == (query == "n=2&last=B")


@pytest.mark.parametrize("n", ["-1", "x", "", "1.5", "9" * 30, "%C2%B2"])
async def test_invalid_number(tagged: Remote, n: str) -> None:
    """What is no number is refused."""
    path = URL(f"/v2/a/b/tags/list?n={n}", encoded=True)
    assert (await tagged.ask("GET", path)).status == 400


async def test_own_page_size(paged: Remote) -> None:
    """The registry's page size holds without `n`, and limits it."""
    for query in ("", "?n=100"):
        assert [len(page) for page in await _pages(paged, f"/v2/a/b/tags/list{query}", "tags")] == [3, 3, 2]


async def test_tags_of_unknown_repository(remote: Remote) -> None:
    """It is NAME_UNKNOWN."""
    assert (await remote.ask("GET", "/v2/a/tags/list")).error == (404, "NAME_UNKNOWN")


async def test_repository_without_tags(remote: Remote) -> None:
    """It has an empty list, not null."""
    await remote.push_blob("a", b"x")
    assert (await remote.ask("GET", "/v2/a/tags/list")).json == {"name": "a", "tags": []}


async def test_catalog(remote: Remote) -> None:
    """Repositories that something was pushed to are listed in pages, and a mere upload makes none."""
    assert (await remote.ask("GET", "/v2/_catalog")).json == {"repositories": []}
    for name in ("b", "a/b", "a"):
        await remote.push_blob(name, b"x")
    await remote.start("started")
    assert await _pages(remote, "/v2/_catalog", "repositories") == [["a", "a/b", "b"]]
    assert await _pages(remote, "/v2/_catalog?n=1", "repositories") == [["a"], ["a/b"], ["b"]]
    assert await _pages(remote, "/v2/_catalog?n=1&last=a/b", "repositories") == [["b"]]


async def _refer(remote: Remote, subject: str = SUBJECT, **fields: Any) -> dict[str, Any]:
    """Push a referrer, and return the descriptor that the list should have."""
    document = await remote.make_image(
        "a", subject={"mediaType": remote.image, "digest": subject, "size": 1}, **fields
    )
    raw = json.dumps(document).encode()
    await remote.push_manifest("a", remote.digest_of(raw), raw)
    return {"mediaType": remote.image, "digest": remote.digest_of(raw), "size": len(raw)}


async def test_referrers(remote: Remote) -> None:
    """The list has every manifest with that subject, with artifact type and annotations."""
    notes = {"made": "by test"}
    first = await _refer(remote, artifactType="text/sbom", annotations=notes)
    second = await _refer(remote)
    await _refer(remote, "sha256:" + "2" * 64)
    await remote.push_image("a")
    answer = await remote.ask("GET", f"/v2/a/referrers/{SUBJECT}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, remote.index)
    assert "OCI-Filters-Applied" not in answer.headers
    expected = [
        first | {"artifactType": "text/sbom", "annotations": notes},
        second | {"artifactType": "application/vnd.oci.image.config.v1+json"},
    ]
    assert answer.json == {
        "schemaVersion": 2,
        "mediaType": remote.index,
        "manifests": sorted(expected, key=itemgetter("digest")),
    }


async def test_referrers_that_come_later(remote: Remote) -> None:
    """A list that was asked for before stays true: what is pushed comes in, what is deleted goes."""
    path = f"/v2/a/referrers/{SUBJECT}"
    await _refer(remote)
    assert len((await remote.ask("GET", path)).json["manifests"]) == 1
    later = await _refer(remote, artifactType="text/later")
    assert len((await remote.ask("GET", path)).json["manifests"]) == 2
    await remote.ask("DELETE", f"/v2/a/manifests/{later['digest']}")
    assert len((await remote.ask("GET", path)).json["manifests"]) == 1


async def test_referrers_in_pages(make_remote: type[Remote]) -> None:
    """A long list comes in pages, and the filter holds on each; what goes meanwhile makes none be missed."""
    async with (
        serve_registry(page_size=2) as registry,
        aiohttp.ClientSession(registry.url) as session,
    ):
        remote = make_remote(session, registry)
        pushed = [
            (await _refer(remote, artifactType=f"text/{n % 2}", annotations={"n": str(n)}))["digest"]
            for n in range(7)
        ]
        pushed.sort()
        path = f"/v2/a/referrers/{SUBJECT}"
        assert [len(page) for page in await _pages(remote, path, "manifests")] == [2, 2, 2, 1]
        filtered = await _pages(remote, f"{path}?artifactType=text/0", "manifests")
        assert [[entry["artifactType"] for entry in page] for page in filtered] == [["text/0"] * 2] * 2

        first = await remote.ask("GET", path)
        await remote.ask("DELETE", f"/v2/a/manifests/{pushed[1]}")
        following = await remote.ask("GET", first.headers["Link"].partition(">")[0].removeprefix("<"))
        assert [entry["digest"] for entry in following.json["manifests"]] == pushed[2:4]


async def test_page_of_referrers_that_clients_can_read(remote: Remote) -> None:
    """A page is no longer than the index that clients read, however many annotations there are."""
    for number in range(3):
        await _refer(remote, annotations={"long": str(number) * (2 << 20)})
    pages = await _pages(remote, f"/v2/a/referrers/{SUBJECT}", "manifests")
    assert [len(page) for page in pages] == [1, 1, 1]


async def test_index_without_artifact_type(remote: Remote) -> None:
    """An index has no config to take a type from."""
    index = {
        "schemaVersion": 2,
        "mediaType": remote.index,
        "manifests": [],
        "subject": {"mediaType": remote.image, "digest": SUBJECT, "size": 1},
    }
    await remote.push_manifest("a", "index", json.dumps(index).encode(), remote.index)
    (descriptor,) = (await remote.ask("GET", f"/v2/a/referrers/{SUBJECT}")).json["manifests"]
    assert "artifactType" not in descriptor


async def test_referrers_by_artifact_type(remote: Remote) -> None:
    """A filter is applied, and said to be."""
    await _refer(remote, artifactType="text/sbom")
    wanted = await _refer(remote, artifactType="text/signature+json")
    answer = await remote.ask(
        "GET", f"/v2/a/referrers/{SUBJECT}", params={"artifactType": "text/signature+json"}
    )
    assert [entry["digest"] for entry in answer.json["manifests"]] == [wanted["digest"]]
    assert answer.headers["OCI-Filters-Applied"] == "artifactType"


async def test_no_referrers(remote: Remote) -> None:
    """It is never 404: neither for an unknown subject, nor for an unknown repository."""
    await remote.push_image("a")
    for name in ("a", "other"):
        answer = await remote.ask("GET", f"/v2/{name}/referrers/{SUBJECT}")
        assert (answer.status, answer.json["manifests"]) == (200, [])


async def test_referrers_of_an_invalid_digest(remote: Remote) -> None:
    """It is 400, even where there is nothing."""
    assert (await remote.ask("GET", "/v2/a/referrers/sha256:x")).error == (400, "DIGEST_INVALID")


async def test_registry_without_referrers_api(make_remote: type[Remote]) -> None:
    """It answers 404, and does not claim to have noted a subject."""
    async with (
        serve_registry(storage=MemoryStorage(), referrers=False) as registry,
        aiohttp.ClientSession(registry.url) as session,
    ):
        remote = make_remote(session, registry)
        assert (await remote.ask("GET", f"/v2/a/referrers/{SUBJECT}")).status == 404
        subject = {"mediaType": remote.image, "digest": SUBJECT, "size": 1}
        raw = json.dumps(await remote.make_image("a", subject=subject)).encode()
        answer = await remote.ask(
            "PUT", "/v2/a/manifests/v1", data=raw, headers={"Content-Type": remote.image}
        )
        assert (answer.status, "OCI-Subject" in answer.headers) == (201, False)
