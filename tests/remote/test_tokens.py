"""Tokens on the wire: how many are asked for, when they are renewed, and who never gets to see one."""

from __future__ import annotations

import base64
import json
import logging
import os
import pickle
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import httpx
import pytest
from starlette.requests import Request

import oci_distribution as oci
from oci_distribution.testing import BasicAuth, RunningRegistry, TokenAuth, User, serve_registry
from oci_distribution.testing.auth import Access
from oci_distribution.transport import authorization
from tests.auth.scripted import Clock
from tests.hostile import Exchange, hostile
from tests.images import push_image

ANN = oci.Credential(username="ann", password="secret")


async def ann(host: str, repository: str | None) -> oci.Credential:
    return ANN


@asynccontextmanager
async def clocked(lifetime: float) -> AsyncGenerator[tuple[RunningRegistry, oci.Client, TokenAuth, Clock]]:
    """A registry whose tokens live for `lifetime` on a clock that stands, and a client with the same clock."""
    clock = Clock()
    auth = TokenAuth({"ann": "secret"}, token_lifetime=lifetime, clock=clock)
    async with (
        serve_registry(auth=auth) as registry,
        oci.Client(auth_provider=ann, slots=oci.Slots(uploads=1)) as client,
    ):
        sender = client._sender
        sender.authorizer = oci.Authorizer(ann, fetch=sender.fetch_token, clock=clock)
        yield registry, client, auth, clock


def statuses(registry: RunningRegistry, method: str) -> list[int | None]:
    return [request.status for request in registry.requests if request.method == method]


async def test_sixty_tokens_for_one_upload() -> None:
    """Its token ends before each chunk: each is sent once, with a token that is good."""
    async with clocked(10) as (registry, client, auth, clock):
        writer = client.registry(registry.url).repository("a").blobs.writer(chunk_size=4)
        async with writer:
            for number in range(60):
                clock.now += 11
                await writer.write(b"%04d" % number)
            blob = await writer.commit()
        assert (blob.digest, blob.size) == (oci.Digest.of(b"".join(b"%04d" % n for n in range(60))), 240)
        assert statuses(registry, "PATCH") == [202] * 60
        assert auth.tokens_issued == 61


async def test_sixty_tokens_that_end_before_their_time() -> None:
    """A registry that ends its tokens early gets each chunk again, with another one."""
    async with clocked(10) as (registry, client, auth, clock):
        sender = client._sender
        sender.authorizer = oci.Authorizer(ann, fetch=sender.fetch_token)
        async with client.registry(registry.url).repository("a").blobs.writer(chunk_size=4) as writer:
            for number in range(60):
                clock.now += 11
                await writer.write(b"%04d" % number)
            assert (await writer.commit()).size == 240
        assert statuses(registry, "PATCH") == [401, 202] * 60
        assert auth.tokens_issued == 61


class Held:
    """A source that stands still after its first byte, until it is told to go on."""

    size = 2

    def __init__(self) -> None:
        self.began, self.go_on = anyio.Event(), anyio.Event()

    @asynccontextmanager
    async def open(self, offset: int = 0) -> AsyncGenerator[AsyncIterator[bytes]]:
        yield self._pieces()

    async def _pieces(self) -> AsyncGenerator[bytes]:
        yield b"a"
        self.began.set()
        await self.go_on.wait()
        yield b"b"


async def test_a_body_that_waited_for_its_slot_has_a_token_that_lasts() -> None:
    """Two streams share one slot: while one is sent, the token of the other ends."""
    async with clocked(10) as (registry, client, auth, clock):
        repo = client.registry(registry.url).repository("a")
        one, other = Held(), Held()
        blob = oci.Descriptor(media_type=oci.MediaType.OCTET_STREAM, digest=oci.Digest.of(b"ab"), size=2)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(repo.push_blob, blob, one)
            await one.began.wait()
            tasks.start_soon(client.registry(registry.url).repository("b").push_blob, blob, other)
            while statuses(registry, "POST") != [202, 202]:
                await anyio.lowlevel.checkpoint()
            await anyio.wait_all_tasks_blocked()
            clock.now += 8  # less than half of its life is left
            issued = auth.tokens_issued
            one.go_on.set()
            await other.began.wait()
            assert auth.tokens_issued == issued + 1
            other.go_on.set()
        assert statuses(registry, "PUT") == [201, 201]


