"""What a request goes better with is asked for, and given up where it is refused; what lasts is renewed first."""

from __future__ import annotations

from typing import Any

import pytest

from oci_distribution.auth.authorizer import Authorizer, TokenRequest, TokenResponse
from oci_distribution.auth.credentials import ANONYMOUS, Credential
from oci_distribution.auth.wanted_scopes import REFUSED_LIFETIME
from oci_distribution.errors import TokenError
from tests.auth.scripted import (
    ANN,
    BEARER,
    NAME,
    ORIGIN,
    PULL,
    PUSH,
    Clock,
    Provider,
    Tokens,
    answer,
    query,
)

BASE = "repository:base:pull"
WIDER = f'{BEARER},error="insufficient_scope",scope="{PUSH},delete {BASE}"'


def scopes(tokens: Tokens) -> list[list[str]]:
    return [[value for name, value in query(request) if name == "scope"] for request in tokens.requests]


def refusing(status: int, *, also_required: bool = False) -> Tokens:
    """A token server that refuses every scope with the other repository in it."""

    def script(request: TokenRequest) -> TokenResponse | None:
        is_refused = also_required or ("scope", BASE) in query(request)
        return TokenResponse(status, {}, b"") if is_refused else None

    return Tokens(script)


async def ask(authorizer: Authorizer, sent: str | None = None, *, again: bool = False) -> str | None:
    return await authorizer.answer(ORIGIN, NAME, PUSH, [BEARER], sent, desired=BASE, again=again)


async def test_what_is_desired_is_asked_for() -> None:
    """The repository that is written to comes first: some registries look only at the first."""
    tokens = Tokens()
    await ask(Authorizer(Provider(ANN), fetch=tokens))
    assert scopes(tokens) == [[PUSH, BASE]]


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_a_refused_union_is_narrowed_to_what_is_required(status: int) -> None:
    """The token server that refuses both at once is asked for one, and not asked for both again."""
    tokens, clock = refusing(status), Clock()
    authorizer = Authorizer(Provider(ANN), fetch=tokens, clock=clock)
    assert await ask(authorizer) == "Bearer token-2"
    assert await authorizer.authorize(ORIGIN, NAME, PUSH, desired=BASE) == "Bearer token-2"
    clock.now += REFUSED_LIFETIME - 1
    assert await authorizer.authorize(ORIGIN, NAME, PUSH, desired=BASE) == "Bearer token-3"
    assert scopes(tokens) == [[PUSH, BASE], [PUSH], [PUSH]]


async def test_what_was_refused_is_tried_again_after_a_while() -> None:
    """Somebody may have been let in."""
    tokens, clock = refusing(403), Clock()
    authorizer = Authorizer(Provider(ANN), fetch=tokens, clock=clock)
    await ask(authorizer)
    clock.now += REFUSED_LIFETIME
    await authorizer.authorize(ORIGIN, NAME, PUSH, desired=BASE)
    assert scopes(tokens) == [[PUSH, BASE], [PUSH], [PUSH, BASE], [PUSH]]


async def test_a_refusal_of_one_source_says_nothing_of_another() -> None:
    """Only this pair of repositories is remembered."""
    tokens = refusing(403)
    authorizer = Authorizer(Provider(ANN), fetch=tokens)
    await ask(authorizer)
    await authorizer.authorize(ORIGIN, NAME, PUSH, desired="repository:other:pull")
    assert scopes(tokens)[-1] == [PUSH, "repository:other:pull"]


async def test_a_token_server_that_refuses_both_is_an_error() -> None:
    """A wrong password is not taken for a scope that is too wide."""
    tokens = refusing(401, also_required=True)
    authorizer = Authorizer(Provider(ANN), fetch=tokens)
    for _ in range(2):
        with pytest.raises(TokenError, match="refused"):
            await ask(authorizer)
    assert scopes(tokens) == [[PUSH, BASE], [PUSH]] * 2


async def test_a_broken_token_server_is_not_asked_for_less() -> None:
    """A status that says nothing of the scope is an error at once."""
    tokens = refusing(418)
    with pytest.raises(TokenError):
        await ask(Authorizer(Provider(ANN), fetch=tokens))
    assert len(tokens.requests) == 1


async def test_a_registry_that_refuses_the_union_gets_what_is_required() -> None:
    """GitLab answers 401 where the other repository is foreign; the next mount asks at once for less."""
    tokens = Tokens()
    authorizer = Authorizer(Provider(ANN), fetch=tokens)
    both = await ask(authorizer)
    less = await ask(authorizer, both, again=True)
    assert await ask(authorizer, less, again=True) is None
    assert await authorizer.authorize(ORIGIN, NAME, PUSH, desired=BASE) == less
    assert scopes(tokens) == [[PUSH, BASE], [PUSH]]


