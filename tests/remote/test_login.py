"""Login and logout: checked first, stored as docker does, and good at once."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest

import oci_distribution as oci
from oci_distribution.testing import BasicAuth, RunningRegistry, TokenAuth, User, serve_registry
from tests.hostile import Exchange, hostile

ANN = oci.Credential("ann", "secret")
WRONG = oci.Credential("ann", "hunter2")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place in which credentials are."""
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_AUTH_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return tmp_path / "docker" / "config.json"


@pytest.fixture(params=[BasicAuth, TokenAuth])
async def guarded(request: pytest.FixtureRequest, config: Path) -> AsyncGenerator[RunningRegistry]:
    """A registry that lets in Ann, and Bob where he may."""
    users = {"ann": "secret", "bob": User("b0b", {"bobs/*": {"pull"}})}
    async with serve_registry(auth=request.param(users)) as registry:
        yield registry


async def is_in(client: oci.Client, registry: RunningRegistry) -> bool:
    """Say whether the client may read what only Ann may."""
    try:
        await client.registry(registry.url).get_manifest("anns/app", "v1")
    except oci.NotFound:
        return True
    except (oci.Unauthorized, oci.TokenError):
        return False
    return True


async def test_a_login_is_good_at_once(guarded: RunningRegistry, config: Path) -> None:
    """The client that was refused before is let in, without a new one; after a logout it is nobody again."""
    async with oci.Client() as client:
        assert not await is_in(client, guarded)
        login = await client.login(guarded.url, ANN)
        assert login == oci.Login(stored_in=str(config), is_checked=True)
        assert await is_in(client, guarded)
        assert list(json.loads(config.read_text())["auths"]) == [guarded.host]
        assert await client.logout(guarded.url)
        assert not await is_in(client, guarded)
        assert not await client.logout(guarded.url)


async def test_another_client_finds_the_login(guarded: RunningRegistry, config: Path) -> None:
    """It is where docker and podman look, and we."""
    async with oci.Client() as client:
        await client.login(guarded.url, ANN)
    async with oci.Client() as client:
        assert await is_in(client, guarded)


async def test_a_wrong_password_is_not_stored(guarded: RunningRegistry, config: Path) -> None:
    """The error is that of the registry or of its token server, without the password; the old login stays."""
    async with oci.Client() as client:
        with pytest.raises((oci.Unauthorized, oci.TokenError)) as caught:
            await client.login(guarded.url, WRONG)
        assert not config.exists()
        await client.login(guarded.url, ANN)
        with pytest.raises((oci.Unauthorized, oci.TokenError)):
            await client.login(guarded.url, WRONG)
        assert await is_in(client, guarded)
    assert "hunter2" not in str(caught.value) + repr(caught.value)


async def test_only_the_credential_that_is_given_is_checked(guarded: RunningRegistry, config: Path) -> None:
    """Neither what is stored already nor a token of it lets a wrong password pass."""
    async with oci.Client(auth_provider=oci.StaticProvider({guarded.host: ANN})) as client:
        assert await is_in(client, guarded)
        with pytest.raises((oci.Unauthorized, oci.TokenError)):
            await client.login(guarded.url, WRONG)
        assert await is_in(client, guarded)


async def test_who_may_do_little_may_log_in(guarded: RunningRegistry, config: Path) -> None:
    """Being known is enough."""
    async with oci.Client() as client:
        assert (await client.login(guarded.url, oci.Credential("bob", "b0b"))).is_checked


async def test_a_login_need_not_be_checked(guarded: RunningRegistry, config: Path) -> None:
    """Then nothing is sent, and the answer says so."""
    async with oci.Client() as client:
        assert not (await client.login(guarded.url, WRONG, check=False)).is_checked
    assert len(guarded.requests) == 0
    assert config.exists()


async def test_a_registry_for_everybody_checks_nothing(config: Path) -> None:
    """What was not looked at is stored, and said to be unchecked."""
    async with serve_registry() as registry, oci.Client() as client:
        login = await client.login(registry.url, WRONG)
    assert login == oci.Login(stored_in=str(config), is_checked=False)


class OpenToPings:
    """A registry that lets everybody ping, and guards its list of repositories with `statuses`."""

    def __init__(self, *statuses: int, challenge: str = 'Basic realm="x"') -> None:
        self.statuses, self.challenge = list(statuses), challenge

    async def __call__(self, exchange: Exchange) -> None:
        await exchange.read_body()
        if exchange.target == "/v2/":
            await exchange.answer(200)
            return
        status = self.statuses.pop(0)
        await exchange.answer(status, b"", [("WWW-Authenticate", self.challenge)] if status == 401 else [])


