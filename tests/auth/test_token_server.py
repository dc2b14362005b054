"""What is sent to token servers, and what is made of their answers."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from oci_distribution.auth.authorizer import Authorizer, TokenOptions, TokenRequest, TokenResponse
from oci_distribution.auth.credentials import ANONYMOUS, Credential
from oci_distribution.errors import ConnectError, RequestContext, TokenError
from oci_distribution.spec.urls import Origin
from tests.auth.scripted import (
    ANN,
    BEARER,
    NAME,
    ORIGIN,
    PULL,
    PUSH,
    REALM,
    Clock,
    Provider,
    Tokens,
    answer,
    form,
    query,
)

IDENTITY = Credential(identity_token="identity")


async def ask(authorizer: Authorizer, scope: str = PULL, sent: str | None = None) -> str | None:
    return await authorizer.answer(ORIGIN, NAME, scope, [BEARER], sent)


async def test_nobody_asks_without_credentials() -> None:
    """An anonymous token is asked for like any other, only without a name and a secret."""
    tokens = Tokens()
    await ask(Authorizer(Provider(), fetch=tokens))

    (request,) = tokens.requests
    assert (request.method, request.headers, request.body) == ("GET", (), None)
    assert query(request) == [("service", "reg"), ("scope", PULL), ("client_id", "oci-distribution")]


async def test_a_password_goes_as_basic() -> None:
    """Name and password go in a header; each repository has a `scope` of its own."""
    tokens = Tokens()
    options = TokenOptions(client_id="me", offline_token=True)
    await ask(Authorizer(Provider(ANN), fetch=tokens, options=options), f"{PUSH} repository:base:pull")

    (request,) = tokens.requests
    assert request.headers == (("Authorization", "Basic YW5uOnNlY3JldA=="),)
    assert query(request) == [
        ("service", "reg"),
        ("scope", PUSH),
        ("scope", "repository:base:pull"),
        ("client_id", "me"),
        ("account", "ann"),
        ("offline_token", "true"),
    ]


async def test_an_identity_token_goes_as_a_form() -> None:
    """OAuth2's grant for refresh tokens; all scopes stand in one field."""
    tokens = Tokens(lambda _: answer(access_token="by-post", token="by-get"))
    options = TokenOptions(offline_token=True)
    value = await ask(
        Authorizer(Provider(IDENTITY), fetch=tokens, options=options), f"{PUSH} repository:base:pull"
    )

    (request,) = tokens.requests
    assert (request.method, request.url, value) == ("POST", REALM, "Bearer by-post")
    assert request.headers == (("Content-Type", "application/x-www-form-urlencoded"),)
    assert form(request) == {
        "grant_type": "refresh_token",
        "refresh_token": "identity",
        "service": "reg",
        "scope": f"{PUSH} repository:base:pull",
        "client_id": "oci-distribution",
        "access_type": "offline",
    }


async def test_a_password_goes_as_a_form_when_forced() -> None:
    """OAuth2's grant for passwords."""
    tokens = Tokens()
    await ask(Authorizer(Provider(ANN), fetch=tokens, options=TokenOptions(force_oauth2=True)))

    assert form(tokens.requests[0]) == {
        "grant_type": "password",
        "username": "ann",
        "password": "secret",
        "service": "reg",
        "scope": PULL,
        "client_id": "oci-distribution",
    }


@pytest.mark.parametrize("credential", [ANN, IDENTITY])
async def test_what_a_challenge_does_not_say_is_left_out(credential: Credential) -> None:
    """No empty `service`, no empty `scope`."""
    tokens = Tokens()
    authorizer = Authorizer(Provider(credential), fetch=tokens)
    await authorizer.answer(ORIGIN, NAME, "", ['Bearer realm="/t",scope=""'], None)

    (request,) = tokens.requests
    given = dict(query(request)) if request.body is None else form(request)
    assert "service" not in given
    assert "scope" not in given


async def test_what_a_challenge_says_stays_one_value() -> None:
    """A service that looks like more parameters adds none."""
    tokens = Tokens()
    challenge = ['Bearer realm="https://auth.example/t?a=1",service="x&account=root#&scope=y"']
    await Authorizer(Provider(), fetch=tokens).answer(ORIGIN, NAME, PULL, challenge, None)

    assert query(tokens.requests[0])[:3] == [
        ("a", "1"),
        ("service", "x&account=root#&scope=y"),
        ("scope", PULL),
    ]


@pytest.mark.parametrize("status", [400, 404, 405])
async def test_a_server_that_knows_only_get_is_remembered(status: int) -> None:
    """The password goes by GET instead, and the next time at once."""
    tokens = Tokens(lambda request: answer(status) if request.method == "POST" else None)
    authorizer = Authorizer(Provider(ANN), fetch=tokens, options=TokenOptions(force_oauth2=True))

    await ask(authorizer, PULL)
    await ask(authorizer, "repository:other:pull")

    assert [request.method for request in tokens.requests] == ["POST", "GET", "GET"]


