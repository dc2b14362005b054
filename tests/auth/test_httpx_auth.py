"""`RegistryAuth` under a plain `httpx.AsyncClient`, by hand and over sockets, beside an attacker."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import nullcontext
from pathlib import Path

import anyio
import httpx
import pytest

from oci_distribution.auth import httpx_auth, token_client
from oci_distribution.auth.authorizer import Authorizer, TokenRequest
from oci_distribution.auth.credentials import ANONYMOUS, Credential
from oci_distribution.auth.direct import direct_requests, is_direct_request
from oci_distribution.auth.httpx_auth import RegistryAuth
from oci_distribution.auth.token_client import TokenClient
from oci_distribution.errors import (
    ConnectError,
    CredentialError,
    ForbiddenOrigin,
    InvalidArgument,
    TimeoutExceeded,
    TokenError,
)
from oci_distribution.spec.urls import Origin
from oci_distribution.testing import BasicAuth, TokenAuth, serve_registry
from tests.auth.scripted import ANN, BEARER, NAME, PULL, PUSH, Clock, Provider, Tokens, query
from tests.hostile import Exchange, HostileServer, hostile

URL = f"https://{NAME}/v2/team/app/manifests/v1"
SECRETS = ("s3cr3t", base64.b64encode(b"me:s3cr3t").decode(), "the-token")
ME = Credential("me", "s3cr3t")


def by_hand(credential: Credential = ANONYMOUS) -> tuple[RegistryAuth, Tokens]:
    tokens = Tokens()
    return RegistryAuth(Authorizer(Provider(credential), fetch=tokens)), tokens


def refusal(request: httpx.Request, challenge: str = BEARER) -> httpx.Response:
    return httpx.Response(401, headers={"WWW-Authenticate": challenge}, request=request)


# By hand


def test_another_event_loop_needs_another() -> None:
    """Tasks of two would wait for each other's tokens; what was left by a loop that is over may go on."""
    auth, _ = by_hand()

    async def begin() -> None:
        await anext(auth.async_auth_flow(httpx.Request("GET", URL)))

    with asyncio.Runner() as second:
        with asyncio.Runner() as first:
            first.run(begin())
            with pytest.raises(RuntimeError, match="another event loop"):
                second.run(begin())
        second.run(begin())


async def test_a_request_is_sent_again_with_a_token() -> None:
    """The first 401 is answered, and the same request goes out with what was learnt."""
    auth, tokens = by_hand()
    flow = auth.async_auth_flow(request := httpx.Request("GET", URL))
    first = await anext(flow)
    assert "Authorization" not in first.headers
    assert await flow.asend(refusal(first)) is request
    assert request.headers["Authorization"] == "Bearer token-1"
    with pytest.raises(StopAsyncIteration):
        await flow.asend(httpx.Response(200, request=request))
    assert ("scope", PULL) in query(tokens.requests[0])


async def test_a_new_token_that_is_refused_is_the_end() -> None:
    """A second 401 goes to the caller: nobody asks for tokens in a circle."""
    auth, tokens = by_hand()
    flow = auth.async_auth_flow(request := httpx.Request("GET", URL))
    await anext(flow)
    await flow.asend(refusal(request))
    with pytest.raises(StopAsyncIteration):
        await flow.asend(refusal(request))
    assert len(tokens.requests) == 1


async def test_a_users_own_authorization_is_left_alone() -> None:
    """What the user set is sent as it is, and its 401 is the user's."""
    auth, tokens = by_hand(ME)
    flow = auth.async_auth_flow(request := httpx.Request("GET", URL, headers={"Authorization": "Mine"}))
    assert (await anext(flow)).headers["Authorization"] == "Mine"
    with pytest.raises(StopAsyncIteration):
        await flow.asend(refusal(request))
    assert tokens.requests == []


async def test_direct_requests_are_left_alone() -> None:
    """Under `direct_requests` nothing is added and no 401 is answered."""
    auth, tokens = by_hand(ME)
    with direct_requests():
        assert is_direct_request()
        flow = auth.async_auth_flow(request := httpx.Request("GET", URL))
        assert "Authorization" not in (await anext(flow)).headers
        with pytest.raises(StopAsyncIteration):
            await flow.asend(refusal(request))
    assert not is_direct_request()
    assert tokens.requests == []


