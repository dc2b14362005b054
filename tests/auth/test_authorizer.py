"""The authorizer among many tasks, with credentials that cannot be sent, and with a long memory."""

from __future__ import annotations

import time
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from oci_distribution.auth.authorizer import Authorizer, TokenResponse
from oci_distribution.auth.cache import CAPACITY, MemoryChallengeCache, MemoryTokenCache, Token, TokenKey
from oci_distribution.auth.credentials import ANONYMOUS, Credential
from oci_distribution.auth.wanted_scopes import MAX_SCOPE
from oci_distribution.errors import CredentialError, ForbiddenOrigin, OCIError, TokenError
from tests.auth.scripted import ANN, BEARER, NAME, ORIGIN, PULL, Clock, Provider, Tokens, answer, query

BASIC = 'Basic realm="registry"'


class OwnTokenCache:
    """A user's cache, which suspends as one over a network does."""

    def __init__(self) -> None:
        self.tokens: dict[TokenKey, Token] = {}

    async def get(self, key: TokenKey) -> Token | None:
        await anyio.lowlevel.checkpoint()
        return self.tokens.get(key)

    async def set(self, key: TokenKey, token: Token) -> None:
        await anyio.lowlevel.checkpoint()
        self.tokens[key] = token

    async def discard(self, key: TokenKey) -> None:
        await anyio.lowlevel.checkpoint()
        self.tokens.pop(key, None)


# Many at once


async def test_many_that_need_a_token_share_one_request() -> None:
    """Tasks that are refused together ask the token server once, and the provider once."""
    tokens, provider = Tokens(), Provider(ANN)
    authorizer = Authorizer(provider, fetch=tokens, token_cache=OwnTokenCache())
    values: list[str | None] = []

    async def one() -> None:
        values.append(await authorizer.answer(ORIGIN, NAME, PULL, [BEARER], None))

    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(one)
    assert values == ["Bearer token-1"] * 50
    assert (len(tokens.requests), len(provider.asked)) == (1, 1)


@pytest.mark.parametrize("cache", [MemoryTokenCache, OwnTokenCache])
async def test_many_refusals_of_one_token_fetch_one(cache: Any) -> None:
    """Tasks whose common token ended share the next one, those that come late included."""
    tokens = Tokens()
    authorizer = Authorizer(Provider(), fetch=tokens, token_cache=cache())
    sent = await authorizer.answer(ORIGIN, NAME, PULL, [BEARER], None)
    values: list[str | None] = []

    async def one() -> None:
        values.append(await authorizer.answer(ORIGIN, NAME, PULL, [BEARER], sent))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(one)
    await one()
    assert values == ["Bearer token-2"] * 21


async def test_who_waits_does_not_fail_because_the_first_is_cancelled() -> None:
    """When the task that fetches is cancelled, one of those that wait fetches for the others."""
    tokens = Tokens()
    tokens.gate = anyio.Event()
    authorizer = Authorizer(Provider(), fetch=tokens)
    values: list[str | None] = []
    leader = anyio.CancelScope()

    async def one() -> None:
        values.append(await authorizer.answer(ORIGIN, NAME, PULL, [BEARER], None))

    async def first() -> None:
        with leader:
            await one()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first)
        await tokens.asked.wait()
        for _ in range(3):
            tasks.start_soon(one)
        await anyio.wait_all_tasks_blocked()
        leader.cancel()
        await anyio.wait_all_tasks_blocked()
        tokens.gate.set()
    assert values == ["Bearer token-2"] * 3
    assert len(tokens.requests) == 2


async def test_who_waits_fails_with_the_first() -> None:
    """When the fetch fails all who wait fail, each with an error of its own; the next task tries again."""
    failing = True
    tokens = Tokens(lambda request: TokenResponse(503, {}, b"") if failing else None)
    tokens.gate = anyio.Event()
    authorizer = Authorizer(Provider(), fetch=tokens)
    errors: list[OCIError] = []

    async def one() -> None:
        with pytest.raises(TokenError) as caught:
            await authorizer.answer(ORIGIN, NAME, PULL, [BEARER], None)
        errors.append(caught.value)

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(one)
        await anyio.wait_all_tasks_blocked()
        tokens.gate.set()
    assert len(tokens.requests) == 1
    assert len({id(error) for error in errors}) == 3
    assert {error.status for error in errors} == {503}
    failing = False
    assert await authorizer.answer(ORIGIN, NAME, PULL, [BEARER], None) == "Bearer token-2"


