"""Basic authentication, and what users may do."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from oci_distribution.testing import BasicAuth, User, serve_registry

if TYPE_CHECKING:
    from tests.testing.conftest import Remote


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


@pytest.fixture
async def guarded(make_remote: type[Remote]) -> AsyncIterator[Remote]:
    """A registry where ann may do everything, and bob may only read what is public."""
    users: dict[str, str | User] = {"ann": "secret", "bob": User("s:e:c", {"public/*": {"pull"}})}
    async with (
        serve_registry(auth=BasicAuth(users)) as registry,
        aiohttp.ClientSession(registry.url) as session,
    ):
        yield make_remote(session, registry)


async def test_right_credentials(guarded: Remote) -> None:
    """Who gives name and password is let in, to everything."""
    headers = basic("ann", "secret")
    assert (await guarded.ask("GET", "/v2/", headers=headers)).status == 200
    assert (await guarded.ask("POST", "/v2/a/blobs/uploads/", headers=headers)).status == 202
    assert (await guarded.ask("GET", "/v2/_catalog", headers=headers)).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        basic("ann", "wrong"),
        basic("nobody", "secret"),
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic /w=="},
        {"Authorization": "Basic ä"},
        {"Authorization": "Basic"},
        {"Authorization": "Bearer abc"},
    ],
)
async def test_wrong_credentials(guarded: Remote, headers: dict[str, str]) -> None:
    """Everybody else gets 401 and a challenge, at every endpoint."""
    for method, path in [("GET", "/v2/"), ("PUT", "/v2/a/manifests/v1"), ("GET", "/v2/_catalog")]:
        answer = await guarded.ask(method, path, headers=headers)
        assert answer.error == (401, "UNAUTHORIZED")
        assert answer.headers["WWW-Authenticate"] == 'Basic realm="registry"'


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/", 200),
        ("GET", "/v2/public/a/manifests/v1", 404),
        ("PUT", "/v2/public/a/manifests/v1", 403),
        ("GET", "/v2/private/a/manifests/v1", 403),
        ("DELETE", "/v2/public/a/manifests/v1", 403),
        ("GET", "/v2/_catalog", 403),
    ],
)
async def test_user_with_limits(guarded: Remote, method: str, path: str, status: int) -> None:
    """Somebody whom we know and who may not is DENIED, without a challenge."""
    answer = await guarded.ask(method, path, headers=basic("bob", "s:e:c"))
    assert answer.status == status
    assert "WWW-Authenticate" not in answer.headers
    if status == 403:
        assert answer.error == (403, "DENIED")


async def test_mount_needs_the_right_to_read_the_source(make_remote: type[Remote]) -> None:
    """Who may not read there does not get the blob by mounting it, nor learns that it exists."""
    access = {"mine/*": {"pull", "push"}}
    auth = BasicAuth({"ann": "secret", "bob": User("x", access)})
    async with serve_registry(auth=auth) as registry:
        async with aiohttp.ClientSession(registry.url, headers=basic("ann", "secret")) as session:
            digest = (await make_remote(session, registry).push_blob("private/a", b"data"))["digest"]
        async with aiohttp.ClientSession(registry.url, headers=basic("bob", "x")) as session:
            remote = make_remote(session, registry)
            path = f"/v2/mine/a/blobs/uploads/?mount={digest}&from=private/a"
            assert (await remote.ask("POST", path)).status == 202
            assert (await remote.ask("HEAD", f"/v2/mine/a/blobs/{digest}")).status == 404


async def test_passwords_are_in_no_repr() -> None:
    """Not even by accident."""
    assert "secret" not in repr(User("secret"))


async def test_secrets_are_in_no_record(guarded: Remote) -> None:
    """The record keeps the scheme, and not what follows."""
    headers: dict[str, Any] = basic("ann", "secret") | {"Cookie": "session=secret", "X-Other": "kept"}
    await guarded.ask("GET", "/v2/", headers=headers)
    recorded = guarded.registry.requests[-1].headers
    assert recorded["authorization"] == "Basic ***"
    assert recorded["cookie"] == "***"
    assert recorded["x-other"] == "kept"