async def test_a_wrong_password_is_not_tried_twice() -> None:
    """A 401 to a POST is no reason for a GET: accounts are locked after a few of them."""
    tokens = Tokens(lambda _: answer(401))
    with pytest.raises(TokenError):
        await ask(Authorizer(Provider(ANN), fetch=tokens, options=TokenOptions(force_oauth2=True)))

    assert len(tokens.requests) == 1


async def test_an_identity_token_never_goes_by_get() -> None:
    """There is nothing that a GET could send, and nobody's token would not be ours."""
    tokens = Tokens(lambda _: answer(405))
    with pytest.raises(TokenError):
        await ask(Authorizer(Provider(IDENTITY), fetch=tokens))

    assert [request.method for request in tokens.requests] == ["POST"]


async def test_a_rotated_refresh_token_is_kept() -> None:
    """The server's newest is used, for every scope."""
    answers = [
        answer(access_token="a", refresh_token="rotated"),
        answer(access_token="b", refresh_token="again"),
        answer(access_token="c"),
    ]
    tokens = Tokens(lambda _: answers.pop(0))
    authorizer = Authorizer(Provider(IDENTITY), fetch=tokens)
    for scope in (PULL, PUSH, "repository:other:pull"):
        await ask(authorizer, scope)

    assert [form(request)["refresh_token"] for request in tokens.requests] == ["identity", "rotated", "again"]


@pytest.mark.parametrize("status", [400, 401, 403])
@pytest.mark.parametrize("credential", [ANN, IDENTITY])
async def test_a_refresh_token_that_ended_is_replaced(credential: Credential, status: int) -> None:
    """What it was made from is used again, and the server is not taken for one that knows no POST."""
    ended = False

    def script(request: TokenRequest) -> TokenResponse:
        if request.body is not None and b"rotated" in request.body:
            return answer(status) if ended else answer(access_token="by-refresh-token")
        return answer(token="first", refresh_token="rotated")

    tokens = Tokens(script)
    options = TokenOptions(offline_token=True)
    authorizer = Authorizer(Provider(credential), fetch=tokens, options=options)
    await ask(authorizer, PULL)
    ended = True
    assert await ask(authorizer, "repository:b:pull") == "Bearer first"
    ended = False
    assert await ask(authorizer, "repository:c:pull") == "Bearer by-refresh-token"


async def test_a_refresh_token_that_ended_is_forgotten() -> None:
    """It is not tried again before each further token."""

    def script(request: TokenRequest) -> TokenResponse:
        if b"rotated" in (request.body or b""):
            return answer(401)
        return answer(access_token="a", refresh_token="rotated" if len(tokens.requests) == 1 else None)

    tokens = Tokens(script)
    authorizer = Authorizer(Provider(IDENTITY), fetch=tokens)
    for name in ("a", "b", "c"):
        await ask(authorizer, f"repository:{name}:pull")

    sent = [form(request)["refresh_token"] for request in tokens.requests]
    assert sent == ["identity", "rotated", "identity", "identity"]


@pytest.mark.parametrize("is_warm", [False, True])
async def test_refresh_tokens_that_are_good_once_are_used_once(is_warm: bool) -> None:
    """Many scopes at once are exchanged one after the other, each with the newest token."""
    good = "identity"

    async def fetch(request: TokenRequest) -> TokenResponse:
        nonlocal good
        sent = form(request)["refresh_token"]
        await anyio.wait_all_tasks_blocked()
        if sent != good:
            return answer(400, error="invalid_grant")
        good = f"after {sent}"
        return answer(access_token="a", refresh_token=good)

    authorizer = Authorizer(Provider(IDENTITY), fetch=fetch)
    if is_warm:
        await ask(authorizer)
    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(ask, authorizer, f"repository:r{number}:pull")
    assert good == " ".join(["after"] * (4 + is_warm) + ["identity"])


async def test_refresh_tokens_that_stay_are_used_at_once() -> None:
    """Where the first exchange brings no new one, no scope waits for another."""
    tokens = Tokens(lambda _: answer(access_token="a"))
    authorizer = Authorizer(Provider(IDENTITY), fetch=tokens)
    await ask(authorizer)
    tokens.gate = anyio.Event()
    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(ask, authorizer, f"repository:r{number}:pull")
        await anyio.wait_all_tasks_blocked()
        assert len(tokens.requests) == 1 + 4
        tokens.gate.set()


async def test_nobody_has_no_refresh_token() -> None:
    """One that is given to nobody is not kept: nobody is not always the same."""
    tokens = Tokens(lambda _: answer(token="t", refresh_token="r"))
    authorizer = Authorizer(Provider(), fetch=tokens)
    await ask(authorizer, PULL)
    await ask(authorizer, "repository:other:pull")

    assert [request.method for request in tokens.requests] == ["GET", "GET"]


async def test_a_refresh_token_belongs_to_one_registry() -> None:
    """Two registries with one login and one token server rotate their refresh tokens apart."""
    tokens = Tokens(lambda _: answer(access_token="a", refresh_token="rotated"))
    authorizer = Authorizer(Provider(IDENTITY), fetch=tokens)
    await ask(authorizer)
    await authorizer.answer(Origin.of("https://other.example"), "other.example", PULL, [BEARER], None)

    assert [form(request)["refresh_token"] for request in tokens.requests] == ["identity", "identity"]