async def test_a_request_that_is_sent_twice_is_authorised_twice() -> None:
    """The value that we put into a request object is not taken for the user's own when it comes again."""
    auth, _ = by_hand()
    request = httpx.Request("GET", URL)
    flow = auth.async_auth_flow(request)
    await anext(flow)
    await flow.asend(refusal(request))
    again = auth.async_auth_flow(request)
    await anext(again)
    assert (await again.asend(refusal(request))).headers["Authorization"] == "Bearer token-2"


@pytest.mark.parametrize(("content", "number"), [(b"bytes", 1), (None, 2)])
async def test_a_stream_gets_a_token_that_lasts(content: bytes | None, number: int) -> None:
    """What is no bytes may take long: a token in the second half of its life is renewed before it is sent."""

    async def pieces() -> AsyncIterator[bytes]:
        yield b"a piece"

    clock, tokens = Clock(), Tokens()
    authorizer = Authorizer(Provider(ANN), fetch=tokens, clock=clock)
    url = f"https://{NAME}/v2/team/app/blobs/uploads/1"
    await authorizer.answer(Origin.of(url), NAME, PUSH, [BEARER], None)
    clock.now += 200
    request = httpx.Request("PUT", url, content=pieces() if content is None else content)
    sent = await anext(RegistryAuth(authorizer).async_auth_flow(request))
    assert sent.headers["Authorization"] == f"Bearer token-{number}"


@pytest.mark.parametrize(
    ("target", "is_answered"),
    [
        (URL, True),
        (f"https://{NAME}:443/v2/team/app/manifests/v2", True),
        (f"https://{NAME}/v2/other/app/manifests/v1", False),
        (f"https://{NAME}/storage", False),
        (f"https://{NAME}:444/v2/team/app/manifests/v1", False),
        (f"http://{NAME}/v2/team/app/manifests/v1", False),
        ("https://evil.example/v2/team/app/manifests/v1", False),
    ],
)
async def test_only_what_we_asked_for_is_answered(target: str, is_answered: bool) -> None:
    """A 401 from where we were redirected to, be it another repository of this registry, gets nothing."""
    auth, tokens = by_hand(ME)
    flow = auth.async_auth_flow(httpx.Request("GET", URL))
    await anext(flow)
    redirected = refusal(httpx.Request("GET", target))
    if is_answered:
        await flow.asend(redirected)
    else:
        with pytest.raises(StopAsyncIteration):
            await flow.asend(redirected)
    assert len(tokens.requests) == int(is_answered)


@pytest.mark.parametrize(
    ("method", "target", "scope"),
    [
        ("GET", "/v2/a/b/manifests/v1", "repository:a/b:pull"),
        ("HEAD", "/v2/a/b/blobs/sha256:0", "repository:a/b:pull"),
        ("GET", "/v2/a/tags/list?n=1", "repository:a:pull"),
        ("GET", "/v2/a/manifests/tags/list", "repository:a/manifests:pull"),
        ("GET", "/v2/a/referrers/sha256:0", "repository:a:pull"),
        ("PUT", "/v2/a/manifests/v1", "repository:a:pull,push"),
        ("POST", "/v2/a/blobs/uploads/", "repository:a:pull,push"),
        ("POST", "/v2/a/blobs/uploads/?mount=d&from=c/d", "repository:a:pull,push repository:c/d:pull"),
        ("PATCH", "/v2/a/blobs/uploads/id", "repository:a:pull,push"),
        ("DELETE", "/v2/a/blobs/uploads/id", "repository:a:pull,push"),
        ("DELETE", "/v2/a/manifests/v1", "repository:a:delete"),
        ("GET", "/v2/_catalog?n=5", "registry:catalog:*"),
        ("GET", "/v2/", ""),
        ("GET", "/", ""),
    ],
)
async def test_the_scope_is_read_off_the_request(method: str, target: str, scope: str) -> None:
    """Method and path say what a request needs."""
    auth, tokens = by_hand()
    flow = auth.async_auth_flow(request := httpx.Request(method, f"https://{NAME}{target}"))
    await anext(flow)
    await flow.asend(refusal(request))
    assert " ".join(value for name, value in query(tokens.requests[0]) if name == "scope") == scope


async def test_an_extension_says_what_the_path_does_not() -> None:
    """`oci_scope` is the scope, whatever the path says."""
    auth, tokens = by_hand()
    request = httpx.Request("GET", URL, extensions={"oci_scope": "repository:x:pull"})
    flow = auth.async_auth_flow(request)
    await anext(flow)
    await flow.asend(refusal(request))
    assert ("scope", "repository:x:pull") in query(tokens.requests[0])