@pytest.mark.parametrize(
    ("statuses", "is_checked"), [((401, 200), True), ((401, 403), True), ((404,), False), ((200,), False)]
)
async def test_where_pings_are_for_everybody_the_catalog_is_asked_for(
    statuses: tuple[int, ...], is_checked: bool, config: Path
) -> None:
    """It makes most registries look at the credential; one that does not is no reason to fail."""
    async with hostile(OpenToPings(*statuses)) as server, oci.Client() as client:
        assert (await client.login(server.url, ANN)).is_checked == is_checked
        assert len(server.requests) == 1 + len(statuses)


async def test_a_refusal_behind_an_open_ping_is_one(config: Path) -> None:
    """The ping said nothing of the password."""
    async with hostile(OpenToPings(401, 401)) as server, oci.Client() as client:
        with pytest.raises(oci.Unauthorized):
            await client.login(server.url, WRONG)
    assert not config.exists()


async def test_what_is_down_is_not_taken_for_unguarded(config: Path) -> None:
    """A registry that fails says nothing of the credential."""
    retry = oci.RetryPolicy(attempts=1)
    async with hostile(OpenToPings(503)) as server, oci.Client(retry=retry) as client:
        with pytest.raises(oci.ResponseError):
            await client.login(server.url, ANN)
    assert not config.exists()


async def test_an_identity_token_is_checked_and_stored(config: Path) -> None:
    """It goes to the token server as a form, and into the file under its own name."""

    async def script(exchange: Exchange) -> None:
        body = await exchange.read_body()
        if exchange.target == "/token":
            is_right = exchange.method == "POST" and b"refresh_token=1d3nt1ty" in body
            await exchange.answer(200 if is_right else 401, b'{"access_token": "t"}')
        elif exchange.header("Authorization") == "Bearer t":
            await exchange.answer(200)
        else:
            await exchange.answer(401, b"", [("WWW-Authenticate", 'Bearer realm="/token"')])

    async with hostile(script) as server, oci.Client() as client:
        assert (await client.login(server.url, oci.Credential(identity_token="1d3nt1ty"))).is_checked
        entry = json.loads(config.read_text())["auths"][server.url.removeprefix("http://")]
        assert entry == {"identitytoken": "1d3nt1ty"}
        config.unlink()
        with pytest.raises(oci.TokenError):
            await client.login(server.url, oci.Credential(identity_token="other"))
        assert not config.exists()


async def test_docker_hub_is_stored_under_its_own_key(config: Path) -> None:
    """Whatever it is called."""
    async with oci.Client() as client:
        for name in ("docker.io", "index.docker.io", "https://registry-1.docker.io"):
            await client.login(name, ANN, check=False)
            assert list(json.loads(config.read_text())["auths"]) == ["https://index.docker.io/v1/"]
            assert await client.logout(name)


async def test_a_users_own_scheme_does_not_check_for_us(guarded: RunningRegistry, config: Path) -> None:
    """Only the credential that is to be stored is sent."""
    async with oci.Client(auth=httpx.BasicAuth("ann", "secret")) as client:
        with pytest.raises((oci.Unauthorized, oci.TokenError)):
            await client.login(guarded.url, WRONG)
        assert (await client.login(guarded.url, ANN)).is_checked
        assert await client.logout(guarded.url)


async def test_a_users_own_header_does_not_check_for_us(guarded: RunningRegistry, config: Path) -> None:
    """An `Authorization` that goes along with everything is left out of the check."""
    right = {"Authorization": "Basic YW5uOnNlY3JldA=="}
    async with oci.Client(headers=right) as client:
        with pytest.raises((oci.Unauthorized, oci.TokenError)):
            await client.login(guarded.url, WRONG)
        assert (await client.login(guarded.url, ANN)).is_checked


@pytest.mark.parametrize("name", ["", "not a host", "ghcr.io/org", "user:hunter2@host"])
async def test_what_is_no_registry_is_refused(name: str, config: Path) -> None:
    """Before anything is sent or written, and without a password in the error."""
    async with oci.Client() as client:
        with pytest.raises(oci.InvalidArgument) as caught:
            await client.login(name, ANN)
        with pytest.raises(oci.InvalidArgument):
            await client.logout(name)
    assert "hunter2" not in str(caught.value)


async def test_what_cannot_be_stored_is_not_sent(guarded: RunningRegistry, config: Path) -> None:
    """A login as nobody is a mistake that is said first."""
    async with oci.Client() as client:
        with pytest.raises(oci.InvalidArgument, match="nothing to log in with"):
            await client.login(guarded.url, oci.Credential())
    assert len(guarded.requests) == 0
