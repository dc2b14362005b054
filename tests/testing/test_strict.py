"""Strict mode: what it notes, what it lets pass, and how it ends."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, NamedTuple

import aiohttp
import anyio
import pytest
from starlette.responses import Response
from yarl import URL

from oci_distribution.testing import (
    Fault,
    Profile,
    Quirk,
    RegistryApp,
    RunningRegistry,
    StrictViolation,
    Violation,
    serve_registry,
)
from oci_distribution.testing.calls import Call, Handler
from oci_distribution.testing.injection import CONNECTION
from oci_distribution.testing.uploads import patch_upload

if TYPE_CHECKING:
    from tests.testing.conftest import Remote

IMAGE = "application/vnd.oci.image.manifest.v1+json"
TYPED = b'{"mediaType": "application/vnd.example.v1+json"}'
EMPTY = f"sha256:{'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'}"


@pytest.fixture
async def app() -> AsyncIterator[RegistryApp]:
    app = RegistryApp(strict=True, chunk_min_length=3)
    yield app
    app.close()


@pytest.fixture
async def registry(app: RegistryApp) -> AsyncIterator[RunningRegistry]:
    async with serve_registry(app=app) as registry:
        yield registry
        app.violations.clear()


def broken(remote: Remote) -> list[str]:
    """Return the names of the rules that were broken."""
    return [violation.rule for violation in remote.registry.violations]


async def in_pieces(data: bytes) -> AsyncIterator[bytes]:
    """Make a body of unknown length."""
    yield data


class Case(NamedTuple):
    """A request that breaks a rule; `{upload}` is the Location of an upload that is open."""

    rule: str
    method: str
    target: str
    headers: dict[str, str] = {}  # noqa: RUF012 (nobody changes it)
    body: bytes | None = None
    open_length: bool = False


CASES = [
    Case("no-content", "GET", "/v2/", body=b"x"),
    Case("no-content", "DELETE", "/v2/a/manifests/v1", body=b"x"),
    Case("no-content", "HEAD", "/v2/a/manifests/v1", body=b"x", open_length=True),
    Case("range", "GET", f"/v2/a/blobs/{EMPTY}", {"Range": "bytes=a-"}),
    Case("range", "GET", f"/v2/a/blobs/{EMPTY}", {"Range": "0-5"}),
    Case("range", "GET", f"/v2/a/blobs/{EMPTY}", {"Range": "bytes=0-1, 10-9"}),
    Case("if-range", "GET", f"/v2/a/blobs/{EMPTY}", {"If-Range": '"a"'}),
    Case("if-range", "GET", f"/v2/a/blobs/{EMPTY}", {"If-Range": 'W/"a"', "Range": "bytes=0-"}),
    Case("entity-tag", "GET", "/v2/a/manifests/v1", {"If-None-Match": EMPTY}),
    Case("entity-tag", "PUT", "/v2/a/manifests/v1", {"If-Match": '"a" "b"', "Content-Type": "a/b"}, b"{}"),
    Case("name", "GET", "/v2/A/manifests/v1"),
    Case("name", "GET", "/v2/a%2Fb/manifests/v1"),
    Case("name", "POST", f"/v2/a/blobs/uploads/?mount={EMPTY}&from=B"),
    Case("tag", "GET", "/v2/a/manifests/-v1"),
    Case("tag", "PUT", f"/v2/a/manifests/{EMPTY}?tag=-v1", {"Content-Type": "a/b"}),
    Case("digest", "GET", "/v2/a/blobs/sha256:abc"),
    Case("digest", "HEAD", "/v2/a/blobs/abc"),
    Case("digest", "GET", "/v2/a/manifests/sha256:ABC"),
    Case("digest", "GET", "/v2/a/referrers/v1"),
    Case("digest", "POST", "/v2/a/blobs/uploads/?mount=x&from=b"),
    Case("digest", "PUT", "{upload}&digest=sha256:"),
    Case("page-size", "GET", "/v2/a/tags/list?n=ten"),
    Case("upload-start", "POST", "/v2/a/blobs/uploads/", body=b"data"),
    Case("upload-start", "POST", "/v2/a/blobs/uploads", body=b"data"),
    Case("single-post-length", "POST", f"/v2/a/blobs/uploads/?digest={EMPTY}", body=b"", open_length=True),
    Case("upload-location", "PUT", f"{{path}}?digest={EMPTY}"),
    Case("upload-location", "PATCH", "{path}?state=other", body=b"data"),
    Case("upload-location", "GET", "{path}"),
    Case("upload-location", "DELETE", "{path}"),
    Case("chunk-range", "PATCH", "{upload}", {"Content-Range": "bytes 0-3/4"}, b"data"),
    Case("chunk-range", "PATCH", "{upload}", {"Content-Range": "3-0"}, b"data"),
    Case("chunk-length", "PATCH", "{upload}", {"Content-Range": "0-3"}, b"data", open_length=True),
    Case("chunk-length", "PATCH", "{upload}", {"Content-Range": "0-4"}, b"data"),
    Case("chunk-order", "PATCH", "{upload}", {"Content-Range": "1-4"}, b"data"),
    Case("chunk-order", "PUT", f"{{upload}}&digest={EMPTY}", {"Content-Range": "1-4"}, b"data"),
    Case("upload-digest", "PUT", "{upload}", body=b"data"),
    Case("content-digest", "PUT", f"{{upload}}&digest={EMPTY}", body=b"data"),
    Case("content-digest", "POST", f"/v2/a/blobs/uploads/?digest={EMPTY}", body=b"data"),
    Case("content-digest", "PUT", f"/v2/a/manifests/{EMPTY}", {"Content-Type": "a/b"}, b"{}"),
    Case("manifest-type", "PUT", "/v2/a/manifests/v1", body=b"{}"),
    Case("manifest-type", "PUT", "/v2/a/manifests/v1", {"Content-Type": IMAGE}, TYPED),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule}-{case.method}")
async def test_one_rule_is_broken(remote: Remote, case: Case) -> None:
    """A request that breaks one rule is noted once, with that rule."""
    upload = await remote.start("a")
    target = case.target.format(upload=upload, path=upload.partition("?")[0])
    body = in_pieces(case.body) if case.body is not None and case.open_length else case.body
    skipped = [] if "Content-Type" in case.headers else ["Content-Type"]
    await remote.ask(
        case.method,
        URL(target, encoded=True),
        headers=case.headers,
        data=body,
        skip_auto_headers=skipped,
    )
    assert broken(remote) == [case.rule], remote.registry.violations


async def send_raw(remote: Remote, request: bytes) -> str:
    """Send a request that no HTTP library makes, and return the beginning of the answer."""
    host, _, port = remote.registry.host.partition(":")
    async with await anyio.connect_tcp(host, int(port)) as stream:
        await stream.send(request)
        return (await stream.receive()).decode()


async def send_chunk(remote: Remote, location: str, start: int, data: bytes) -> str:
    """Send a chunk and return the next location."""
    headers = {"Content-Range": f"{start}-{start + len(data) - 1}"}
    answer = await remote.ask("PATCH", location, headers=headers, data=data)
    return str(answer.headers["Location"])


async def test_well_behaved_pushes_and_pulls(remote: Remote) -> None:
    """What the specification wants done is not noted."""
    data, digest = b"datadatax", remote.digest_of(b"datadatax")
    location = await remote.start("a")
    location = await send_chunk(remote, location, 0, data[:4])
    location = await send_chunk(remote, location, 4, data[4:8])
    location = str((await remote.ask("GET", location)).headers["Location"])
    location = await send_chunk(remote, location, 8, data[8:])
    assert (await remote.ask("PUT", f"{location}&digest={digest}")).status == 201
    await remote.ask("POST", f"/v2/a/blobs/uploads/?digest={remote.digest_of(b'x')}", data=b"x")
    assert (await remote.ask("POST", f"/v2/b/blobs/uploads/?mount={digest}&from=a")).status == 201
    assert (await remote.ask("DELETE", await remote.start("a"))).status == 204
    await remote.push_image("team/app", "v1")
    await remote.push_manifest("team/app", "v2", TYPED, "application/vnd.example.v1+json; charset=utf-8")
    conditions = {"If-None-Match": 'W/"a", "b"', "Accept": IMAGE}
    assert (await remote.ask("GET", "/v2/team/app/manifests/v1", headers=conditions)).status == 200
    for text in ("bytes=0-3", "bytes=-3", "bytes=2-, 9-10", "items=a", "bytes=00-0, 9-10"):
        headers = {"Range": text, "If-Range": f'"{digest}"'}
        assert (await remote.ask("GET", f"/v2/a/blobs/{digest}", headers=headers)).status in {200, 206, 416}
    for path in ("tags/list?n=0&last=v", f"referrers/{digest}", "manifests/missing", "blobs/blake3:abc"):
        await remote.ask("GET", f"/v2/a/{path}")
    assert remote.registry.violations == []


async def test_streamed_upload(remote: Remote) -> None:
    """A PATCH without Content-Range, of unknown length, is everybody's habit and nowhere forbidden."""
    answer = await remote.ask("PATCH", await remote.start("a"), data=in_pieces(b"data"))
    location = answer.headers["Location"]
    assert (await remote.ask("PUT", f"{location}&digest={remote.digest_of(b'data')}")).status == 201
    assert broken(remote) == []