@pytest.mark.parametrize("host", ["registry-1.docker.io", "index.docker.io", "docker.io"])
async def test_docker_hub_has_one_name(host: str) -> None:
    """Credentials for Docker Hub are asked for by its name, not by that of its API's host."""
    provider = Provider()
    auth = RegistryAuth(Authorizer(provider, fetch=Tokens()))
    await anext(auth.async_auth_flow(httpx.Request("GET", f"https://{host}/v2/library/a/manifests/v1")))
    assert provider.asked == [("docker.io", "library/a")]


def test_it_is_for_asyncio() -> None:
    """A synchronous client is told so."""
    with (
        httpx.Client(auth=RegistryAuth(auth_provider=Provider())) as client,
        pytest.raises(RuntimeError, match="AsyncClient"),
    ):
        client.get("http://127.0.0.1:9/")


def test_an_authorizer_has_a_provider_of_its_own() -> None:
    """Giving both is a mistake that is said."""
    with pytest.raises(InvalidArgument):
        RegistryAuth(Authorizer(Provider(), fetch=Tokens()), auth_provider=Provider())


# Over sockets, against our own registry


async def test_a_users_own_client_pulls_and_pushes_with_tokens() -> None:
    """One token to push serves for pulling, too, and there is no 401 once the registry is known."""
    tokens = TokenAuth({"ann": "secret"})
    auth = RegistryAuth(auth_provider=Provider(ANN))
    async with serve_registry(auth=tokens) as registry, httpx.AsyncClient(auth=auth) as client:
        for _ in range(2):
            answer = await client.post(f"{registry.url}/v2/a/blobs/uploads/", content=b"")
            assert answer.status_code == 202
        assert answer.history == []
        answer = await client.get(f"{registry.url}/v2/a/tags/list")
        assert (answer.status_code, answer.history) == (404, [])
    assert tokens.tokens_issued == 1


async def test_token_servers_may_have_a_certificate_of_the_users_authority() -> None:
    """Whom the client trusts is said to its authorization, too; the machine does not know that authority."""
    async with serve_registry(auth=TokenAuth({"me": "s3cr3t"}), tls=True) as registry:
        context = ssl.create_default_context(cadata=registry.ca_pem.decode())
        for verify, is_trusted in ((context, True), (None, False)):
            auth = RegistryAuth(auth_provider=Provider(ME), verify=verify)
            async with httpx.AsyncClient(verify=context, auth=auth) as client:
                with nullcontext() if is_trusted else pytest.raises(ConnectError, match="CERTIFICATE"):
                    assert (await client.get(f"{registry.url}/v2/")).status_code == 200


async def test_token_servers_are_trusted_as_registries_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSL_CERT_FILE adds an authority; httpx knows those of certifi alone."""
    async with serve_registry(tls=True) as registry:
        (tmp_path / "ca.pem").write_bytes(registry.ca_pem)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        assert (await TokenClient()(TokenRequest("GET", f"{registry.url}/v2/"))).status == 200


async def test_a_wrong_password_is_an_error_of_the_token_server() -> None:
    """Who cannot log in is told, with the registry's name."""
    wrong = Provider(Credential("ann", "wrong"))
    async with (
        serve_registry(auth=TokenAuth({"ann": "secret"})) as registry,
        httpx.AsyncClient(auth=RegistryAuth(auth_provider=wrong)) as client,
    ):
        with pytest.raises(TokenError, match=registry.host):
            await client.get(f"{registry.url}/v2/")


async def test_a_registry_with_basic_is_entered() -> None:
    """Name and password go to the registry that asks for them."""
    async with (
        serve_registry(auth=BasicAuth({"ann": "secret"})) as registry,
        httpx.AsyncClient(auth=RegistryAuth(auth_provider=Provider(ANN))) as client,
    ):
        assert [(await client.get(f"{registry.url}/v2/")).status_code for _ in range(2)] == [200, 200]
        assert len(registry.requests) == 3


async def test_a_broken_credential_file_keeps_everything_at_home() -> None:
    """Nothing is sent when the credentials cannot be read."""

    async def broken(host: str, repository: str | None) -> Credential:
        raise CredentialError("config.json is no credential file")

    async with (
        serve_registry() as registry,
        httpx.AsyncClient(auth=RegistryAuth(auth_provider=broken)) as client,
    ):
        with pytest.raises(CredentialError):
            await client.get(f"{registry.url}/v2/")
        assert len(registry.requests) == 0