@pytest.mark.parametrize(("repositories", "tokens"), [(1, 1), (2, 2)])
async def test_many_first_requests_cost_one_token_for_each_repository(repositories: int, tokens: int) -> None:
    """Two hundred tasks that know nothing yet ask the token server once for each scope."""
    auth = TokenAuth({"ann": "secret"})
    async with serve_registry(auth=auth) as registry, oci.Client(auth_provider=ann) as client:

        async def ask(number: int) -> None:
            repo = client.registry(registry.url).repository(f"team/app-{number % repositories}")
            with pytest.raises(oci.NotFound):
                await repo.manifests.get("v1")

        async with anyio.create_task_group() as tasks:
            for number in range(200):
                tasks.start_soon(ask, number)
        assert auth.tokens_issued == tokens


async def test_tokens_outlive_the_client_but_not_the_registrys_memory(tmp_path: Path) -> None:
    """The next client needs no token; a registry that has another key by now costs one, and no error."""
    auth = TokenAuth({"ann": "secret"})
    async with serve_registry(auth=auth) as registry:
        for issued in (1, 1, 2, 2):
            if auth.tokens_issued < issued:
                auth._key = os.urandom(32)
            cache = oci.FileTokenCache(tmp_path / "tokens.json")
            async with oci.Client(auth_provider=ann, token_cache=cache) as client:
                with pytest.raises(oci.NotFound):
                    await client.registry(registry.url).get_manifest("a", "v1")
            assert auth.tokens_issued == issued


def asked_for_tokens(registry: RunningRegistry) -> list[tuple[str, int | None]]:
    return [(request.method, request.status) for request in registry.requests if request.path == "/token"]


async def test_passwords_and_refresh_tokens_go_as_forms_when_wanted() -> None:
    """One login is one use of the password; a refresh token that is worth nothing any more costs one more."""
    auth = TokenAuth({"ann": "secret"})
    options = oci.TokenOptions(force_oauth2=True, offline_token=True)
    async with (
        serve_registry(auth=auth) as registry,
        oci.Client(auth_provider=ann, token_options=options) as client,
    ):

        async def ask(name: str) -> None:
            with pytest.raises(oci.NotFound):
                await client.registry(registry.url).get_manifest(name, "v1")

        await ask("one")
        await ask("two")
        assert len(auth._refresh_tokens) == 1
        auth.revoke_refresh_tokens()
        await ask("three")
        assert len(auth._refresh_tokens) == 1
        posts = [("POST", 200), ("POST", 200), ("POST", 400), ("POST", 200)]
        assert asked_for_tokens(registry) == posts


@pytest.mark.parametrize(
    ("caches", "statuses_of_two"),
    [
        ({"challenge_cache": None}, [401, 200, 200, 401, 200]),
        ({"token_cache": None}, [401, 200, 200, 200, 200]),
        ({"challenge_cache": None, "token_cache": None}, [401, 200, 200, 401, 200, 200]),
    ],
)
async def test_what_is_not_remembered_is_asked_for(
    caches: dict[str, None], statuses_of_two: list[int]
) -> None:
    """Without its cache a challenge or a token costs a request each time, and nothing fails."""
    async with (
        serve_registry(auth=TokenAuth({"ann": "secret"})) as registry,
        oci.Client(auth_provider=ann, **caches) as client,  # type: ignore[arg-type]
    ):
        for _ in range(2):
            await client.registry(registry.url).ping()
        assert statuses(registry, "GET") == statuses_of_two


# Refusals


