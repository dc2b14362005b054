"""What a user says about hosts, which of it counts for a name, and what is refused."""

from __future__ import annotations

import copy
import pickle
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from pydantic import ValidationError

import oci_distribution as oci
from oci_distribution.spec.urls import Origin
from oci_distribution.testing import TokenAuth, serve_registry
from oci_distribution.transport.host_table import HostTable, host_origin
from oci_distribution.transport.patterns import check_pattern, matches
from tests.hostile import Exchange, HostileServer, hostile


@pytest.mark.parametrize(
    ("registry", "origin"),
    [
        ("ghcr.io", "https://ghcr.io"),
        ("ghcr.io:443", "https://ghcr.io"),
        ("registry.lan:5000", "https://registry.lan:5000"),
        ("10.0.0.1:5000", "https://10.0.0.1:5000"),
        ("localhost", "http://localhost"),
        ("localhost:5000", "http://localhost:5000"),
        ("127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("[::1]:5000", "http://[::1]:5000"),
        ("localhost.evil.example", "https://localhost.evil.example"),
    ],
)
def test_https_unless_it_is_this_machine(registry: str, origin: str) -> None:
    """Without a word from the user, only this machine is spoken to in plain http."""
    assert str(host_origin(registry)) == origin


def test_the_written_scheme_decides() -> None:
    """What stands before the name goes before what is configured."""
    config = oci.HostConfig(scheme="https")

    assert str(host_origin("registry.lan", scheme="http", config=config)) == "http://registry.lan"
    assert str(host_origin("localhost:5000", config=config)) == "https://localhost:5000"


@pytest.mark.parametrize("config", [{}, {"docker.io": oci.HostConfig()}, {"*": oci.HostConfig()}])
def test_docker_hub_answers_elsewhere(config: dict[str, oci.HostConfig]) -> None:
    """The name docker.io is a web site; its API is at registry-1.docker.io, whatever else is configured."""
    assert str(HostTable(config).host("docker.io").origin) == "https://registry-1.docker.io"


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("*", "ghcr.io", True),
        ("*", "localhost:5000", True),
        ("*", "[::1]:5000", True),
        ("*:5000", "registry.lan:5000", True),
        ("*:5000", "registry.lan", False),
        ("*.pkg.dev", "europe-docker.pkg.dev", True),
        ("*.pkg.dev", "a.b.pkg.dev", True),
        ("*.pkg.dev", "pkg.dev", False),
        ("*.pkg.dev", "pkg.dev.evil.example", False),
        ("*.pkg.dev", "evilpkg.dev", False),
        ("*.pkg.dev", "Europe-Docker.PKG.dev", True),
        ("*.pkg.dev", "europe-docker.pkg.dev:8443", True),
        ("*.pkg.dev:443", "europe-docker.pkg.dev", False),
        ("*.dkr.ecr.*.amazonaws.com", "123.dkr.ecr.eu-west-1.amazonaws.com", True),
        ("*.dkr.ecr.*.amazonaws.com", "123.dkr.ecr.a.b.amazonaws.com", False),
        ("*.dkr.ecr.*.amazonaws.com", "dkr.ecr.eu-west-1.amazonaws.com", False),
        ("registry.*.lan", "registry.north.lan", True),
        ("registry.*.lan", "other.registry.north.lan", False),
        ("*.a", "", False),
    ],
)
def test_a_pattern_stands_for_whole_labels(pattern: str, name: str, fits: bool) -> None:
    """At the beginning for one or more, elsewhere for one; without a port for every port."""
    assert matches(check_pattern(pattern), name) is fits


def test_the_most_specific_counts() -> None:
    """A name goes before a pattern, a longer pattern before a shorter one, and nothing is mixed."""
    names = ("*", "*.lan", "*.north.lan", "registry.north.lan", "registry.north.lan:5000")
    table = HostTable({name: {"headers": {"X-From": name}} for name in names})

    def chosen(name: str) -> str:
        return dict(table.host(name).headers)["X-From"]

    assert chosen("ghcr.io") == "*"
    assert chosen("registry.lan") == "*.lan"
    assert chosen("other.north.lan") == "*.north.lan"
    assert chosen("registry.north.lan") == "registry.north.lan"
    assert chosen("registry.north.lan:5000") == "registry.north.lan:5000"
    assert chosen("registry.north.lan:6000") == "*.north.lan"


def test_it_is_decided_once() -> None:
    """A host is made for a name once, and never for a request."""
    table = HostTable({"*.lan": {"scheme": "http"}})

    assert table.host("registry.lan") is table.host("registry.lan")


