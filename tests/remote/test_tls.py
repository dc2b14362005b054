"""TLS with hosts that are special: authorities of their own, and certificates of ours."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import httpx
import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

import oci_distribution as oci
from oci_distribution.testing import RunningRegistry, TokenAuth, serve_registry
from oci_distribution.transport import tls
from oci_distribution.transport.host_table import HostTable
from tests.certificates import Pki
from tests.hostile import Exchange, hostile


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path)


@asynccontextmanager
async def mutual(pki: Pki) -> AsyncGenerator[RunningRegistry]:
    """A registry that speaks only to clients with a certificate."""
    async with serve_registry(ssl=pki.server(clients=ssl.CERT_REQUIRED)) as registry:
        yield registry


async def ping(registry: RunningRegistry, config: oci.HostConfig) -> None:
    async with oci.Client(hosts={registry.host: config}, retry=oci.RetryPolicy(attempts=1)) as client:
        await client.registry(registry.url).ping()


async def test_an_authority_of_its_own(pki: Pki) -> None:
    """`ca_file` makes one host trusted; without it the error says what there is to do."""
    async with serve_registry(ssl=pki.server()) as registry:
        await ping(registry, oci.HostConfig(ca_file=pki.ca))
        await ping(registry, oci.HostConfig(ca_file=(str(pki.ca),)))
        with pytest.raises(oci.TLSError, match="ca_file"):
            await ping(registry, oci.HostConfig())


async def test_the_authority_is_trusted_for_its_host_only(pki: Pki) -> None:
    """Another host with a certificate of that authority is not believed."""
    async with serve_registry(ssl=pki.server()) as one, serve_registry(ssl=pki.server()) as other:
        hosts = {one.host: oci.HostConfig(ca_file=pki.ca)}
        async with oci.Client(hosts=hosts, retry=oci.RetryPolicy(attempts=1)) as client:
            await client.registry(one.url).ping()
            with pytest.raises(oci.TLSError):
                await client.registry(other.url).ping()


@pytest.mark.parametrize("together", [False, True])
async def test_a_certificate_of_ours(pki: Pki, together: bool) -> None:
    """With its key in a file of its own, or in the same one."""
    certificate, key = pki.client()
    async with mutual(pki) as registry:
        if together:
            certificate.write_bytes(certificate.read_bytes() + key.read_bytes())
        await ping(
            registry,
            oci.HostConfig(ca_file=pki.ca, client_cert=certificate, client_key=None if together else key),
        )


def refuse_all(listener: socket.socket, context: ssl.SSLContext) -> None:
    """Say why, as servers in Go do: asyncio's hangs up before its word is out."""
    while True:
        try:
            accepted = listener.accept()[0]
        except OSError:
            return
        tls_socket = context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False)
        with suppress(ssl.SSLError):
            tls_socket.do_handshake()
        with socket.socket(fileno=tls_socket.detach()) as plain, suppress(OSError):
            plain.shutdown(socket.SHUT_WR)
            while plain.recv(1 << 16):
                pass


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_registry_that_wants_a_certificate(pki: Pki, version: ssl.TLSVersion) -> None:
    """The error says so, and what there is to do, and it is not tried again."""
    context = pki.server(clients=ssl.CERT_REQUIRED)
    context.minimum_version = context.maximum_version = version
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = asyncio.create_task(asyncio.to_thread(refuse_all, listener, context))
        name = "{}:{}".format(*listener.getsockname())
        async with oci.Client(hosts={name: oci.HostConfig(scheme="https", ca_file=pki.ca)}) as client:
            with pytest.raises(oci.TLSError, match="client_cert") as caught:
                await client.registry(name).ping()
        assert not caught.value.attempts
        listener.shutdown(socket.SHUT_RDWR)
        await server


