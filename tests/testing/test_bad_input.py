"""Whatever comes in: a specified answer, never a 500, and nothing outside the storage's directory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import aiohttp
import anyio
import pytest
from hypothesis import given, settings, strategies as st

from oci_distribution.spec.digest import Digest
from oci_distribution.testing import DirectoryStorage, RegistryApp, TokenAuth, serve_registry

if TYPE_CHECKING:
    from tests.testing.conftest import Remote

DIGEST = "sha256:" + "0" * 64
KNOWN = Digest.of(b"{}")


def _names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
async def contained(tmp_path: Path, make_remote: type[Remote]) -> AsyncIterator[Remote]:
    """A registry in a directory of its own, within one that must stay as it is."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").touch()
    async with (
        serve_registry(storage=DirectoryStorage(tmp_path / "inside")) as registry,
        aiohttp.ClientSession(registry.url) as session,
    ):
        yield make_remote(session, registry)
    assert _names_in(tmp_path) == {"inside", "outside"}
    assert _names_in(tmp_path / "outside") == {"secret"}


async def _send(remote: Remote, method: str, target: str, body: bytes = b"") -> tuple[int, bytes]:
    """Send a request whose target no client library would let through."""
    host, _, port = remote.registry.host.partition(":")
    async with await anyio.connect_tcp(host, int(port)) as stream:
        head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        await stream.send(head.encode("latin-1") + body)
        received = b""
        try:
            while True:
                received += await stream.receive()
        except anyio.EndOfStream:
            pass
    return int(received.split(b" ", 2)[1]), received


@pytest.mark.parametrize(
    "name",
    [
        "..",
        "../outside",
        "a/../../outside",
        "%2e%2e/outside",
        "..%2foutside",
        "a%2Fb",
        "a%00b",
        "a%0d%0ab",
        "a//b",
        "/a",
        "a/",
        "A",
        "a b".replace(" ", "%20"),
        "%ff%fe",
        "%C3%A4",
        "a+b",
        "-a",
        "x" * 256,
        "x/" * 2000 + "x",
    ],
)
async def test_names_that_are_none(contained: Remote, name: str) -> None:
    """They are NAME_INVALID at every endpoint."""
    for method, rest in [
        ("GET", "manifests/v1"),
        ("PUT", "manifests/v1"),
        ("GET", f"blobs/{DIGEST}"),
        ("POST", "blobs/uploads/"),
        ("POST", f"blobs/uploads/?digest={DIGEST}"),
        ("GET", "tags/list"),
        ("GET", f"referrers/{DIGEST}"),
    ]:
        status, answer = await _send(contained, method, f"/v2/{name}/{rest}", b"{}")
        assert status == 400, (method, rest)
        assert b'"NAME_INVALID"' in answer


@pytest.mark.parametrize(
    "digest", ["sha256:..%2f..%2fx", "sha256:%2e%2e", "..", "sha256:" + "0" * 63 + "%00", "x:y"]
)
async def test_digests_that_are_paths(contained: Remote, digest: str) -> None:
    """They are refused before anybody looks for a file."""
    await contained.push_blob("a", b"x")
    for method, target in [
        ("GET", f"/v2/a/blobs/{digest}"),
        ("DELETE", f"/v2/a/blobs/{digest}"),
        ("POST", f"/v2/a/blobs/uploads/?digest={digest}"),
        ("POST", f"/v2/b/blobs/uploads/?mount={digest}&from=a"),
        ("GET", f"/v2/a/referrers/{digest}"),
    ]:
        assert (await _send(contained, method, target))[0] == 400


@pytest.mark.parametrize(
    "path", ["/", "/v1/", "/v2", "/v2/x", "/v2/a/blobs", "/v2/a/manifests/", "/v2//", "/token"]
)
async def test_paths_that_are_no_endpoint(remote: Remote, path: str) -> None:
    """They are 404, with an error body; `/v2` is forgiven its slash."""
    answer = await remote.ask("GET", path)
    if path == "/v2":
        assert answer.status == 200
    else:
        assert answer.error == (404, "UNSUPPORTED")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v2/", "GET, HEAD"),
        ("DELETE", "/v2/_catalog", "GET"),
        ("POST", "/v2/a/manifests/v1", "GET, HEAD, PUT, DELETE"),
        ("PUT", f"/v2/a/blobs/{DIGEST}", "GET, HEAD, DELETE"),
        ("GET", "/v2/a/blobs/uploads/", "POST"),
        ("POST", "/v2/a/blobs/uploads/x", "GET, PATCH, PUT, DELETE"),
        ("PUT", "/v2/a/tags/list", "GET"),
        ("OPTIONS", "/v2/", "GET, HEAD"),
    ],
)
async def test_wrong_method(remote: Remote, method: str, path: str, allowed: str) -> None:
    """It is UNSUPPORTED, and the answer says what would do."""
    answer = await remote.ask(method, path)
    assert answer.error == (405, "UNSUPPORTED")
    assert answer.headers["Allow"] == allowed