@pytest.mark.parametrize(
    "pattern",
    ["", "*a.example", "a*", "**", "*.", ".*", "*..a", "a b", "*.ex ample", "*/x", "https://*.a", "*:x"],
)
def test_a_broken_name_or_pattern_is_refused(pattern: str) -> None:
    """Before any request, as everything else that follows."""
    with pytest.raises(oci.InvalidReference):
        oci.Client(hosts={pattern: oci.HostConfig()})


NONSENSE: dict[str, dict[str, Any]] = {
    "shceme": {"shceme": "http"},
    "scheme": {"scheme": "ftp"},
    "endpoint": {"endpoint": "https://b.example/"},
    "timeouts: zero": {"timeouts": {"read": 0}},
    "timeouts: negative": {"timeouts": {"connect": -1.0}},
    "timeouts: not a number": {"timeouts": {"write": float("nan")}},
    "timeouts: unknown": {"timeouts": {"patience": 1.0}},
    "timeouts: total": {"timeouts": {"total": 0.0}},
    "limits": {"limits": {"requests_per_second": 0}},
    "slots": {"slots": {"requests": 0}},
    "headers: name": {"headers": {"X\n-Y": "s3cr3t"}},
    "headers: empty name": {"headers": {"": "s3cr3t"}},
    "headers: value": {"headers": {"X-Y": "s3cr3t\r\nEvil: yes"}},
    "headers: no ASCII": {"headers": {"X-Y": "s3cr3tü"}},
    "headers: authorization": {"headers": {"Authorization": "s3cr3t"}},
    "headers: host": {"headers": {"HOST": "s3cr3t"}},
    "profile: name": {"profile": "no-such"},
    "profile: fact": {"profile": {"max_chunk": 0}},
    "profile: host": {"profile": {"hosts": ["*a"]}},
    "mirrors": {"mirrors": [{"registry": "https://mirror"}]},
    "client_key": {"client_key": "key.pem"},
    "not a mapping": [],  # type: ignore[dict-item]
}


