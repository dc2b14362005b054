"""The authorizer: which value it answers with, what it remembers, and what it never mixes up."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from oci_distribution.auth.authorizer import Authorizer, TokenRequest, TokenResponse
from oci_distribution.auth.cache import MemoryChallengeCache, MemoryTokenCache, Token, TokenKey
from oci_distribution.auth.credentials import ANONYMOUS, Credential
from oci_distribution.errors import ForbiddenOrigin, TokenError
from oci_distribution.spec.urls import Origin
from tests.auth.scripted import ANN, BEARER, NAME, ORIGIN, PULL, PUSH, Clock, Provider, Tokens, answer, query

INSUFFICIENT = f'{BEARER},scope="repository:team/app:delete",error="insufficient_scope"'


async def test_nothing_is_said_before_the_registry_asks() -> None:
    """The first request goes without authorization, and no token server is asked."""
    tokens = Tokens()

    assert await Authorizer(Provider(ANN), fetch=tokens).authorize(ORIGIN, NAME, PULL) is None
    assert tokens.requests == []


async def test_after_a_challenge_requests_are_authorised_at_once() -> None:
    """The token of the first answer serves the next request, and another repository needs no 401."""
    tokens = Tokens()
    authorizer = Authorizer(Provider(), fetch=tokens)

    assert await authorizer.answer(ORIGIN, NAME, PULL, [BEARER], None) == "Bearer token-1"
    assert await authorizer.authorize(ORIGIN, NAME, PULL) == "Bearer token-1"
    assert await authorizer.authorize(ORIGIN, NAME, "repository:other:pull") == "Bearer token-2"


async def test_a_warm_request_asks_no_cache() -> None:
    """What was found once is found again with one look-up."""

    class Counting(MemoryTokenCache):
        gets = 0

        async def get(self, key: TokenKey) -> Token | None:
            self.gets += 1
            return await super().get(key)

    cache = Counting()
    authorizer = Authorizer(Provider(), fetch=Tokens(), token_cache=cache)
    await authorizer.answer(ORIGIN, NAME, PULL, [BEARER], None)
    before = cache.gets

    for _ in range(3):
        await authorizer.authorize(ORIGIN, NAME, PULL)

    assert cache.gets == before


@pytest.mark.parametrize(
    ("challenges", "credential", "value"),
    [
        (["Basic realm=x"], ANN, "Basic YW5uOnNlY3JldA=="),
        (["Basic realm=x"], Credential("ü", "a:b"), "Basic w7w6YTpi"),
        (["Basic realm=x"], ANONYMOUS, None),
        (["Basic realm=x"], Credential(identity_token="t"), None),
        ([f"Basic realm=x, {BEARER}"], ANN, "Bearer token-1"),
        (["Basic realm=x", BEARER], ANN, "Bearer token-1"),
        ([BEARER, "Basic realm=x"], ANONYMOUS, "Bearer token-1"),
        ([BEARER], Credential(registry_token="mine"), "Bearer mine"),
        (["Negotiate"], ANN, None),
        ([], ANN, None),
    ],
)
async def test_the_scheme_decides(challenges: list[str], credential: Credential, value: str | None) -> None:
    """Bearer comes before Basic, wherever it stands; what we cannot do is not answered."""
    authorizer = Authorizer(Provider(credential), fetch=Tokens())

    assert await authorizer.answer(ORIGIN, NAME, PULL, challenges, None) == value
    assert await authorizer.authorize(ORIGIN, NAME, PULL) == value


async def test_a_rejected_token_is_replaced() -> None:
    """A token that ended early is dropped, for all who want the same."""
    authorizer = Authorizer(Provider(), fetch=Tokens())
    first = await authorizer.answer(ORIGIN, NAME, PULL, [BEARER], None)

    second = await authorizer.answer(ORIGIN, NAME, PULL, [BEARER], first)

    assert (first, second) == ("Bearer token-1", "Bearer token-2")
    assert await authorizer.answer(ORIGIN, NAME, PULL, [BEARER], first) == second
    assert await authorizer.authorize(ORIGIN, NAME, PULL) == second


async def test_a_rejected_token_is_gone_even_without_a_better_one() -> None:
    """It is not sent with the next request when the token server fails."""
    answers = [answer(token="rejected"), answer(503), answer(token="new")]
    authorizer = Authorizer(Provider(), fetch=Tokens(lambda _: answers.pop(0)))
    sent = await authorizer.answer(ORIGIN, NAME, PULL, [BEARER], None)
    with pytest.raises(TokenError):
        await authorizer.answer(ORIGIN, NAME, PULL, [BEARER], sent)

    assert await authorizer.authorize(ORIGIN, NAME, PULL) == "Bearer new"


@pytest.mark.parametrize("challenge", [BEARER, "Basic realm=x"])
async def test_the_same_again_is_no_answer(challenge: str) -> None:
    """What was refused once is not sent again, even when nobody has anything better."""
    authorizer = Authorizer(Provider(ANN), fetch=Tokens(lambda _: answer(token="same")))
    sent = await authorizer.answer(ORIGIN, NAME, PULL, [challenge], None)

    assert sent is not None
    assert await authorizer.answer(ORIGIN, NAME, PULL, [challenge], sent) is None


async def test_whoever_logs_in_is_asked_again() -> None:
    """A refused credential is looked up anew."""
    provider = Provider(ANN)
    authorizer = Authorizer(provider, fetch=Tokens())
    sent = await authorizer.answer(ORIGIN, NAME, PULL, ["Basic realm=x"], None)
    provider.credential = Credential("ann", "new")

    assert await authorizer.answer(ORIGIN, NAME, PULL, ["Basic realm=x"], sent) == "Basic YW5uOm5ldw=="


async def test_a_wider_scope_is_asked_for_and_remembered() -> None:
    """`insufficient_scope` adds what the registry wants to what we want."""
    tokens = Tokens()
    authorizer = Authorizer(Provider(), fetch=tokens)
    sent = await authorizer.answer(ORIGIN, NAME, PULL, [BEARER], None)

    sent = await authorizer.answer(ORIGIN, NAME, PULL, [INSUFFICIENT], sent, again=True)
    await authorizer.answer(ORIGIN, NAME, PULL, [BEARER], sent)

    assert sent == "Bearer token-2"
    scopes = [dict(query(request))["scope"] for request in tokens.requests]
    assert scopes == [PULL, "repository:team/app:pull,delete", "repository:team/app:pull,delete"]


@pytest.mark.parametrize("challenge", [BEARER, INSUFFICIENT])
async def test_a_new_token_that_is_refused_means_no(challenge: str) -> None:
    """Only a scope that we did not ask for yet is worth a second answer."""
    tokens = Tokens()
    authorizer = Authorizer(Provider(), fetch=tokens)
    scope = "repository:team/app:pull,delete"
    sent = await authorizer.answer(ORIGIN, NAME, scope, [BEARER], None)

    assert await authorizer.answer(ORIGIN, NAME, scope, [challenge], sent, again=True) is None
    assert len(tokens.requests) == 1


@pytest.mark.parametrize(("scope", "wanted"), [("", "a:b:c"), (PULL, PULL)])
async def test_the_registrys_scope_is_for_who_has_none(scope: str, wanted: str) -> None:
    """Our own scope comes first: GHCR names a placeholder."""
    tokens = Tokens()
    await Authorizer(Provider(), fetch=tokens).answer(ORIGIN, NAME, scope, [f'{BEARER},scope="a:b:c"'], None)

    assert dict(query(tokens.requests[0]))["scope"] == wanted


async def test_a_token_for_more_serves_for_less() -> None:
    """On the same repository, what may push may pull; the other way round it may not."""
    tokens = Tokens()
    authorizer = Authorizer(Provider(), fetch=tokens)
    push = await authorizer.answer(ORIGIN, NAME, PUSH, [BEARER], None)

    assert await authorizer.authorize(ORIGIN, NAME, PULL) == push
    assert await authorizer.authorize(ORIGIN, NAME, "repository:team/app:delete") != push
    assert await authorizer.answer(ORIGIN, NAME, PULL, [BEARER], push) == "Bearer token-3"


async def test_a_token_for_two_repositories_serves_for_none_alone() -> None:
    """Chainguard refuses a token of another scope, even if that covers the request."""
    authorizer = Authorizer(Provider(), fetch=Tokens())
    both = await authorizer.answer(ORIGIN, NAME, f"{PUSH} repository:base:pull", [BEARER], None)

    assert await authorizer.authorize(ORIGIN, NAME, PUSH) != both
    assert await authorizer.authorize(ORIGIN, NAME, "repository:base:pull") != both


@pytest.mark.parametrize(
    ("origin", "challenge", "credential"),
    [
        (Origin.of("https://evil.example"), BEARER, ANN),
        (Origin.of("https://registry.example:444"), BEARER, ANN),
        (Origin.of("http://registry.example"), BEARER, ANN),
        (ORIGIN, BEARER.replace('"reg"', '"other"'), ANN),
        (ORIGIN, BEARER.replace("auth.", "auth2."), ANN),
        (ORIGIN, BEARER, Credential("ann", "other")),
        (ORIGIN, BEARER, Credential(identity_token="x")),
        (ORIGIN, BEARER, ANONYMOUS),
    ],
)
async def test_tokens_are_not_shared(origin: Origin, challenge: str, credential: Credential) -> None:
    """What was made for one origin, realm, service and credential is for these alone."""
    cache, challenges = MemoryTokenCache(), MemoryChallengeCache()
    tokens = Tokens()
    for who in (ANN, credential):
        authorizer = Authorizer(Provider(who), fetch=tokens, token_cache=cache, challenge_cache=challenges)
        there, challenged = (ORIGIN, BEARER) if who is ANN and not tokens.requests else (origin, challenge)
        value = await authorizer.answer(there, NAME, PULL, [challenged], None)

    assert value == "Bearer token-2"


async def test_the_same_credential_shares_its_tokens() -> None:
    """Two authorizers over one cache ask once."""
    cache, tokens = MemoryTokenCache(), Tokens()
    values = [
        await Authorizer(Provider(who), fetch=tokens, token_cache=cache).answer(
            ORIGIN, NAME, PULL, [BEARER], None
        )
        for who in (ANN, replace(ANN))
    ]

    assert values == ["Bearer token-1"] * 2


async def test_a_refresh_token_is_for_the_registry_that_got_it() -> None:
    """A registry that names somebody else's token server is not served with somebody else's login."""

    def script(request: TokenRequest) -> TokenResponse | None:
        return answer(access_token="access", refresh_token="rotated") if request.method == "POST" else None

    tokens, provider = Tokens(script), Provider(Credential(identity_token="mine"))
    authorizer = Authorizer(provider, fetch=tokens)
    await authorizer.answer(ORIGIN, NAME, PULL, [BEARER], None)
    provider.credential = ANONYMOUS

    await authorizer.answer(Origin.of("https://evil.example"), "evil.example", PULL, [BEARER], None)

    request = tokens.requests[-1]
    assert (request.method, request.body, request.headers) == ("GET", None, ())


async def test_credentials_end() -> None:
    """The provider is asked again after a minute, or when what it gave has ended."""
    clock, provider = Clock(), Provider(ANN)
    authorizer = Authorizer(provider, fetch=Tokens(), clock=clock)
    await authorizer.answer(ORIGIN, NAME, PULL, ["Basic realm=x"], None)
    await authorizer.authorize(ORIGIN, NAME, PULL)
    assert provider.asked == [(NAME, "team/app")]

    clock.now += 61
    provider.credential = Credential("ann", "secret", expires_at=time.time() + 10)
    await authorizer.authorize(ORIGIN, NAME, PULL)
    assert len(provider.asked) == 2

    clock.now += 11
    provider.credential = Credential("ann", "newer")
    assert await authorizer.authorize(ORIGIN, NAME, PULL) == "Basic YW5uOm5ld2Vy"


async def test_without_caches_nothing_is_remembered() -> None:
    """None turns a cache off."""
    tokens = Tokens()
    no_tokens = Authorizer(Provider(), fetch=tokens, token_cache=None)
    no_challenges = Authorizer(Provider(), fetch=tokens, challenge_cache=None)
    for authorizer in (no_tokens, no_challenges):
        await authorizer.answer(ORIGIN, NAME, PULL, [BEARER], None)

    assert await no_tokens.authorize(ORIGIN, NAME, PULL) == "Bearer token-3"
    assert await no_challenges.authorize(ORIGIN, NAME, PULL) is None


@pytest.mark.parametrize(
    ("failure", "kind"), [(answer(404), TokenError), (answer(500), TokenError), (answer(), TokenError)]
)
async def test_a_challenge_that_leads_nowhere_is_forgotten(
    failure: TokenResponse, kind: type[Exception]
) -> None:
    """A registry whose token server moved is asked again."""
    answers = [answer(token="t", expires_in=60), failure]
    clock = Clock()
    authorizer = Authorizer(Provider(), fetch=Tokens(lambda _: answers.pop(0)), clock=clock)
    await authorizer.answer(ORIGIN, NAME, PULL, [BEARER], None)
    clock.now += 60

    with pytest.raises(kind):
        await authorizer.authorize(ORIGIN, NAME, PULL)

    assert await authorizer.authorize(ORIGIN, NAME, PULL) is None


async def test_a_registry_that_no_longer_asks_is_believed() -> None:
    """A 401 without a challenge that we know ends what we knew."""
    authorizer = Authorizer(Provider(), fetch=Tokens())
    sent = await authorizer.answer(ORIGIN, NAME, PULL, [BEARER], None)

    assert await authorizer.answer(ORIGIN, NAME, PULL, ["Negotiate"], sent) is None
    assert await authorizer.authorize(ORIGIN, NAME, "repository:other:pull") is None


@pytest.mark.parametrize(
    ("registry", "realm", "url"),
    [
        ("https://registry.example", "/token", "https://registry.example/token"),
        ("https://registry.example", "//auth.example/t?a=b", "https://auth.example/t?a=b"),
        ("http://10.0.0.5:5000", "http://127.0.0.1:5001/t", "http://127.0.0.1:5001/t"),
        ("http://registry.example", "http://auth.example/t", "http://auth.example/t"),
        ("http://registry.example", "https://auth.example/t", "https://auth.example/t"),
        ("https://registry.example", "http://192.168.0.1/t", "http://192.168.0.1/t"),
        ("https://registry.example", "file:///etc/passwd", None),
        ("https://registry.example", "http://registry.example/t", None),
        ("https://registry.example", "http://auth.example/t", None),
        ("https://registry.example", "https://169.254.169.254/t", None),
        ("https://registry.example", "https://127.0.0.1/t", None),
        ("https://registry.example", "https://[::1]/t", None),
        ("https://registry.example", "https://[::ffff:10.0.0.1]/t", None),
        ("https://registry.example", "https://2130706433/t", None),
        ("https://registry.example", "https://localhost/t", None),
        ("https://registry.example", "https://10.1.2.3:8443/t", None),
        ("http://registry.example", "http://169.254.169.254/t", None),
        ("https://registry.example", "https://ann:x@auth.example/t", None),
        ("https://registry.example", "https://registry.example@evil.example/t", None),
        ("https://registry.example", "https://a b/t", None),
        ("https://registry.example", "https://[zz]/t", None),
        ("https://registry.example", "https://auth.example:99999/t", None),
    ],
)
async def test_where_a_token_server_may_be(registry: str, realm: str, url: str | None) -> None:
    """Never without TLS that the registry has, nor in our own network behind a public registry's back."""
    tokens, origin = Tokens(), Origin.of(registry)
    trusted = [Origin.of("http://192.168.0.1")]
    authorizer = Authorizer(Provider(ANN), fetch=tokens, trusted_origins=trusted)
    challenge = [f'Bearer realm="{realm}"']

    if url is not None:
        await authorizer.answer(origin, origin.netloc, "", challenge, None)
        assert tokens.requests[0].url.startswith(url + ("&" if "?" in url else "?"))
        return
    with pytest.raises(ForbiddenOrigin, match="token server") as caught:
        await authorizer.answer(origin, origin.netloc, "", challenge, None)
    assert tokens.requests == []
    assert caught.value.registry == origin.netloc


async def test_a_challenge_without_a_token_server_is_an_error() -> None:
    """It says what is missing."""
    with pytest.raises(TokenError, match="names no token server"):
        await Authorizer(Provider(), fetch=Tokens()).answer(ORIGIN, NAME, "", ['Bearer service="x"'], None)