def stubborn(grant: Callable[[Exchange], bool] = lambda _: True) -> Callable[[Exchange], Awaitable[None]]:
    """A registry that makes tokens, and lets nobody in with them."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        if exchange.target.startswith("/token"):
            await exchange.answer(200 if grant(exchange) else 403, b'{"token": "t"}')
        else:
            body = b'{"errors": [{"code": "UNAUTHORIZED", "message": "not you"}]}'
            await exchange.answer(401, body, [("WWW-Authenticate", 'Bearer realm="/token"')])

    return script


@pytest.mark.parametrize(
    ("credential", "error"), [(ANN, oci.Denied), (oci.Credential(), oci.Unauthorized)], ids=["ann", "nobody"]
)
@pytest.mark.parametrize("operation", ["get_manifest", "stat_manifest"])
async def test_a_new_token_that_is_refused_is_final(
    credential: oci.Credential, error: type[oci.ResponseError], operation: str
) -> None:
    """Whoever the token server knows is denied, after one more request; nobody may still log in."""

    async def provider(host: str, repository: str | None) -> oci.Credential:
        return credential

    async with hostile(stubborn()) as server, oci.Client(auth_provider=provider) as client:
        with pytest.raises(error, match="not you" if operation == "get_manifest" else None) as caught:
            await getattr(client.registry(server.url), operation)("a", "v1")
        assert type(caught.value) is error
        assert caught.value.status == 401
        assert [exchange.target for exchange in server.requests].count("/v2/a/manifests/v1") == 2
        assert len(server.requests) == 3


async def test_a_forbidden_request_is_not_authorised_anew() -> None:
    """403 is final: no token is asked for, and nothing is sent again."""
    auth = TokenAuth({"ann": User("secret", {"mine": {"pull", "push"}})})
    async with serve_registry(auth=auth) as registry, oci.Client(auth_provider=ann) as client:
        with pytest.raises(oci.Denied) as caught:
            await client.registry(registry.url).get_manifest("other", "v1")
        assert caught.value.status == 403
        assert (auth.tokens_issued, statuses(registry, "GET")) == (1, [401, 200, 403])


async def test_a_mount_goes_on_without_what_the_token_server_refuses() -> None:
    """The union is refused once for a pair of repositories; each mount is then asked for with less."""

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        if exchange.target.startswith("/token"):
            await exchange.answer(403 if "secret" in exchange.target else 200, b'{"token": "t"}')
        elif exchange.header("Authorization") is None:
            await exchange.answer(401, b"", [("WWW-Authenticate", 'Bearer realm="/token"')])
        else:
            await exchange.answer(202, b"", [("Location", "/v2/a/blobs/uploads/1")])

    async with hostile(script) as server, oci.Client(auth_provider=ann) as client:
        for _ in range(2):
            assert not await client.registry(server.url).mount_blob("a", oci.Digest.of(b""), "secret")
        tokens = [exchange.target for exchange in server.requests if exchange.target.startswith("/token")]
        assert ["secret" in target for target in tokens] == [True, False]


# Directly


BY_HAND = {"Authorization": "Basic YW5uOnNlY3JldA=="}


async def test_under_direct_requests_nobody_is_authorised() -> None:
    """Not our requests, nor those by hand, nor those of tasks; whether the scheme is ours or the user's."""
    for options in ({"auth_provider": ann}, {"auth": httpx.BasicAuth("ann", "secret")}, {"headers": BY_HAND}):
        async with (
            serve_registry(auth=oci_auth()) as registry,
            oci.Client(**options) as client,
        ):
            await client.registry(registry.url).ping()
            registry.requests.clear()
            with oci.direct_requests():
                assert (await client.http.get(f"{registry.url}/v2/")).status_code == 401
                request = client.http.build_request("GET", f"{registry.url}/v2/")
                assert (await client.send(request)).status_code == 401
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(refused, client.registry(registry.url))
            assert all("authorization" not in request.headers for request in registry.requests)
            assert len(registry.requests) == 3
            await client.registry(registry.url).ping()


def oci_auth() -> BasicAuth:
    return BasicAuth({"ann": "secret"})


async def refused(registry: oci.Registry) -> None:
    with pytest.raises(oci.Unauthorized):
        await registry.ping()


# Secrets


CANARIES = ("canary-password", "canary-identity", "canary-access", "canary-refresh", "canary-registry")
BASIC_CANARY = base64.b64encode(f"me:{CANARIES[0]}".encode()).decode()
KNOWN = (
    oci.Credential("me", CANARIES[0]),
    oci.Credential(identity_token=CANARIES[1]),
    oci.Credential(registry_token=CANARIES[4]),
)


class Trusted:
    """A registry with a token server, which sends uploads, blobs and pages elsewhere."""

    def __init__(self, elsewhere: str, challenge: str) -> None:
        self.elsewhere, self.challenge = elsewhere, challenge

    async def __call__(self, exchange: Exchange) -> None:
        await exchange.read_body()
        if exchange.target.startswith("/token"):
            tokens = {"token": CANARIES[2], "access_token": CANARIES[2], "refresh_token": CANARIES[3]}
            await exchange.answer(200, json.dumps(tokens).encode())
        elif exchange.header("Authorization") is None:
            await exchange.answer(401, b"", [("WWW-Authenticate", self.challenge)])
        elif exchange.method == "POST":
            await exchange.answer(202, b"", [("Location", f"{self.elsewhere}/v2/a/blobs/uploads/1?state=s")])
        else:
            await exchange.answer(307, b"", [("Location", f"{self.elsewhere}{exchange.target}")])


async def attack(exchange: Exchange) -> None:
    """Be the attacker: challenge for everything, and name oneself as token server."""
    await exchange.read_body()
    own = f"http://{exchange.header('Host')}/token"
    await exchange.answer(401, b"", [("WWW-Authenticate", f'Bearer realm="{own}", Basic realm="x"')])


