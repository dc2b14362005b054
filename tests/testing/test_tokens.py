"""Bearer tokens and their server."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import aiohttp
import jwt
import pytest
from yarl import URL

from oci_distribution.testing import RunningRegistry, TokenAuth, User, serve_registry

if TYPE_CHECKING:
    from tests.testing.conftest import Remote

LIFETIME = 60.0
PULL = "repository:a/b:pull"
PUSH = "repository:a/b:pull,push"


class Clock:
    """A clock that stands still."""

    now = 1_700_000_000.25

    def __call__(self) -> float:
        return self.now


class Tokens:
    """The token server as a plain HTTP client sees it."""

    def __init__(self, remote: Remote, auth: TokenAuth, clock: Clock) -> None:
        self.remote = remote
        self.auth = auth
        self.clock = clock

    async def get(self, *scopes: str, user: str | None = "ann:secret", **more: str) -> Any:
        headers = {"Authorization": "Basic " + base64.b64encode(user.encode()).decode()} if user else {}
        query = [("service", "x"), *(("scope", scope) for scope in scopes), *more.items()]
        return await self.remote.ask("GET", "/token", params=query, headers=headers)

    async def post(self, **form: str) -> Any:
        return await self.remote.ask("POST", "/token", data=form)

    async def use(self, token: str, method: str, path: str) -> Any:
        return await self.remote.ask(method, path, headers={"Authorization": f"Bearer {token}"})

    async def token(self, *scopes: str, **more: Any) -> str:
        answer = await self.get(*scopes, **more)
        assert answer.status == 200
        return str(answer.json["token"])


@pytest.fixture(params=[False])
async def tokens(request: pytest.FixtureRequest, make_remote: type[Remote]) -> AsyncIterator[Tokens]:
    """A registry where ann may do everything, and bob may only read."""
    users: dict[str, str | User] = {"ann": "secret", "bob": User("x", {"*": {"pull"}})}
    clock = Clock()
    auth = TokenAuth(users, token_lifetime=LIFETIME, anonymous_pull=request.param, clock=clock)
    async with serve_registry(auth=auth) as registry, aiohttp.ClientSession(registry.url) as session:
        yield Tokens(make_remote(session, registry), auth, clock)


with_anonymous = pytest.mark.parametrize("tokens", [True], indirect=True)


def _challenge(answer: Any) -> dict[str, str]:
    header = answer.headers["WWW-Authenticate"]
    assert header.startswith("Bearer ")
    return dict(re.findall(r'(\w+)="([^"]*)"', header))


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/v2/", None),
        ("GET", "/v2/a/b/manifests/v1", PULL),
        ("HEAD", "/v2/a/b/blobs/sha256:" + "0" * 64, PULL),
        ("PUT", "/v2/a/b/manifests/v1", PUSH),
        ("POST", "/v2/a/b/blobs/uploads/", PUSH),
        ("DELETE", "/v2/a/b/manifests/v1", "repository:a/b:delete"),
        ("GET", "/v2/a/b/tags/list", PULL),
        ("GET", "/v2/_catalog", "registry:catalog:*"),
    ],
)
async def test_challenge(tokens: Tokens, method: str, path: str, scope: str | None) -> None:
    """Without a token, the answer says where to get which one."""
    answer = await tokens.remote.ask(method, path)
    registry = tokens.remote.registry
    assert answer.status == 401
    expected = {"realm": f"{registry.url}/token", "service": registry.host}
    assert _challenge(answer) == (expected | {"scope": scope} if scope else expected)


async def test_challenge_does_not_echo_a_strange_host(tokens: Tokens) -> None:
    """A `Host` that is none cannot break the challenge."""
    answer = await tokens.remote.ask("GET", "/v2/", headers={"Host": 'x",scope="y'})
    assert _challenge(answer)["service"] == tokens.remote.registry.host


async def test_token_lets_in(tokens: Tokens) -> None:
    """A token is good for its scope, at every endpoint of it, and for the ping."""
    token = await tokens.token(PUSH)
    assert (await tokens.use(token, "GET", "/v2/")).status == 200
    assert (await tokens.use(token, "POST", "/v2/a/b/blobs/uploads/")).status == 202
    assert (await tokens.use(token, "GET", "/v2/a/b/tags/list")).status == 404


async def test_token_answer(tokens: Tokens) -> None:
    """It has what both forms of the protocol want, and when it was made."""
    answer = await tokens.get(PUSH)
    body = answer.json
    assert body["token"] == body["access_token"]
    assert (body["expires_in"], body["issued_at"], body["scope"]) == (60, "2023-11-14T22:13:20.250Z", PUSH)
    assert "refresh_token" not in body
    assert answer.headers["Cache-Control"] == "no-store"
    assert tokens.auth.tokens_issued == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/v2/a/b/manifests/v1"),
        ("DELETE", "/v2/a/b/manifests/v1"),
        ("GET", "/v2/a/c/manifests/v1"),
        ("GET", "/v2/_catalog"),
    ],
)
async def test_insufficient_scope(tokens: Tokens, method: str, path: str) -> None:
    """A token for something else gets 401, the reason, and the scope that is needed."""
    answer = await tokens.use(await tokens.token(PULL), method, path)
    assert answer.error == (401, "UNAUTHORIZED")
    challenge = _challenge(answer)
    assert challenge["error"] == "insufficient_scope"
    assert (await tokens.use(await tokens.token(challenge["scope"]), method, path)).status != 401


async def test_several_scopes(tokens: Tokens) -> None:
    """They may be repeated, or stand in one parameter."""
    for scopes in ([PULL, "registry:catalog:*"], [f"{PULL} registry:catalog:*"]):
        token = await tokens.token(*scopes)
        assert (await tokens.use(token, "GET", "/v2/_catalog")).status == 200
        assert (await tokens.use(token, "GET", "/v2/a/b/tags/list")).status == 404


async def test_expiry(tokens: Tokens) -> None:
    """A token is good until its lifetime is over, to a fraction of a second."""
    token = await tokens.token(PULL)
    tokens.clock.now += LIFETIME - 0.1
    assert (await tokens.use(token, "GET", "/v2/")).status == 200
    tokens.clock.now += 0.1
    answer = await tokens.use(token, "GET", "/v2/")
    assert (answer.status, _challenge(answer)["error"]) == (401, "invalid_token")


def _forge(**changes: Any) -> str:
    claims = {"iss": "oci_distribution.testing", "sub": "ann", "exp": 9e9, "access": []} | changes
    return jwt.encode(claims, "k" * 32, "HS256")


def _unsigned() -> str:
    parts = [
        {"alg": "none", "typ": "JWT"},
        {"iss": "oci_distribution.testing", "sub": "ann", "exp": 9e9, "access": []},
    ]
    return (
        ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts) + "."
    )


@pytest.mark.parametrize("token", ["", "x", "a.b.c", _forge(), _unsigned(), "ä"])
async def test_invalid_token(tokens: Tokens, token: str) -> None:
    """What we did not sign is worth nothing."""
    answer = await tokens.use(token, "GET", "/v2/")
    assert (answer.status, _challenge(answer)["error"]) == (401, "invalid_token")


async def test_tokens_of_another_server(tokens: Tokens, make_remote: type[Remote]) -> None:
    """Each server signs with a key of its own."""
    async with (
        serve_registry(auth=TokenAuth({"ann": "secret"})) as other,
        aiohttp.ClientSession(other.url) as session,
    ):
        elsewhere = Tokens(make_remote(session, other), tokens.auth, tokens.clock)
        assert (await elsewhere.use(await tokens.token(), "GET", "/v2/")).status == 401


async def test_basic_credentials_are_for_the_token_server(tokens: Tokens) -> None:
    """The registry itself does not take them."""
    headers = {"Authorization": "Basic " + base64.b64encode(b"ann:secret").decode()}
    answer = await tokens.remote.ask("GET", "/v2/", headers=headers)
    assert answer.status == 401
    assert _challenge(answer)


@pytest.mark.parametrize("user", [None, "ann:wrong", "nobody:secret", ":"])
async def test_token_server_refuses(tokens: Tokens, user: str | None) -> None:
    """Wrong credentials, or none, get no token."""
    answer = await tokens.get(PULL, user=user)
    assert answer.error == (401, "UNAUTHORIZED")
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    assert tokens.auth.tokens_issued == 0


@with_anonymous
async def test_anonymous_pull(tokens: Tokens) -> None:
    """Without credentials there is a token to pull, and nothing else."""
    token = await tokens.token(PUSH, "registry:catalog:*", user=None)
    assert (await tokens.use(token, "GET", "/v2/a/b/tags/list")).status == 404
    for method, path in [("PUT", "/v2/a/b/manifests/v1"), ("GET", "/v2/_catalog")]:
        answer = await tokens.use(token, method, path)
        assert (answer.status, _challenge(answer)["error"]) == (401, "insufficient_scope")
    assert (await tokens.remote.ask("GET", "/v2/")).status == 401
    assert (await tokens.get(PULL, user="ann:wrong")).status == 401
    assert "refresh_token" not in (await tokens.get(PULL, user=None, offline_token="true")).json


async def test_user_who_never_may(tokens: Tokens) -> None:
    """The token grants what the user may do; for the rest there is no use in asking again: DENIED."""
    answer = await tokens.get(PUSH, user="bob:x")
    assert answer.json["scope"] == PULL
    token = answer.json["token"]
    assert (await tokens.use(token, "GET", "/v2/a/b/tags/list")).status == 404
    assert (await tokens.use(token, "PUT", "/v2/a/b/manifests/v1")).error == (403, "DENIED")
    assert (await tokens.use(token, "GET", "/v2/a/c/tags/list")).status == 401


@pytest.mark.parametrize(
    "scope", ["", "nonsense", "repository:a/b", "repository:a/b:", "repository:a/b:fly", ":::"]
)
async def test_strange_scope_grants_nothing(tokens: Tokens, scope: str) -> None:
    """What is no scope is left out, as the protocol has it."""
    token = await tokens.token(scope)
    assert (await tokens.use(token, "GET", "/v2/")).status == 200
    assert (await tokens.use(token, "GET", "/v2/a/b/tags/list")).status == 401


async def test_oauth2_password(tokens: Tokens) -> None:
    """POST with a password gets a token, and a refresh token where it is asked for."""
    form = {
        "grant_type": "password",
        "username": "ann",
        "password": "secret",
        "service": "x",
        "client_id": "c",
    }
    plain = await tokens.post(**form, scope=PUSH)
    assert plain.status == 200
    assert "refresh_token" not in plain.json
    assert (await tokens.use(plain.json["access_token"], "POST", "/v2/a/b/blobs/uploads/")).status == 202
    assert "refresh_token" in (await tokens.post(**form, access_type="offline")).json


@pytest.mark.parametrize("how", ["get", "post"])
async def test_refresh_token(tokens: Tokens, how: str) -> None:
    """A refresh token gets access tokens, until it is revoked."""
    if how == "get":
        first = await tokens.get(PULL, offline_token="true")
    else:
        first = await tokens.post(
            grant_type="password", username="ann", password="secret", access_type="offline"
        )
    refresh = first.json["refresh_token"]
    form = {"grant_type": "refresh_token", "refresh_token": refresh, "service": "x", "scope": PUSH}
    second = await tokens.post(**form)
    assert second.json["refresh_token"] == refresh
    assert (await tokens.use(second.json["access_token"], "POST", "/v2/a/b/blobs/uploads/")).status == 202
    assert (await tokens.use(refresh, "GET", "/v2/")).status == 401
    tokens.auth.revoke_refresh_tokens()
    assert (await tokens.post(**form)).json["error"] == "invalid_grant"


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"grant_type": "password", "username": "ann", "password": "wrong"}, "invalid_grant"),
        ({"grant_type": "password"}, "invalid_grant"),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, "invalid_grant"),
        ({"grant_type": "refresh_token"}, "invalid_grant"),
        ({"grant_type": "magic"}, "unsupported_grant_type"),
        ({"x": "y"}, "invalid_request"),
        (b"", "invalid_request"),
        (b"\xff\xfe", "invalid_request"),
        (b"a=b&" * 60 + b"a=b", "invalid_request"),
        (b"a=" + b"x" * 100_000, "invalid_request"),
    ],
)
async def test_oauth2_refuses(tokens: Tokens, form: Any, error: str) -> None:
    """Errors are those of RFC 6749."""
    answer = await tokens.remote.ask("POST", "/token", data=form)
    assert (answer.status, answer.json["error"]) == (400, error)
    assert tokens.auth.tokens_issued == 0


async def test_other_methods(tokens: Tokens) -> None:
    """A token is had by GET and POST only."""
    answer = await tokens.remote.ask("PUT", "/token")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, POST")


async def test_mount_needs_a_token_for_the_source(tokens: Tokens) -> None:
    """Mounting needs pull on the source; a token without it is asked to be one for both."""
    tokens.remote.http.headers["Authorization"] = f"Bearer {await tokens.token(PUSH)}"
    digest = (await tokens.remote.push_blob("a/b", b"data"))["digest"]
    path = f"/v2/c/blobs/uploads/?mount={digest}&from=a/b"
    target = "repository:c:pull,push"
    refused = await tokens.use(await tokens.token(target), "POST", path)
    assert refused.status == 401
    assert _challenge(refused)["scope"] == f"{target} {PULL}"
    assert (await tokens.use(await tokens.token(target, PULL), "POST", path)).status == 201


async def test_mount_from_wherever_it_is_goes_by_the_user(tokens: Tokens) -> None:
    """Without `from` no token can name the source: the blob is there if its user may read it."""
    tokens.remote.http.headers["Authorization"] = f"Bearer {await tokens.token(PUSH)}"
    digest = (await tokens.remote.push_blob("a/b", b"data"))["digest"]
    token = await tokens.token("repository:c:pull,push")
    assert (await tokens.use(token, "POST", f"/v2/c/blobs/uploads/?mount={digest}")).status == 201


async def test_secrets_are_in_no_record(tokens: Tokens) -> None:
    """Neither password nor token."""
    token = await tokens.token(PULL)
    await tokens.use(token, "GET", "/v2/")
    text = "".join(f"{request!r}" for request in tokens.remote.registry.requests)
    assert token not in text
    assert base64.b64encode(b"ann:secret").decode() not in text


async def test_registry_reached_by_another_name(tokens: Tokens) -> None:
    """The challenge names the host that the client used, so that it can get there."""
    registry: RunningRegistry = tokens.remote.registry
    port = URL(registry.url).port
    answer = await tokens.remote.ask("GET", f"http://localhost:{port}/v2/")
    assert _challenge(answer)["realm"] == f"http://localhost:{port}/token"