# Over sockets, beside an attacker


def knows_nothing(server: HostileServer) -> bool:
    """Say whether no secret of ours arrived in any place of any request."""
    said = "\n".join(f"{exchange.head!r}{exchange.body!r}" for exchange in server.requests)
    return not any(secret in said for secret in SECRETS) and "authorization" not in said.lower()


async def takes_all(exchange: Exchange) -> None:
    """Be the attacker: challenge for everything, and name oneself as token server."""
    await exchange.read_body()
    own = f"http://{exchange.header('Host')}/token"
    await exchange.answer(401, b"", [("WWW-Authenticate", f'Bearer realm="{own}", Basic realm="x"')])


class Trusted:
    """A registry with Basic or tokens, which redirects what its credentials are shown for."""

    def __init__(self, challenge: str, target: str) -> None:
        self.challenge, self.target = challenge, target

    async def __call__(self, exchange: Exchange) -> None:
        await exchange.read_body()
        if exchange.target.startswith("/token"):
            assert exchange.header("Authorization") is not None
            await exchange.answer(200, json.dumps({"token": "the-token"}).encode())
        elif exchange.header("Authorization") is None:
            await exchange.answer(401, b"", [("WWW-Authenticate", self.challenge)])
        else:
            await exchange.answer(307, b"", [("Location", self.target)])


@pytest.mark.parametrize("challenge", ['Bearer realm="/token"', 'Basic realm="x"'])
async def test_an_attacker_that_we_are_redirected_to_learns_nothing(challenge: str) -> None:
    """Neither our value for the registry nor an answer to its own challenge goes to the target."""
    async with hostile(takes_all) as attacker:
        async with hostile(Trusted(challenge, f"{attacker.url}/v2/a/blobs/x")) as trusted:
            auth = RegistryAuth(auth_provider=Provider(ME))
            async with httpx.AsyncClient(auth=auth, follow_redirects=True) as client:
                for _ in range(2):
                    answer = await client.get(f"{trusted.url}/v2/a/blobs/x")
                    assert answer.status_code == 401
            assert "Authorization" in str(trusted.requests[-1].headers)
        assert len(attacker.requests) == 2
        assert knows_nothing(attacker)


def local_provider(host: str) -> Provider:
    """Return a provider that knows us at one host only, as a real one does."""

    class Local(Provider):
        async def __call__(self, asked: str, repository: str | None) -> Credential:
            await super().__call__(asked, repository)
            return ME if asked == host else ANONYMOUS

    return Local()


async def test_an_attacker_that_is_asked_itself_learns_nothing_of_others() -> None:
    """A registry that we are nobody at gets nothing of what is stored for another on the same machine."""
    async with hostile(takes_all) as attacker, hostile(Trusted('Basic realm="x"', "/")) as trusted:
        provider = local_provider(trusted.url.removeprefix("http://"))
        async with httpx.AsyncClient(auth=RegistryAuth(auth_provider=provider)) as client:
            await client.get(f"{trusted.url}/v2/a/blobs/x")
            with pytest.raises(TokenError):
                await client.get(f"{attacker.url}/v2/a/blobs/x")
        assert knows_nothing(attacker)


async def test_an_attacker_that_a_token_server_redirects_to_learns_nothing() -> None:
    """Requests for tokens are not redirected, with Basic or without."""
    async with hostile(takes_all) as attacker:

        async def script(exchange: Exchange) -> None:
            await exchange.read_body()
            if exchange.target.startswith("/token"):
                await exchange.answer(307, b"", [("Location", f"{attacker.url}/token")])
            else:
                await exchange.answer(401, b"", [("WWW-Authenticate", 'Bearer realm="/token"')])

        async with hostile(script) as trusted:
            for credential in (ME, Credential(identity_token="s3cr3t")):
                auth = RegistryAuth(auth_provider=Provider(credential))
                async with httpx.AsyncClient(auth=auth, follow_redirects=True) as client:
                    with pytest.raises(TokenError):
                        await client.get(f"{trusted.url}/v2/a/blobs/x")
        assert attacker.requests == []