# Credentials


async def test_a_broken_credential_file_is_said_before_any_request() -> None:
    """The provider is asked before the first request goes out, so that its error comes first, each time."""

    async def broken(host: str, repository: str | None) -> Credential:
        raise CredentialError("config.json is no credential file")

    authorizer = Authorizer(broken, fetch=Tokens())
    for _ in range(2):
        with pytest.raises(CredentialError):
            await authorizer.authorize(ORIGIN, NAME, PULL)


async def test_the_provider_is_asked_once_for_both_sides_of_a_challenge() -> None:
    """What was learnt before the first request serves after its 401: a helper costs a process."""
    provider = Provider(ANN)
    authorizer = Authorizer(provider, fetch=Tokens())
    await authorizer.authorize(ORIGIN, NAME, PULL)
    await authorizer.answer(ORIGIN, NAME, PULL, [BEARER], None)
    assert provider.asked == [(NAME, "team/app")]


async def test_a_login_after_a_refusal_counts_at_once() -> None:
    """After the token server refused us the provider is asked again for the next request."""
    provider = Provider(Credential("ann", "wrong"))
    tokens = Tokens(lambda request: TokenResponse(401, {}, b"") if len(tokens.requests) == 1 else None)
    authorizer = Authorizer(provider, fetch=tokens)
    with pytest.raises(TokenError):
        await authorizer.answer(ORIGIN, NAME, PULL, [BEARER], None)
    provider.credential = ANN
    assert await authorizer.answer(ORIGIN, NAME, PULL, [BEARER], None) == "Bearer token-2"
    assert tokens.requests[0].headers != tokens.requests[1].headers


@pytest.mark.parametrize(
    "credential",
    [
        Credential(registry_token="s3cr3t\r\nX: y"),
        Credential(registry_token="s3cr3tü"),
        Credential("me", "s3cr3t\ud800"),
        Credential(identity_token="s3cr3t\ud800"),
    ],
)
@pytest.mark.parametrize("challenge", [BASIC, BEARER])
async def test_a_credential_that_cannot_be_sent_is_an_error_without_it(
    challenge: str, credential: Credential
) -> None:
    """What would break a header, or is no Unicode, is refused here: others would quote it."""
    authorizer = Authorizer(Provider(credential), fetch=Tokens())
    with pytest.raises(CredentialError) as caught:
        await authorizer.answer(ORIGIN, NAME, PULL, [challenge], None)
    assert "s3cr3t" not in repr(caught.value) + repr(caught.value.__cause__) + repr(caught.value.__context__)


async def test_caches_that_are_shared_serve_each_identity_its_own() -> None:
    """Two clients over one cache, one with a wrong password: it does not get the token of the other."""
    caches: dict[str, Any] = {"challenge_cache": MemoryChallengeCache(), "token_cache": MemoryTokenCache()}
    tokens = Tokens()
    values: list[str | None] = []
    nameless = Credential(identity_token="i"), Credential(identity_token="j")
    for credential in (ANN, Credential("ann", "wrong"), ANONYMOUS, *nameless, ANN):
        authorizer = Authorizer(Provider(credential), fetch=tokens, **caches)
        values.append(await authorizer.answer(ORIGIN, NAME, PULL, [BEARER], None))
    assert len(set(values)) == 5
    assert values[0] == values[-1]


# What a challenge may do


async def test_a_token_for_what_a_challenge_named_serves_no_other_request() -> None:
    """Requests without a scope of their own do not share what the registry named for one of them."""
    authorizer = Authorizer(Provider(), fetch=Tokens())
    challenge = f'{BEARER},scope="{PULL}"'
    assert await authorizer.answer(ORIGIN, NAME, "", [challenge], None) == "Bearer token-1"
    assert await authorizer.authorize(ORIGIN, NAME, "") == "Bearer token-2"