async def test_directories_as_docker_keeps_them(pki: Pki) -> None:
    """The first one that has a directory of the host's name is read: `*.crt`, `*.cert` and `*.key`."""
    async with mutual(pki) as registry:
        empty, directory = pki.folder / "empty.d", pki.folder / "certs.d"
        folder = directory / registry.host
        folder.mkdir(parents=True)
        (empty / registry.host).mkdir(parents=True)
        certificate, key = pki.client()
        pki.ca.rename(folder / "ca.crt")
        certificate.rename(folder / "client.cert")
        key.rename(folder / "client.key")
        (folder / "README").write_text("not ours")
        await ping(registry, oci.HostConfig(certs_dirs=(pki.folder / "missing.d", empty, directory)))


async def test_the_machines_own_directories(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    """What works with podman and docker works here, without a word; and can be switched off."""
    async with serve_registry(ssl=pki.server()) as registry:
        folder = pki.folder / "etc" / registry.host
        folder.mkdir(parents=True)
        pki.ca.rename(folder / "ca.crt")
        monkeypatch.setattr(tls, "CERTS_DIRS", (str(pki.folder / "etc"),))
        await ping(registry, oci.HostConfig())
        with pytest.raises(oci.TLSError):
            await ping(registry, oci.HostConfig(certs_dirs=()))


@pytest.mark.parametrize("alone", ["client.cert", "client.key"])
async def test_half_of_a_pair_in_a_directory(pki: Pki, alone: str) -> None:
    """It names the file that has no other half, and nothing is sent."""
    async with serve_registry(ssl=pki.server()) as registry:
        folder = pki.folder / "certs.d" / registry.host
        folder.mkdir(parents=True)
        (folder / alone).write_text("x")
        with pytest.raises(oci.ConfigError, match=alone) as caught:
            await ping(registry, oci.HostConfig(certs_dirs=(pki.folder / "certs.d",)))
        assert registry.host in str(caught.value)


async def test_directories_that_may_not_be_read(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker's may be root's alone, and is passed over; one that was asked for is an error."""
    async with serve_registry(ssl=pki.server()) as registry:
        folder = pki.folder / "certs.d" / registry.host
        folder.mkdir(parents=True)
        monkeypatch.setattr(tls, "CERTS_DIRS", (str(pki.folder / "certs.d"),))
        is_dir = Path.is_dir

        def is_dir_of_another(path: Path) -> bool:
            if path == folder:  # root, as whom tests may run, may look into everything
                raise PermissionError(13, "Permission denied")
            return is_dir(path)

        monkeypatch.setattr(Path, "is_dir", is_dir_of_another)
        await ping(registry, oci.HostConfig(ca_file=pki.ca))
        with pytest.raises(oci.ConfigError, match=r"certs\.d"):
            await ping(registry, oci.HostConfig(certs_dirs=(pki.folder / "certs.d",)))


def _encrypted(pki: Pki) -> tuple[Path, Path]:
    certificate, key = pki.client()
    loaded = load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(
        loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"s3cr3t"))
    )
    return certificate, key


def _of_another(pki: Pki) -> tuple[Path, Path]:
    return pki.client("ann")[0], pki.client("bob")[1]


def _no_certificate(pki: Pki) -> tuple[Path, Path]:
    certificate, key = pki.client()
    certificate.write_text("no certificate")
    return certificate, key


def _no_key(pki: Pki) -> tuple[Path, Path]:
    certificate, key = pki.client()
    key.unlink()
    return certificate, key


def _directory(pki: Pki) -> tuple[Path, Path]:
    certificate, key = pki.client()
    key.unlink()
    key.mkdir()
    return certificate, key


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_encrypted, "ann-key.pem is encrypted"),
        (_of_another, "bob-key.pem is not the key of .*ann.pem"),
        (_no_certificate, "ann.pem"),
        (_no_key, "ann-key.pem cannot be read: No such file"),
        (_directory, "ann-key.pem cannot be read"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_keys_that_cannot_be_used(
    pki: Pki, make: Callable[[Pki], tuple[Path, Path]], reason: str
) -> None:
    """The error names file and host, and comes before anything is sent."""
    certificate, key = make(pki)
    async with mutual(pki) as registry:
        config = oci.HostConfig(ca_file=pki.ca, client_cert=certificate, client_key=key)
        with pytest.raises(oci.ConfigError, match=reason) as caught:
            await ping(registry, config)
        assert registry.host in str(caught.value)
        assert not registry.requests


@pytest.mark.parametrize("content", [None, b"", b"no certificate", b"\x00\xff"])
async def test_an_authority_that_cannot_be_used(pki: Pki, content: bytes | None) -> None:
    """The error names file and host; the next client tries again, as the file may be right by then."""
    path = pki.folder / "other.pem"
    if content is not None:
        path.write_bytes(content)
    async with serve_registry(ssl=pki.server()) as registry:
        hosts = {registry.host: oci.HostConfig(ca_file=path)}
        async with oci.Client(hosts=hosts) as client:
            with pytest.raises(oci.ConfigError, match=r"other\.pem") as caught:
                await client.registry(registry.url).ping()
            assert registry.host in str(caught.value)
            path.write_bytes(pki.ca.read_bytes())
            await client.registry(registry.url).ping()


async def test_a_certificate_goes_to_no_other_host(pki: Pki) -> None:
    """Neither to where the registry redirects, nor to its token server, though both ask for one."""
    seen: dict[str, object] = {}

    def note(exchange: Exchange, who: str) -> None:
        seen[who] = exchange.writer.get_extra_info("peercert")

    async def elsewhere(exchange: Exchange) -> None:
        note(exchange, "token" if exchange.target.startswith("/token") else "storage")
        await exchange.answer(200, b'{"token": "t"}' if exchange.target.startswith("/token") else b"data")

    async def script(exchange: Exchange) -> None:
        note(exchange, "registry")
        if exchange.header("Authorization") is None:
            realm = f'Bearer realm="{storage.url}/token",service="s"'
            await exchange.answer(401, headers=[("WWW-Authenticate", realm)])
        else:
            await exchange.answer(307, headers=[("Location", f"{storage.url}/data")])

    certificate, key = pki.client()
    context = pki.server(clients=ssl.CERT_OPTIONAL)
    async with hostile(elsewhere, tls=context) as storage, hostile(script, tls=context) as home:
        own, foreign = (url.url.removeprefix("https://") for url in (home, storage))
        hosts = {
            own: oci.HostConfig(ca_file=pki.ca, client_cert=certificate, client_key=key),
            foreign: oci.HostConfig(ca_file=pki.ca),
        }
        async with oci.Client(hosts=hosts) as client:
            digest = oci.Digest.of(b"data")
            assert await client.registry(home.url).repository("app").blobs.read(digest) == b"data"
    assert seen["registry"]
    assert (seen["token"], seen["storage"]) == (None, None)


async def test_a_token_server_has_its_own_settings(pki: Pki) -> None:
    """It is a host like others: configured by its name, whoever named it."""
    auth = TokenAuth(users={"ann": "secret"})
    async with serve_registry(ssl=pki.server(), auth=auth) as registry:

        async def ann(host: str, repository: str | None) -> oci.Credential:
            return oci.Credential(username="ann", password="secret")

        hosts = {registry.host: oci.HostConfig(ca_file=pki.ca)}
        async with oci.Client(hosts=hosts, auth_provider=ann) as client:
            repository = client.registry(registry.url).repository("team/app")
            await repository.blobs.push(b"data")


async def test_an_endpoint_has_the_settings_of_its_name(pki: Pki) -> None:
    """What is said of a registry is good for where it answers."""
    async with serve_registry(ssl=pki.server()) as registry:
        hosts = {"registry.example": oci.HostConfig(endpoint=registry.host, scheme="https", ca_file=pki.ca)}
        async with oci.Client(hosts=hosts) as client:
            await client.registry("registry.example").ping()


@pytest.mark.parametrize("name", ["registry.example:443", "*.example:443", "REGISTRY.example", "*"])
def test_the_port_of_https_may_be_named(name: str) -> None:
    """It is no part of the name then that is connected to."""
    table = HostTable({name: oci.HostConfig(skip_verify=True)})

    assert not table.tls("registry.example").verify
    assert table.tls("registry.example:8443").verify or name == "*"


async def test_an_https_proxy_gets_no_certificate_of_ours(monkeypatch: pytest.MonkeyPatch, pki: Pki) -> None:
    """What is said of a registry would be good for the proxy, too: it is refused before anything is sent."""
    certificate, key = pki.client()

    async def script(exchange: Exchange) -> None:
        raise AssertionError(exchange.head)

    async with hostile(script, tls=pki.server(clients=ssl.CERT_OPTIONAL)) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        config = oci.HostConfig(ca_file=pki.ca, client_cert=certificate, client_key=key)
        async with oci.Client(hosts={"registry.example": config}) as client:
            with pytest.raises(oci.ConfigError, match=r"registry\.example.*https proxy"):
                await client.registry("registry.example").ping()
        assert proxy.connections == 0


def test_two_who_say_different_things_of_one_endpoint(pki: Pki) -> None:
    """Nobody could know which of them counts."""
    endpoint = "127.0.0.1:5443"
    hosts = {
        "a.example": oci.HostConfig(endpoint=endpoint, ca_file=pki.ca),
        "b.example": oci.HostConfig(endpoint=endpoint),
    }
    with pytest.raises(oci.InvalidArgument, match=r"b\.example"):
        oci.Client(hosts=hosts)


async def test_nobody_is_checked(pki: Pki, caplog: pytest.LogCaptureFixture) -> None:
    """`skip_verify` works, and is said aloud, once."""
    async with serve_registry(ssl=pki.server("other.example")) as registry:
        hosts = {registry.host: oci.HostConfig(skip_verify=True)}
        with caplog.at_level(logging.WARNING, logger="oci_distribution"):
            async with oci.Client(hosts=hosts) as client:
                for _ in range(3):
                    await client.registry(registry.url).ping()
    assert [registry.host in record.getMessage() for record in caplog.records] == [True]


async def test_one_context_for_one_setting(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is built once, in a thread, however many ask at once; hosts of one setting share it."""
    built: list[str] = []
    special = tls._special

    def counted(settings: tls.TLSSettings, name: str) -> ssl.SSLContext:
        with pytest.raises(RuntimeError):  # no event loop here
            anyio.get_current_task()
        built.append(name)
        return special(settings, name)

    monkeypatch.setattr(tls, "_special", counted)
    async with (
        serve_registry(ssl=pki.server()) as one,
        serve_registry(ssl=pki.server()) as other,
        oci.Client(hosts={"*": oci.HostConfig(ca_file=pki.ca)}) as client,
        anyio.create_task_group() as tasks,
    ):
        for registry in (one, other) * 20:
            tasks.start_soon(client.registry(registry.url).ping)
    assert len(built) == 1


@pytest.mark.parametrize("option", ["http", "transport"])
async def test_a_client_of_ones_own_has_its_own_tls(pki: Pki, option: str) -> None:
    """Settings that nobody would obey are refused."""
    async with httpx.AsyncClient() as http:
        given = {"http": http} if option == "http" else {"transport": http._transport}
        with pytest.raises(ValueError, match="TLS"):
            oci.Client(hosts={"registry.lan": oci.HostConfig(ca_file=pki.ca)}, **given)


async def test_hosts_are_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry may redirect to ever new ones; what is said of TLS is found for each."""
    monkeypatch.setattr(tls, "MAX_HOSTS", 3)
    contexts = tls.TLSContexts(HostTable({"s1.test": oci.HostConfig(skip_verify=True)}).tls)
    found = [await contexts(f"s{number}.test", 443) for number in range(10)]

    assert len(contexts._by_host) == 3
    assert await contexts("s1.test", 443) is found[1]
    assert found[2] is found[9] is not found[1]