@pytest.mark.parametrize("realm", ["{attacker}/token", "http://me@{host}/token"])
async def test_an_attacker_on_this_machine_is_no_realm_of_a_public_registry(realm: str) -> None:
    """A public registry cannot send our password to a server of our own network, nor in the clear."""
    async with hostile(takes_all) as attacker:
        named = realm.format(attacker=attacker.url, host=attacker.url.removeprefix("http://"))

        def public(request: httpx.Request) -> httpx.Response:
            return refusal(request, f'Bearer realm="{named}"')

        auth = RegistryAuth(auth_provider=Provider(ME))
        async with httpx.AsyncClient(auth=auth, transport=httpx.MockTransport(public)) as client:
            with pytest.raises(ForbiddenOrigin):
                await client.get(URL)
        assert attacker.requests == []


async def test_a_refusal_without_end_is_cut_off() -> None:
    """The body of a 401 is not read for ever before it is answered."""

    async def script(exchange: Exchange) -> None:
        if exchange.header("Authorization") is not None:
            await exchange.answer(200, b"ok")
            return
        challenge = [("WWW-Authenticate", 'Basic realm="x"')]
        await exchange.answer(401, b"", challenge, length=1 << 40)
        await exchange.send_for_ever(b"x" * (1 << 16))

    async with (
        hostile(script) as server,
        httpx.AsyncClient(auth=RegistryAuth(auth_provider=Provider(ME))) as client,
    ):
        with anyio.fail_after(10):
            assert (await client.get(f"{server.url}/v2/")).text == "ok"


async def test_a_refusal_that_drips_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a 401 says in its body is nothing to us, and its connection can be done without."""
    monkeypatch.setattr(httpx_auth, "REFUSAL_PATIENCE", 0.1)

    async def script(exchange: Exchange) -> None:
        if exchange.header("Authorization"):
            await exchange.answer(200)
            return
        await exchange.answer(401, b"no", [("WWW-Authenticate", 'Basic realm="x"')], length=60_000)
        await exchange.hung_up()

    async with (
        hostile(script) as server,
        httpx.AsyncClient(auth=RegistryAuth(auth_provider=Provider(ANN))) as client,
    ):
        assert (await client.get(f"{server.url}/v2/")).status_code == 200


async def test_a_body_is_sent_again_after_a_refusal() -> None:
    """Bytes are sent twice; what can be read only once is an error, not an empty upload."""
    bodies: list[bytes] = []

    async def script(exchange: Exchange) -> None:
        bodies.append(await exchange.read_body())
        if exchange.header("Authorization") is None:
            await exchange.answer(401, b"", [("WWW-Authenticate", 'Basic realm="x"')])
        else:
            await exchange.answer(201)

    async def once() -> AsyncIterator[bytes]:
        yield b"body"

    async with hostile(script) as server:
        async with httpx.AsyncClient(auth=RegistryAuth(auth_provider=Provider(ME))) as client:
            assert (await client.put(f"{server.url}/v2/", content=b"body")).status_code == 201
        async with httpx.AsyncClient(auth=RegistryAuth(auth_provider=Provider(ME))) as client:
            with pytest.raises(httpx.StreamConsumed):
                await client.put(f"{server.url}/v2/", content=once())
    assert bodies == [b"body"] * 3


# Token servers that misbehave


async def fetched(server: HostileServer) -> object:
    headers: Iterable[tuple[str, str]] = (("Authorization", "Basic s3cr3t"),)
    return await TokenClient()(TokenRequest("GET", f"{server.url}/token?x=s3cr3t", tuple(headers)))


async def test_a_token_server_without_end_is_cut_off() -> None:
    """Only so much of its answer is held."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, b"", length=1 << 40)
        await exchange.send_for_ever(b" " * (1 << 16))

    async with hostile(script) as server:
        with pytest.raises(TokenError, match="longer") as caught:
            await fetched(server)
    assert "s3cr3t" not in str(caught.value)


async def test_a_token_server_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of its answer must come in time, not only each byte."""
    # Long enough to get there on a busy machine: loading the certificate authorities alone takes its time.
    monkeypatch.setattr(token_client, "TOKEN_TIMEOUT", 1.0)

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, b"{", length=100)
        await exchange.hung_up()

    async with hostile(script) as server:
        with pytest.raises(TimeoutExceeded):
            await fetched(server)
        assert len(server.requests) == 1


async def test_a_token_server_that_breaks_off_is_an_error() -> None:
    """Half an answer is none, and a closed port is no server."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, b"{", length=100)
        exchange.close()

    async with hostile(script) as server:
        with pytest.raises(TokenError):
            await fetched(server)
    with pytest.raises(ConnectError):
        await fetched(server)
    with pytest.raises(TokenError):
        await TokenClient()(TokenRequest("GET", "https://xn--/token"))