async def test_location_of_an_earlier_answer(remote: Remote) -> None:
    """A chunk goes to the newest Location; to cancel an upload, any will do."""
    first = await remote.start("a")
    await send_chunk(remote, first, 0, b"data")
    await send_chunk(remote, first, 4, b"data")
    (violation,) = remote.registry.violations
    assert (violation.rule, violation.problem) == (
        "upload-location",
        "this Location is old: a later answer had another",
    )
    await remote.ask("DELETE", first)
    assert broken(remote) == ["upload-location"]


async def test_chunk_after_a_short_one(remote: Remote) -> None:
    """Only the last chunk may be shorter than the registry's minimum."""
    location = await send_chunk(remote, await remote.start("a"), 0, b"12")
    assert broken(remote) == []
    location = str((await remote.ask("GET", location)).headers["Location"])
    await remote.ask("PATCH", location, headers={"Content-Range": "2-5"}, data=b"3456")
    assert broken(remote) == ["chunk-minimum"]


async def test_chunk_out_of_order(remote: Remote) -> None:
    """A chunk that leaves a gap is noted with where it belongs."""
    location = await send_chunk(remote, await remote.start("a"), 0, b"data")
    await send_chunk(remote, location, 5, b"data")
    assert [violation.problem for violation in remote.registry.violations] == [
        "the chunk starts at 5, not at 4"
    ]