async def test_what_is_desired_does_not_widen_what_is_required() -> None:
    """What a registry wants for a mount is not asked for with every push; what else it wants is."""
    tokens = Tokens()
    authorizer = Authorizer(Provider(ANN), fetch=tokens)
    both = await ask(authorizer)
    await authorizer.answer(ORIGIN, NAME, PUSH, [WIDER], both, desired=BASE, again=True)
    await authorizer.authorize(ORIGIN, NAME, PUSH)
    assert scopes(tokens) == [[PUSH, BASE], [f"{PUSH},delete", BASE], [f"{PUSH},delete"]]


@pytest.mark.parametrize(
    ("challenge", "credential", "is_denial"),
    [
        (BEARER, ANN, True),
        (BEARER, Credential(identity_token="x"), True),
        (BEARER, ANONYMOUS, False),
        (BEARER, Credential(registry_token="x"), False),
        ("Basic realm=x", ANN, False),
    ],
)
async def test_a_refused_token_of_somebody_is_a_denial(
    challenge: str, credential: Credential, is_denial: bool
) -> None:
    """Somebody who got a token for exactly this may not; nobody and a wrong password could do better."""
    authorizer = Authorizer(Provider(credential), fetch=Tokens())
    sent = await authorizer.answer(ORIGIN, NAME, PULL, [challenge], None)
    assert sent is not None
    assert authorizer.is_denial(ORIGIN, NAME, PULL, sent) == is_denial
    assert not authorizer.is_denial(ORIGIN, NAME, PULL, "Bearer other")


async def test_a_token_that_ended_while_its_request_waited_was_not_refused() -> None:
    """A request that waits for its slot for longer than its token lives gets another one."""
    tokens, clock = Tokens(), Clock()
    authorizer = Authorizer(Provider(ANN), fetch=tokens, clock=clock)
    sent = await authorizer.answer(ORIGIN, NAME, PULL, [BEARER], None)
    clock.now += 1000
    assert await authorizer.answer(ORIGIN, NAME, PULL, [BEARER], sent, again=True) == "Bearer token-2"


async def test_what_lasts_gets_a_token_with_half_of_its_life_left() -> None:
    """It is renewed once in the second half, and serves everybody then."""
    tokens, clock = Tokens(), Clock()
    authorizer = Authorizer(Provider(ANN), fetch=tokens, clock=clock)
    await authorizer.answer(ORIGIN, NAME, PUSH, [BEARER], None)
    clock.now += 144
    assert await authorizer.authorize(ORIGIN, NAME, PUSH, lasting=True) == "Bearer token-1"
    clock.now += 1
    assert await authorizer.authorize(ORIGIN, NAME, PUSH) == "Bearer token-1"
    for lasting in (True, True, False):
        assert await authorizer.authorize(ORIGIN, NAME, PUSH, lasting=lasting) == "Bearer token-2"


async def test_a_short_life_is_no_reason_to_ask_in_a_circle() -> None:
    """Each long body costs one token at most, however short it lives."""
    tokens, clock = Tokens(lambda _: answer(token="short", expires_in=1)), Clock()
    authorizer = Authorizer(Provider(ANN), fetch=tokens, clock=clock)
    await authorizer.answer(ORIGIN, NAME, PUSH, [BEARER], None)
    for number in range(5):
        clock.now += 0.6
        assert await authorizer.authorize(ORIGIN, NAME, PUSH, lasting=True) == "Bearer short"
        assert len(tokens.requests) == number + 2


@pytest.mark.parametrize("cache", [{}, {"token_cache": None}])
async def test_a_renewal_that_fails_costs_nothing(cache: dict[str, Any]) -> None:
    """The token that was to be renewed before its time is good enough, if it is still at hand."""
    failing, clock = False, Clock()
    tokens = Tokens(lambda _: TokenResponse(503, {}, b"") if failing else None)
    authorizer = Authorizer(Provider(ANN), fetch=tokens, clock=clock, **cache)
    await authorizer.answer(ORIGIN, NAME, PUSH, [BEARER], None)
    clock.now += 200
    failing = True
    if cache:
        with pytest.raises(TokenError):
            await authorizer.authorize(ORIGIN, NAME, PUSH, lasting=True)
    else:
        assert await authorizer.authorize(ORIGIN, NAME, PUSH, lasting=True) == "Bearer token-1"


async def test_after_a_login_everybody_is_asked_anew() -> None:
    """What was found before is not used any more; the tokens of others stay theirs."""
    provider = Provider(ANN)
    authorizer = Authorizer(provider, fetch=Tokens())
    await authorizer.answer(ORIGIN, NAME, PULL, [BEARER], None)
    provider.credential = Credential("bob", "x")
    assert await authorizer.authorize(ORIGIN, NAME, PULL) == "Bearer token-1"
    authorizer.forget()
    assert await authorizer.authorize(ORIGIN, NAME, PULL) == "Bearer token-2"
    provider.credential = ANN
    authorizer.forget()
    assert await authorizer.authorize(ORIGIN, NAME, PULL) == "Bearer token-1"
