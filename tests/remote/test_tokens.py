"""Tokens on the wire: how many are asked for, when they are renewed, and who never gets to see one."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest
from starlette.requests import Request

import oci_distribution as oci
from oci_distribution.testing import BasicAuth, RunningRegistry, TokenAuth, serve_registry
from oci_distribution.testing.auth import Access
from tests.auth.scripted import Clock
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