BEARER, BASIC = 'Bearer realm="/token",service="s"', 'Basic realm="x"'


@pytest.mark.parametrize(
    ("credential", "challenge"),
    [(KNOWN[0], BEARER), (KNOWN[0], BASIC), (KNOWN[1], BEARER), (KNOWN[2], BEARER)],
    ids=["password", "basic", "identity", "registry"],
)
async def test_no_secret_leaves_its_origin(
    credential: oci.Credential, challenge: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing of who we are is in any byte that another host gets, nor in what is logged, shown or pickled."""
    caplog.set_level(logging.DEBUG)
    async with hostile(attack) as attacker, hostile(Trusted(attacker.url, challenge)) as trusted:
        host = trusted.url.removeprefix("http://")
        errors: list[oci.OCIError] = []
        async with oci.Client(auth_provider=only_at(host, credential)) as client:
            registry = client.registry(trusted.url)
            for job in (
                lambda: registry.get_manifest("a", "v1"),
                lambda: registry.push_blob("a", b"x" * (1 << 20)),
                lambda: anext(aiter(registry.list_tags("a"))),
                lambda: client.registry(attacker.url).get_manifest("a", "v1"),
            ):
                with pytest.raises(oci.OCIError) as caught:
                    await job()
                errors.append(caught.value)
            assert not await registry.mount_blob("a", oci.Digest.of(b""), "b")
            shown = [repr(thing) for thing in (client, client._sender, client._sender.authorizer, registry)]
        sent = b"".join(exchange.head + exchange.body for exchange in attacker.requests)
        assert any(exchange.header("Authorization") for exchange in trusted.requests)
    assert len(attacker.requests) >= 4
    assert b"authorization" not in sent.lower()
    texts = [sent.decode(), caplog.text, *shown, *map(repr, errors), *map(str, errors)]
    texts += [pickle.dumps(error, 0).decode("latin-1") for error in errors]
    assert [word for word in (*CANARIES, BASIC_CANARY) for text in texts if word in text] == []


async def test_a_users_own_headers_are_for_registries() -> None:
    """A token server elsewhere gets none of them, but what the user calls us."""

    async def tokens(exchange: Exchange) -> None:
        await exchange.answer(200, b'{"token": "t"}')

    async with hostile(tokens) as token_server:

        async def script(exchange: Exchange) -> None:
            challenge = f'Bearer realm="{token_server.url}/token"'
            is_in = exchange.header("Authorization") == "Bearer t"
            await exchange.answer(200 if is_in else 401, b"", [("WWW-Authenticate", challenge)])

        headers = {"X-Secret": "canary", "User-Agent": "mine/1"}
        async with hostile(script) as server, oci.Client(auth_provider=ann, headers=headers) as client:
            await client.registry(server.url).ping()
            assert {exchange.header("X-Secret") for exchange in server.requests} == {"canary"}
    (asked,) = token_server.requests
    assert (asked.header("X-Secret"), asked.header("User-Agent")) == (None, "mine/1")


def only_at(wanted: str, credential: oci.Credential) -> oci.AuthProvider:
    async def provider(host: str, repository: str | None) -> oci.Credential:
        return credential if host == wanted else oci.Credential()

    return provider


class Watching(TokenAuth):
    """Keeps, of each request with a token, which repositories it is about and which its token names."""

    def __init__(self) -> None:
        super().__init__({"ann": "secret"})
        self.seen: list[tuple[set[str], set[str]]] = []

    def check(self, request: Request, wanted: Sequence[Access]) -> None:
        token = request.headers.get("authorization", "").partition(" ")[2]
        claims = self._claims(token) if token else None
        if claims is not None:
            needed = {access.resource.partition(":")[2] for access in wanted}
            self.seen.append((needed, {entry["name"] for entry in claims["access"]}))
        super().check(request, wanted)


async def test_tokens_do_not_cross_scopes() -> None:
    """No token names a repository that its request is not about, in whatever order they are used."""
    auth = Watching()
    async with serve_registry(auth=auth) as registry, oci.Client(auth_provider=ann) as client:
        here = client.registry(registry.url)
        one, two = (here.repository(name) for name in ("one", "two"))
        await push_image(one, tag="v1")
        await push_image(two, tag="v1")
        for repo in (one, two, one):
            await repo.manifests.get("v1")
            assert [tag async for tag in repo.tags.list()] == ["v1"]
            await here.ping()
    assert len(auth.seen) > 20
    assert [(needed, names) for needed, names in auth.seen if not names <= needed] == []
    assert {frozenset(names) for _, names in auth.seen} == {
        frozenset({"one"}),
        frozenset({"two"}),
        frozenset(),
    }


# Token servers that fail


Script = Callable[[Exchange], Awaitable[None]]


async def html(exchange: Exchange) -> None:
    await exchange.answer(
        200, b"<html>sign in to the wireless network</html>", [("Content-Type", "text/html")]
    )


async def missing(exchange: Exchange) -> None:
    body = b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "unknown"}]}'
    await exchange.answer(404, body)


async def broken(exchange: Exchange) -> None:
    await exchange.answer(200, b'{"token": "t', length=100)
    exchange.reset()


async def down(exchange: Exchange) -> None:
    await exchange.answer(503, b'{"errors": [{"code": "BLOB_UNKNOWN"}]}', [("Retry-After", "0")])


async def endless(exchange: Exchange) -> None:
    await exchange.answer(200, b"", length=1 << 40)
    await exchange.send_for_ever(b" " * 65536)


async def moved(exchange: Exchange) -> None:
    await exchange.answer(302, b"", [("Location", "http://127.0.0.1:1/token")])


@asynccontextmanager
async def served(script: Script) -> AsyncGenerator[tuple[str, str, list[Exchange]]]:
    """A registry, and a token server of another origin that runs `script`: their origins, and its requests."""
    async with hostile(script) as token_server:

        async def refuse(exchange: Exchange) -> None:
            challenge = f'Bearer realm="{token_server.url}/token"'
            await exchange.answer(401, b"", [("WWW-Authenticate", challenge)])

        async with hostile(refuse) as server:
            yield server.url, token_server.url, token_server.requests


@pytest.mark.parametrize(
    ("script", "error", "asked"),
    [
        (html, oci.TokenError, 1),
        (missing, oci.TokenError, 1),
        (broken, oci.BrokenAnswer, 2),
        (down, oci.TokenError, 2),
        (endless, oci.TokenError, 1),
        (moved, oci.TokenError, 1),
    ],
)
async def test_a_token_server_that_fails_is_named(
    script: Script, error: type[oci.RequestError], asked: int
) -> None:
    """What may pass is tried again, as elsewhere; the error never looks like the registry's."""
    retry = oci.RetryPolicy(attempts=2, base_delay=0.001)
    async with (
        served(script) as (registry, realm, requests),
        oci.Client(auth_provider=ann, retry=retry) as client,
    ):
        with pytest.raises(error, match=f"GET {realm}/token") as caught:
            await client.registry(registry).get_manifest("a", "v1")
        assert not isinstance(caught.value, oci.ResponseError | oci.NotFound)
        assert caught.value.registry == registry.removeprefix("http://")
        assert "secret" not in str(caught.value)
        assert len(requests) == asked


async def test_a_token_server_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of its answer must come in time, not only each byte."""
    monkeypatch.setattr(authorization, "TOKEN_TIMEOUT", 0.1)

    async def drip(exchange: Exchange) -> None:
        await exchange.answer(200, b"", length=1 << 20)
        await exchange.send(b" ")
        await exchange.hung_up()

    async with (
        served(drip) as (registry, realm, _),
        oci.Client(auth_provider=ann, retry=oci.RetryPolicy(attempts=1)) as client,
    ):
        with pytest.raises(oci.TimeoutExceeded, match=f"GET {realm}/token.*takes too long"):
            await client.registry(registry).get_manifest("a", "v1")


async def test_a_token_server_that_nobody_reaches_is_named() -> None:
    """A closed port of the token server is no closed port of the registry."""

    async def refuse(exchange: Exchange) -> None:
        await exchange.answer(401, b"", [("WWW-Authenticate", 'Bearer realm="http://127.0.0.1:1/token"')])

    async with (
        hostile(refuse) as server,
        oci.Client(auth_provider=ann, retry=oci.RetryPolicy(attempts=1)) as client,
    ):
        with pytest.raises(oci.ConnectError, match=r"GET http://127\.0\.0\.1:1/token"):
            await client.registry(server.url).get_manifest("a", "v1")


async def test_a_credential_that_ends_is_asked_for_again() -> None:
    """One that a cloud gives for minutes is renewed by asking the provider, and not kept for longer."""
    asked = 0

    async def cloud(host: str, repository: str | None) -> oci.Credential:
        nonlocal asked
        asked += 1
        return oci.Credential("ann", "secret", expires_at=time.time() - 1 if asked < 3 else None)

    async with (
        serve_registry(auth=BasicAuth({"ann": "secret"})) as registry,
        oci.Client(auth_provider=cloud) as client,
    ):
        for _ in range(5):
            await client.registry(registry.url).ping()
        assert asked == 3
