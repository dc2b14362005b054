"""Requests that are refused with a token, and those that go without one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import httpx
import pytest

import oci_distribution as oci
from oci_distribution.testing import BasicAuth, RunningRegistry, TokenAuth, User, serve_registry
from tests.hostile import Exchange, hostile

ANN = oci.Credential(username="ann", password="secret")


async def ann(host: str, repository: str | None) -> oci.Credential:
    return ANN


def statuses(registry: RunningRegistry, method: str) -> list[int | None]:
    return [request.status for request in registry.requests if request.method == method]


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