async def test_chunked_upload_without_a_length_at_its_start(remote: Remote) -> None:
    """The POST before chunks has Content-Length: 0; what is in pieces has none."""
    answer = await send_raw(remote, b"POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\n\r\n")
    (location,) = re.findall(r"(?im)^location: (\S+)", answer)
    location = await send_chunk(remote, location, 0, b"data")
    await send_chunk(remote, location, 4, b"data")
    assert broken(remote) == ["upload-start-length"]


async def test_client_is_not_blamed_for_an_answer_that_was_lost(remote: Remote) -> None:
    """It cannot know that a chunk had arrived, nor the Location after it."""
    location = await remote.start("a")
    remote.registry.faults.add(Fault(method="PATCH", answer_lost=True, times=1))
    with pytest.raises(aiohttp.ClientError):
        await send_chunk(remote, location, 0, b"data")
    location = await send_chunk(remote, location, 0, b"data")
    assert remote.registry.requests[-1].status == 416
    await send_chunk(remote, location, 4, b"data")
    assert remote.registry.requests[-1].status == 202
    assert broken(remote) == []


async def test_client_is_not_blamed_for_leaving_before_the_answer(make_remote: type[Remote]) -> None:
    """What was sent to a connection that is closed, nobody was told."""

    async def answer_nobody(call: Call, handler: Handler) -> Response:
        response = await handler(call)
        if not left:
            left.append(call)
            call.request.scope["extensions"][CONNECTION].abort()
        return response

    left: list[Call] = []
    profile = Profile("leaving", (Quirk("answers nobody", "", (patch_upload,), answer_nobody),))
    async with (
        serve_registry(strict=True, profile=profile) as registry,
        aiohttp.ClientSession(registry.url) as http,
    ):
        remote = make_remote(http, registry)
        location = await remote.start("a")
        with pytest.raises(aiohttp.ClientError):
            await send_chunk(remote, location, 0, b"data")
        await send_chunk(remote, location, 0, b"data")
        assert registry.requests.lines()[-1].endswith("-> 416")


async def test_client_is_not_blamed_for_a_fault(remote: Remote) -> None:
    """An error that was made up says nothing about the request."""
    remote.registry.faults.add(Fault(status=400))
    await remote.ask("PUT", "/v2/a/manifests/v1", data=TYPED, headers={"Content-Type": "a/b"})
    await remote.ask("POST", f"/v2/a/blobs/uploads/?digest={EMPTY}", data=b"data")
    assert broken(remote) == []


async def test_leaving_lists_all_violations() -> None:
    """The error names every request, what was wrong, and where it is written, but no secret."""
    with pytest.raises(StrictViolation) as caught:
        async with serve_registry(strict=True) as registry, aiohttp.ClientSession(registry.url) as http:
            async with http.get("/v2/A/tags/list?n=x&token=hunter2"):
                pass
            assert registry.violations[1] == Violation(
                "page-size",
                'distribution-spec "Listing Tags"',
                "GET /v2/A/tags/list?n=x&token=***",
                "n is 'x', and no number",
            )
    assert [violation.rule for violation in caught.value.violations] == ["name", "page-size"]
    first, *rest = str(caught.value).splitlines()
    assert first == "the client broke the specifications:"
    assert rest == [str(violation) for violation in caught.value.violations]
    assert rest[1] == (
        "GET /v2/A/tags/list?n=x&token=***: n is 'x', and no number"
        ' [page-size: distribution-spec "Listing Tags"]'
    )


async def test_another_exception_goes_first() -> None:
    """A test that fails for a reason of its own is not told another."""
    with pytest.raises(KeyError):
        async with serve_registry(strict=True) as registry, aiohttp.ClientSession(registry.url) as http:
            async with http.get("/v2/A/tags/list"):
                pass
            raise KeyError


async def test_nothing_is_noted_unless_told() -> None:
    """Without strict mode a client may do as it likes."""
    async with serve_registry() as registry, aiohttp.ClientSession(registry.url) as http:
        async with http.get("/v2/A/tags/list"):
            pass
        assert registry.violations == []