@pytest.mark.parametrize(
    "name",
    ["a/blobs/uploads", "a/manifests", "a/blobs", "a/tags/list", "tags/list", "uploads", "a/referrers/b"],
)
async def test_names_that_look_like_endpoints(remote: Remote, name: str) -> None:
    """They are names like any other."""
    raw = await remote.push_image(name, "v1")
    assert (await remote.ask("GET", f"/v2/{name}/manifests/v1")).body == raw
    assert (await remote.ask("GET", f"/v2/{name}/tags/list")).json == {"name": name, "tags": ["v1"]}
    assert (await remote.ask("GET", f"/v2/{name}/blobs/{remote.digest_of(b'layer')}")).body == b"layer"


async def test_not_http_at_all(remote: Remote) -> None:
    """Nonsense on the wire is answered with 400, and others are served on."""
    host, _, port = remote.registry.host.partition(":")
    async with await anyio.connect_tcp(host, int(port)) as stream:
        await stream.send(b"\x16\x03\x01 nonsense\r\n\r\n")
        assert (await stream.receive()).startswith(b"HTTP/1.1 400 ")
    assert (await remote.ask("GET", "/v2/")).status == 200


_WORDS = st.sampled_from(
    [
        "v2",
        "a",
        "a/b",
        "blobs",
        "uploads",
        "manifests",
        "tags",
        "list",
        "referrers",
        "_catalog",
        "token",
        "..",
        "v1",
        DIGEST,
        KNOWN,
        "sha512:" + "0" * 128,
        "sha256:",
        "%2e%2e",
        "%00",
        "",
        "é",
    ]
)
_TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
_PATHS = st.sampled_from([f"/v2/a/blobs/{KNOWN}", "/v2/a/blobs/uploads/", "/v2/a/manifests/v1"]) | st.lists(
    _WORDS | _TEXT, max_size=6
).map(lambda parts: "/v2/" + "/".join(parts))
_QUERY = st.dictionaries(
    st.sampled_from(
        ["n", "last", "digest", "mount", "from", "tag", "artifactType", "state", "scope", "service"]
    ),
    st.sampled_from([DIGEST, KNOWN, "a", "1", "-1", "repository:a:pull"]) | _TEXT,
    max_size=3,
)
_HEADERS = st.dictionaries(
    st.sampled_from(
        ["Range", "Content-Range", "Content-Type", "Authorization", "If-Range", "Host", "Accept"]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=30).map(str.strip)
    | st.sampled_from(["bytes=0-1", "0-3", "Basic YTpi", "Bearer x", "application/json"]),
    max_size=3,
)
_METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
_BODIES = st.binary(max_size=30) | st.sampled_from(
    [b"{}", b'{"subject": 3, "mediaType": "a/b"}', b'{"config": 1}']
)


async def _call(app: RegistryApp, scope: dict[str, Any], body: bytes) -> int:
    """Call the app as a server does that lets everything through, and return the status."""
    incoming = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return incoming.pop() if incoming else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return int(sent[0]["status"])


@pytest.mark.parametrize("guarded", [False, True])
@settings(max_examples=300, deadline=None)
@given(method=_METHODS, path=_PATHS, query=_QUERY, headers=_HEADERS, body=_BODIES)
def test_anything(
    *, guarded: bool, method: str, path: str, query: dict[str, str], headers: dict[str, str], body: bytes
) -> None:
    """No request makes the app raise or answer with a 5xx."""
    app = RegistryApp(auth=TokenAuth({"a": "b"}, anonymous_pull=True) if guarded else None)
    upload = app.storage.open("a").new_upload()
    upload.write(b"{}")
    upload.commit(KNOWN)
    scope = {
        "type": "http",
        "scheme": "http",
        "method": method,
        "path": "/token" if guarded and "token" in path else path,
        "raw_path": quote(path).encode(),
        "query_string": urlencode(query).encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }
    assert anyio.run(_call, app, scope, body) < 500