@pytest.mark.parametrize("config", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_about_a_host_names_the_host(config: dict[str, Any]) -> None:
    """Before any request, and never with a value, which may be a secret."""
    with pytest.raises(oci.InvalidArgument, match=r"registry\.lan") as caught:
        oci.Client(hosts={"registry.lan": config})
    assert "s3cr3t" not in str(caught.value)


def test_a_config_of_its_own_is_checked_when_it_is_made() -> None:
    """A misspelled setting is an error, not silence, and shows no value."""
    with pytest.raises(ValidationError) as caught:
        oci.HostConfig.model_validate({"shceme": "s3cr3t"})
    assert "s3cr3t" not in str(caught.value)


def test_headers_are_in_no_repr() -> None:
    """They may be secrets."""
    config = oci.HostConfig(headers={"X-Key": "s3cr3t"})
    client = oci.Client(hosts={"registry.lan": config})

    for thing in (config, client, client.registry("registry.lan"), client.registry("registry.lan").host):
        assert "s3cr3t" not in repr(thing)


def test_headers_are_in_no_pickle() -> None:
    """Pickles end up in queues and crash reports; without headers there is nothing to hide."""
    plain = oci.HostConfig(skip_verify=True)
    assert pickle.loads(pickle.dumps(plain)) == plain

    secret = oci.HostConfig(headers={"X-Key": "s3cr3t"})
    assert copy.deepcopy(secret) == secret
    for thing in (secret, oci.Client(hosts={"a.example": secret}).registry("a.example").host):
        with pytest.raises(TypeError, match="secrets and is not pickled"):
            pickle.dumps(thing)


@pytest.mark.parametrize(
    "headers", [{"X-Y": "s3cr3t\n"}, {"X-Y": "s3cr3tü"}, {"X\n": "s3cr3t"}, {"Content-Length": "s3cr3t"}]
)
def test_headers_of_a_client_are_checked_at_once(headers: dict[str, str]) -> None:
    """And not by the first request; the error does not show what may be a secret."""
    with pytest.raises(oci.InvalidArgument) as caught:
        oci.Client(headers=headers)
    assert "s3cr3t" not in str(caught.value)


def test_a_value_of_no_type_that_fits_is_told_by_its_key() -> None:
    """And not by what pydantic calls the types that it tried."""
    with pytest.raises(oci.InvalidArgument, match=r"a\.example: ca_file") as caught:
        oci.Client(hosts={"a.example": {"ca_file": 3}})
    assert "[" not in str(caught.value)


async def test_headers_go_to_their_host_only() -> None:
    """And take the place of the client's of the same name; other hosts get the client's."""
    async with serve_registry() as one, serve_registry() as other:
        hosts = {one.host: oci.HostConfig(headers={"X-Team": "one", "X-Key": "key"})}
        async with oci.Client(hosts=hosts, headers={"X-Team": "all"}) as client:
            await client.registry(one.url).ping()
            await client.registry(other.url).ping()
        assert (one.requests[0].headers["x-team"], one.requests[0].headers["x-key"]) == ("one", "key")
        assert other.requests[0].headers["x-team"] == "all"
        assert "x-key" not in other.requests[0].headers
        assert other.requests[0].headers["user-agent"] == one.requests[0].headers["user-agent"]


async def test_plain_dicts_are_taken() -> None:
    """As they come out of a file of settings."""
    async with serve_registry() as registry:
        hosts = {"registry.example": {"endpoint": registry.host, "scheme": "http", "profile": "zot"}}
        async with oci.Client(hosts=hosts) as client:
            await client.registry("registry.example").ping()
            assert client.registry("registry.example").host.profile.name == "zot"
        assert len(registry.requests) == 1


async def test_slots_of_one_host() -> None:
    """It gets so many requests at once, whatever others get."""
    active: dict[str, int] = {"one": 0, "other": 0}
    most = dict(active)

    def counting(name: str) -> HostileServer:
        async def script(exchange: Exchange) -> None:
            active[name] += 1
            most[name] = max(most[name], active[name])
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            active[name] -= 1
            await exchange.answer(200)

        return hostile(script)

    async with counting("one") as one, counting("other") as other:
        hosts = {f"127.0.0.1:{one.port}": oci.HostConfig(slots=oci.Slots(requests=1))}
        async with oci.Client(hosts=hosts) as client, anyio.create_task_group() as tasks:
            for server in (one, other) * 10:
                tasks.start_soon(client.registry(server.url).ping)
    assert most["one"] == 1
    assert most["other"] > 1


async def test_timeouts_of_one_host() -> None:
    """It may be silent for so long only, though others may be for longer."""

    async def silent(exchange: Exchange) -> None:
        await exchange.hung_up()

    async with hostile(silent) as server:
        impatient = oci.Timeouts(connect=0.05, read=0.05)
        hosts = {f"127.0.0.1:{server.port}": oci.HostConfig(timeouts=impatient)}
        async with oci.Client(hosts=hosts, retry=oci.RetryPolicy(attempts=1)) as client:
            with pytest.raises(oci.TimeoutExceeded):
                await client.registry(server.url).ping()


async def test_the_whole_time_of_one_host() -> None:
    """Retries included."""

    async def busy(exchange: Exchange) -> None:
        await exchange.answer(503)

    async with hostile(busy) as server:
        hosts = {f"127.0.0.1:{server.port}": oci.HostConfig(timeouts=oci.Timeouts(total=0.2))}
        async with oci.Client(hosts=hosts, retry=oci.RetryPolicy(attempts=1000)) as client:
            with pytest.raises(oci.DeadlineExceeded):
                await client.registry(server.url).ping()


async def test_a_mirror_is_spoken_to_as_configured_for_its_name() -> None:
    """Its profile, headers and timeouts are its own."""
    patient = oci.Timeouts(read=5.0)
    hosts = {
        "docker.io": oci.HostConfig(mirrors=(oci.Mirror(registry="mirror.lan:5000"),)),
        "*.lan": oci.HostConfig(scheme="http", timeouts=patient, profile="zot"),
    }
    async with oci.Client(hosts=hosts) as client:
        mirror = client.registry("docker.io").host.mirrors[0].host
        assert str(mirror.origin) == "http://mirror.lan:5000"
        assert (mirror.timeouts, mirror.profile.name, mirror.mirrors) == (patient, "zot", ())


async def test_headers_of_ours_do_not_go_to_token_servers() -> None:
    """Only our name does: what a user sends to a registry may be a secret of theirs."""

    async def ann(host: str, repository: str | None) -> oci.Credential:
        return oci.Credential(username="ann", password="secret")

    async with serve_registry(auth=TokenAuth(users={"ann": "secret"})) as registry:
        headers = {"X-Key": "key", "User-Agent": "mine/1"}
        async with oci.Client(headers=headers, auth_provider=ann) as client:
            await client.registry(registry.url).ping()
        asked = {request.path: request.headers for request in registry.requests}
        assert asked["/v2/"]["x-key"] == "key"
        assert "x-key" not in asked["/token"]
        assert asked["/token"]["user-agent"] == "mine/1"


@asynccontextmanager
async def with_token_server(script: Callable[[Exchange], Awaitable[None]]) -> AsyncGenerator[tuple[str, str]]:
    """A registry, and a token server of its own that runs `script`: the names of both."""
    async with hostile(script) as token_server:

        async def registry(exchange: Exchange) -> None:
            challenge = f'Bearer realm="{token_server.url}/token"'
            if exchange.header("Authorization"):
                await exchange.answer(200, b"{}")
            else:
                await exchange.answer(401, headers=[("WWW-Authenticate", challenge)])

        async with hostile(registry) as server:
            yield f"127.0.0.1:{server.port}", f"127.0.0.1:{token_server.port}"


@pytest.mark.parametrize("named", ["the registry", "the token server", "a pattern"])
async def test_timeouts_are_good_for_token_servers(named: str) -> None:
    """For one that is named itself, and else for those of the registry that is."""

    async def silent(exchange: Exchange) -> None:
        await exchange.hung_up()

    async with with_token_server(silent) as (registry, token_server):
        name = {"the registry": registry, "the token server": token_server, "a pattern": "*"}[named]
        hosts = {name: oci.HostConfig(timeouts=oci.Timeouts(read=0.05))}
        async with oci.Client(hosts=hosts, retry=oci.RetryPolicy(attempts=1)) as client:
            with anyio.fail_after(10), pytest.raises(oci.TimeoutExceeded, match=f"{token_server}/token"):
                await client.registry(f"http://{registry}").ping()


async def test_slots_are_good_for_token_servers() -> None:
    """It gets so many requests at once, wherever it was met first."""
    active = most = 0

    async def counting(exchange: Exchange) -> None:
        nonlocal active, most
        active += 1
        most = max(most, active)
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        active -= 1
        await exchange.answer(200, b'{"token": "t"}')

    async with with_token_server(counting) as (registry, token_server):
        hosts = {token_server: oci.HostConfig(slots=oci.Slots(requests=1))}
        async with oci.Client(hosts=hosts) as client, anyio.create_task_group() as tasks:
            for number in range(10):
                repo = client.repository(f"http://{registry}/a{number}")
                tasks.start_soon(repo.blobs.read, oci.Digest.of(b"{}"))
    assert most == 1


async def test_limits_of_a_host_that_another_redirects_to_first() -> None:
    """What is said of it counts from its first request on."""

    async def there(exchange: Exchange) -> None:
        await exchange.answer(200, b"abc")

    async with hostile(there) as other:

        async def sends_there(exchange: Exchange) -> None:
            await exchange.answer(307, headers=[("Location", f"{other.url}/blob")])

        async with hostile(sends_there) as server:
            hosts = {f"127.0.0.1:{other.port}": oci.HostConfig(limits=oci.Limits(requests_per_second=2))}
            async with oci.Client(hosts=hosts) as client:
                await client.repository(f"{server.url}/a").blobs.read(oci.Digest.of(b"abc"))
                paces = {origin.port: pace for origin, pace in client._sender._paces.items()}
    assert paces[other.port]._rate() == 2
    assert paces[server.port]._rate() is None


def test_two_spellings_of_one_name_say_the_same() -> None:
    """The later one would win silently."""
    one, other = oci.HostConfig(skip_verify=True), oci.HostConfig()
    oci.Client(hosts={"docker.io": one, "index.docker.io": one})

    with pytest.raises(oci.InvalidArgument, match=r"index\.docker\.io has another name"):
        oci.Client(hosts={"docker.io": one, "index.docker.io": other})


@pytest.mark.parametrize("config", [{"limits": oci.Limits(requests_per_second=2)}, {"slots": oci.Slots(1)}])
def test_two_names_of_one_place_have_one_pace(config: dict[str, Any]) -> None:
    """One of them would win silently."""
    hosts: dict[str, dict[str, Any]] = {
        "one.example": {"endpoint": "registry.lan"},
        "two.example": {"endpoint": "registry.lan", **config},
    }
    with pytest.raises(oci.InvalidArgument, match=rf"two\.example says .* of {next(iter(config))} with"):
        oci.Client(hosts=hosts)


@pytest.mark.parametrize("url", ["http://registry.lan", "https://registry.lan", "https://registry.lan:5000"])
def test_a_place_is_found_by_its_name_and_port(url: str) -> None:
    """The port of the scheme may be said, and left out."""
    origin = Origin.of(url)
    names = {f"registry.lan:{origin.port}", origin.netloc}

    for name in names:
        table = HostTable({name: {"timeouts": {"read": 7}}})
        assert table.at(origin).timeouts == oci.Timeouts(read=7)
    assert HostTable({"registry.lan:7": {"timeouts": {"read": 7}}}).at(origin).timeouts is None


def test_values_of_a_mirror_are_in_no_error() -> None:
    """As those of a host's settings are not."""
    with pytest.raises(ValidationError) as caught:
        oci.Mirror(registry="ann:s3cr3t@r.example")
    assert "s3cr3t" not in str(caught.value)


def test_a_password_in_a_pattern_is_not_shown() -> None:
    """It is no part of one."""
    with pytest.raises(oci.InvalidReference) as caught:
        oci.Client(hosts={"https://ann:s3cr3t@*.example": {}})
    assert "s3cr3t" not in str(caught.value)
