"""What is behind the names that registries send us to, with `strict_addresses`."""

from __future__ import annotations

import socket
from typing import Any

import httpx
import pytest

import oci_distribution as oci
from oci_distribution.testing import TokenAuth, serve_registry
from tests.hostile import Exchange, HostileServer, hostile

DATA = b"data"
DIGEST = oci.Digest.of(DATA)


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let every name under `test` be this machine's; the list says which were looked up."""
    asked: list[str] = []
    look_up = socket.getaddrinfo

    def found(host: Any, *arguments: Any, **options: Any) -> Any:
        if str(host).endswith(".test"):
            asked.append(host)
            host = "127.0.0.1"
        return look_up(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", found)
    return asked


async def storage(exchange: Exchange) -> None:
    await exchange.answer(200, DATA)


def redirecting(to: HostileServer, name: str = "storage.test") -> HostileServer:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(307, headers=[("Location", f"http://{name}:{to.port}/data")])

    return hostile(script)


async def read(client: oci.Client, registry: HostileServer, name: str = "registry.test") -> bytes:
    repository = client.registry(f"http://{name}:{registry.port}").repository("app")
    return await repository.blobs.read(DIGEST)


async def test_off_by_default(names: list[str]) -> None:
    """Private registries store their blobs on other private hosts."""
    async with hostile(storage) as store, redirecting(store) as registry, oci.Client() as client:
        assert await read(client, registry) == DATA
        assert names == ["registry.test", "storage.test"]


async def test_a_redirect_to_a_name_of_a_private_address() -> None:
    """It is forbidden, and nothing is sent there; the registry itself may be anywhere."""
    async with (
        hostile(storage) as store,
        redirecting(store) as registry,
        oci.Client(strict_addresses=True) as client,
    ):
        with pytest.raises(oci.ForbiddenOrigin, match=r"storage\.test") as caught:
            await read(client, registry)
        assert not caught.value.attempts
        assert len(registry.requests) == 1
        assert store.connections == 0


async def test_a_connection_that_stands_already() -> None:
    """The user may talk to that host, and keeps a connection: a registry that sends us there gets none."""
    async with (
        hostile(storage) as store,
        redirecting(store) as registry,
        oci.Client(strict_addresses=True) as client,
    ):
        assert await read(client, store, "storage.test") == DATA
        with pytest.raises(oci.ForbiddenOrigin):
            await read(client, registry)
        assert len(store.requests) == 1


async def test_what_the_user_trusts() -> None:
    """`trusted_origins` are the exceptions."""
    async with hostile(storage) as store, redirecting(store) as registry:
        trusted = [f"http://storage.test:{store.port}"]
        async with oci.Client(strict_addresses=True, trusted_origins=trusted) as client:
            assert await read(client, registry) == DATA


async def test_a_registry_on_this_machine() -> None:
    """It may send us to its like."""
    async with (
        hostile(storage) as store,
        redirecting(store) as registry,
        oci.Client(strict_addresses=True) as client,
    ):
        assert await read(client, registry, "127.0.0.1") == DATA


async def test_an_upload_location() -> None:
    """What a registry calls the place of an upload is where it sends us, too."""
    async with hostile(storage) as store:

        async def script(exchange: Exchange) -> None:
            if exchange.method == "HEAD":
                await exchange.answer(404)
            else:
                await exchange.read_body()
                await exchange.answer(202, headers=[("Location", f"http://storage.test:{store.port}/upload")])

        async with hostile(script) as registry, oci.Client(strict_addresses=True) as client:
            repository = client.registry(f"http://registry.test:{registry.port}").repository("app")
            with pytest.raises(oci.ForbiddenOrigin, match=r"storage\.test"):
                await repository.blobs.push(bytes(100_000))
        assert store.connections == 0


async def test_a_token_server() -> None:
    """The registry names it, so the rule is good for it; its own origin is not elsewhere."""
    auth = TokenAuth(users={"ann": "secret"})

    async def ann(host: str, repository: str | None) -> oci.Credential:
        return oci.Credential(username="ann", password="secret")

    async with serve_registry(auth=auth) as server:
        port = server.host.rpartition(":")[2]

        async def script(exchange: Exchange) -> None:
            realm = f'Bearer realm="http://auth.test:{port}/token",service="s"'
            await exchange.answer(401, headers=[("WWW-Authenticate", realm)])

        async with (
            hostile(script) as registry,
            oci.Client(strict_addresses=True, auth_provider=ann) as client,
        ):
            with pytest.raises(oci.ForbiddenOrigin, match=r"auth\.test"):
                await client.registry(f"http://registry.test:{registry.port}").ping()
        assert not server.requests


async def test_the_token_server_of_its_own_origin() -> None:
    """It is where the registry is."""

    async def script(exchange: Exchange) -> None:
        if exchange.target.startswith("/token"):
            await exchange.answer(200, b'{"token": "t"}')
        elif exchange.header("Authorization") is None:
            realm = f'Bearer realm="http://registry.test:{registry.port}/token",service="s"'
            await exchange.answer(401, headers=[("WWW-Authenticate", realm)])
        else:
            await exchange.answer(200)

    async with hostile(script) as registry, oci.Client(strict_addresses=True) as client:
        await client.registry(f"http://registry.test:{registry.port}").ping()


async def test_through_a_proxy(monkeypatch: pytest.MonkeyPatch, names: list[str]) -> None:
    """The proxy looks the name up, and may be in a private network itself."""
    async with hostile(storage) as proxy, redirecting(proxy) as registry:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "registry.test")
        async with oci.Client(strict_addresses=True) as client:
            assert await read(client, registry) == DATA
        assert names == ["registry.test"]


async def test_a_client_of_ones_own_has_its_own_resolver() -> None:
    """A rule that nobody would obey is refused."""
    async with httpx.AsyncClient() as http:
        with pytest.raises(ValueError, match="resolver"):
            oci.Client(http=http, strict_addresses=True)