@pytest.mark.parametrize(
    ("body", "method", "value"),
    [
        ({"token": "a"}, "GET", "a"),
        ({"access_token": "b"}, "GET", "b"),
        ({"token": "a", "access_token": "b"}, "GET", "a"),
        ({"token": "a", "access_token": "b"}, "POST", "b"),
        ({"token": "a"}, "POST", "a"),
        ({"token": "", "access_token": "b"}, "GET", "b"),
        ({"token": None, "access_token": "b", "expires_in": None, "scope": None}, "GET", "b"),
    ],
)
async def test_either_name_of_the_token_will_do(body: dict[str, Any], method: str, value: str) -> None:
    """Each protocol has its own, and servers mix them."""
    authorizer = Authorizer(
        Provider(IDENTITY if method == "POST" else ANN), fetch=Tokens(lambda _: answer(**body))
    )

    assert await ask(authorizer) == f"Bearer {value}"


@pytest.mark.parametrize(
    ("expires_in", "seconds"),
    [
        (300, 290.0),
        (100, 90.0),
        (20, 18.0),
        ("300", 290.0),
        (0, 54.0),
        (-5, 54.0),
        (None, 54.0),
        (float("nan"), 54.0),
        (float("-inf"), 54.0),
        (float("inf"), 86390.0),
        (1e308, 86390.0),
        ("soon", 54.0),
        ("", 54.0),
        (True, 54.0),
        ([300], 54.0),
        ({"seconds": 300}, 54.0),
    ],
)
async def test_a_token_is_used_until_shortly_before_its_end(expires_in: object, seconds: float) -> None:
    """Ten seconds or a tenth of its life before; a minute is the life of one that says nothing sensible."""
    clock, number = Clock(), 0

    def script(_: TokenRequest) -> TokenResponse:
        nonlocal number
        number += 1
        return answer(token=f"t{number}", expires_in=expires_in, issued_at="1999-01-01T00:00:00Z")

    tokens = Tokens(script)
    authorizer = Authorizer(Provider(), fetch=tokens, clock=clock)
    await ask(authorizer)

    clock.now += seconds - 0.001
    assert await authorizer.authorize(ORIGIN, NAME, PULL) == "Bearer t1"
    clock.now += 0.001
    assert await authorizer.authorize(ORIGIN, NAME, PULL) == "Bearer t2"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>captive portal</html>",
        b"[]",
        b'"token"',
        b'{"token": "cut',
        b"{}",
        b'{"token": ""}',
        b'{"token": ["x"]}',
        b'{"token": "x\\r\\nX-Evil: 1"}',
        '{"token": "ü"}'.encode(),
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"token": "' + b"x" * (1 << 20) + b'"}',
    ],
)
async def test_an_answer_that_is_no_token_is_an_error(content: bytes) -> None:
    """Whatever a proxy or a hostile server sends."""
    authorizer = Authorizer(Provider(), fetch=Tokens(lambda _: TokenResponse(200, {}, content)))

    with pytest.raises(TokenError, match="the token server") as caught:
        await ask(authorizer)

    assert (caught.value.registry, caught.value.status) == (NAME, 200)


@pytest.mark.parametrize(
    ("status", "credential", "message"),
    [
        (401, ANN, r"stored credentials for registry.example \(ann\) were refused: log in"),
        (403, ANN, "were refused"),
        (400, IDENTITY, "the stored credentials for registry.example were refused: log in"),
        (401, ANONYMOUS, "wants credentials: log in"),
        (404, ANN, "failed with status 404"),
        (400, ANN, "failed with status 400"),
        (500, ANONYMOUS, "failed with status 500"),
        (307, ANN, "failed with status 307"),
    ],
)
async def test_a_refusal_says_whose_credentials_they_are(
    status: int, credential: Credential, message: str
) -> None:
    """And what to do; nothing of what was sent or answered."""
    body = TokenResponse(status, {"Retry-After": "7"}, b'{"token": "leaked"}')
    authorizer = Authorizer(Provider(credential), fetch=Tokens(lambda _: body))

    with pytest.raises(TokenError, match=message) as caught:
        await ask(authorizer)

    error = caught.value
    assert error.method == ("POST" if credential is IDENTITY else "GET")
    assert error.url.startswith(REALM)
    assert (error.registry, error.status, error.retry_after) == (NAME, status, 7.0)
    assert not any(secret in str(error) + repr(error) for secret in ("secret", "identity", "YW5u", "leaked"))


async def test_an_error_on_the_way_names_the_registry() -> None:
    """Whoever fetches knows only the token server."""

    async def fetch(request: TokenRequest) -> TokenResponse:
        raise ConnectError("no such host", context=RequestContext(request.method, REALM, "auth.example"))

    with pytest.raises(ConnectError) as caught:
        await ask(Authorizer(Provider(), fetch=fetch))

    assert (caught.value.registry, caught.value.url) == (NAME, REALM)