async def test_a_bearer_challenge_from_nowhere_leaves_basic() -> None:
    """Of two challenges the one that can be answered is; a lone Bearer without a realm is an error."""
    authorizer = Authorizer(Provider(ANN), fetch=Tokens())
    value = await authorizer.answer(ORIGIN, NAME, PULL, ["Bearer", BASIC], None)
    assert value is not None
    assert value.startswith("Basic ")
    with pytest.raises(TokenError):
        await authorizer.answer(ORIGIN, NAME, PULL, ["Bearer"], None)


async def test_a_scope_of_any_length_is_not_taken_in() -> None:
    """A challenge that names more than a screenful names nothing."""
    tokens = Tokens()
    scope = "repository:" + "a" * MAX_SCOPE + ":pull"
    challenge = f'{BEARER},scope="{scope}",error="insufficient_scope"'
    authorizer = Authorizer(Provider(), fetch=tokens)
    await authorizer.answer(ORIGIN, NAME, PULL, [challenge], None)
    assert [value for name, value in query(tokens.requests[0]) if name == "scope"] == [PULL]


@pytest.mark.parametrize(
    "realm",
    [
        "https://localhost./t",
        "https://x.localhost/t",
        "https://[fe80::1]/t",
        "https://[::ffff:10.0.0.1]/t",
        "https://0/t",
        "https://2130706433/t",
        "https://0x7f.1/t",
        "https://registry.example@evil.example/t",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https:///t",
        "https://auth.example:99999/t",
        "https://auth.example /t",
        "https://auth.example\\\\@evil.example/t",
        "https://①27.0.0.1/t",
        "https://[::1/t",
    ],
)
async def test_a_realm_in_disguise_is_refused(realm: str) -> None:
    """Our own network is that however it is spelled, and what can be read in two ways is nowhere."""
    tokens = Tokens()
    authorizer = Authorizer(Provider(ANN), fetch=tokens)
    for _ in range(2):
        with pytest.raises((ForbiddenOrigin, TokenError)) as caught:
            await authorizer.answer(ORIGIN, NAME, PULL, [f'Bearer realm="{realm}"'], None)
        assert caught.value.registry == NAME
    assert tokens.requests == []


@pytest.mark.parametrize("length", [100_000, 2 << 20])
async def test_a_token_of_any_length_is_not_kept(length: int) -> None:
    """A token that no registry would take as a header is refused."""
    tokens = Tokens(lambda request: answer(token="x" * length))
    with pytest.raises(TokenError):
        await Authorizer(Provider(), fetch=tokens).answer(ORIGIN, NAME, PULL, [BEARER], None)


# Memory and time


async def test_what_is_remembered_is_bounded() -> None:
    """However many repositories are asked for, only the last ones are kept, wherever that is."""
    authorizer = Authorizer(Provider(ANN), fetch=Tokens())
    scopes = [f"repository:r{number}:pull" for number in range(CAPACITY + 10)]
    for scope in scopes:
        wider = f'{BEARER},scope="{PULL}",error="insufficient_scope"'
        await authorizer.answer(ORIGIN, NAME, scope, [wider], None)
    holders = [getattr(authorizer, name) for name in authorizer.__slots__]
    sizes = [len(vars(holder)["_items"]) for holder in holders if "_items" in getattr(holder, "__dict__", {})]
    assert len(sizes) >= 3
    assert max(sizes) == CAPACITY


async def test_a_warm_request_costs_microseconds() -> None:
    """With a token at hand it takes a look-up (the bound is ten times what it takes)."""
    authorizer = Authorizer(Provider(), fetch=Tokens(), clock=Clock())
    await authorizer.answer(ORIGIN, NAME, PULL, [BEARER], None)
    began = time.process_time()
    for _ in range(1000):
        await authorizer.authorize(ORIGIN, NAME, PULL)
    assert time.process_time() - began < 0.05
