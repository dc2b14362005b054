"""Who we are to real registries, under htpasswd and tokens: logins, helpers, and what other tools stored."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

import oci_distribution as oci
from tests.images import push_blob, push_image
from tests.integration.conftest import runner

ANN = oci.Credential(username="ann", password="secret")
WRONG = oci.Credential(username="ann", password="hunter2")
REFUSED = (oci.Unauthorized, oci.TokenError)

HELPER = """#!{python}
import json, pathlib, sys
kept = pathlib.Path({kept!r})
entries = json.loads(kept.read_text()) if kept.exists() else {{}}
action, text = sys.argv[1], sys.stdin.read().strip()
if action == "store":
    entry = json.loads(text)
    entries[entry["ServerURL"]] = entry
elif text not in entries:
    sys.exit(print("credentials not found in native keychain") or 1)
elif action == "erase":
    del entries[text]
else:
    print(json.dumps(entries[text]))
kept.write_text(json.dumps(entries))
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where credentials are, for us and for other tools."""
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_AUTH_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path / "config.json"


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`docker-credential-tests` on PATH; the file in which it keeps what it is given."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program, kept = folder / "docker-credential-tests", tmp_path / "kept.json"
    program.write_text(HELPER.format(python=sys.executable, kept=str(kept)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return kept


async def push(client: oci.Client, host: str) -> oci.Manifest:
    return await push_image(client.repository(f"{host}/team/auth"), [b"who are we"], tag="v1")


async def test_a_login_lets_us_in_and_other_tools(host: str, config: Path) -> None:
    """It is checked, good at once, and where others look; a logout ends it."""
    async with oci.Client() as client:
        with pytest.raises(REFUSED):
            await client.login(host, WRONG)
        assert not config.exists()
        assert await client.login(host, ANN) == oci.Login(stored_in=str(config), is_checked=True)
        image = await push(client, host)
        assert runner("oras")("resolve", "--plain-http", f"{host}/team/auth:v1") == str(image.digest)
        assert await client.logout(host)
        with pytest.raises(REFUSED):
            await client.repository(f"{host}/team/auth").manifests.get("v1")


async def test_a_helper_keeps_the_login(host: str, config: Path, helper: Path) -> None:
    """It has the secret, the file has not; we and others ask it."""
    config.write_text('{"credsStore": "tests"}')
    async with oci.Client() as client:
        login = await client.login(host, ANN)
        assert login.stored_in.endswith("docker-credential-tests")
        assert json.loads(config.read_text()) == {"credsStore": "tests", "auths": {host: {}}}
        assert json.loads(helper.read_text())[host]["Secret"] == "secret"
        image = await push(client, host)
    async with oci.Client() as other:
        assert (await other.repository(f"{host}/team/auth").manifests.get("v1")).digest == image.digest
        assert runner("oras")("resolve", "--plain-http", f"{host}/team/auth:v1") == str(image.digest)
        assert await other.logout(host)
        assert host not in helper.read_text()
        with pytest.raises(REFUSED):
            await other.repository(f"{host}/team/auth").manifests.get("v1")


async def test_what_crane_and_skopeo_stored_is_found(host: str, config: Path, tmp_path: Path) -> None:
    """In docker's file and in podman's, which may come first."""
    crane, skopeo = runner("crane"), runner("skopeo")
    crane("auth", "login", host, "--username", "ann", "--password", "secret")
    async with oci.Client() as client:
        await push(client, host)
    podman = tmp_path / "containers" / "auth.json"
    skopeo(
        "login", "--tls-verify=false", "--authfile", podman, "--username", "ann", "--password", "secret", host
    )
    config.write_text(json.dumps({"auths": {host: {"auth": "YW5uOmh1bnRlcjI="}}}))
    environment = {"HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    for podman_first in (True, False):
        provider = oci.default_auth_provider(environment=environment, podman_first=podman_first)
        async with oci.Client(auth_provider=provider) as client:
            repo = client.repository(f"{host}/team/auth")
            if podman_first:
                await repo.manifests.get("v1")
            else:
                with pytest.raises(REFUSED):
                    await repo.manifests.get("v1")


async def test_tokens_and_passwords_for_a_whole_job(host: str, tmp_path: Path) -> None:
    """Push, mount, list and copy, with a table of credentials and tokens that outlive the client."""
    table = oci.StaticProvider({f"{host}/team": ANN})
    for _ in range(2):
        cache = oci.FileTokenCache(tmp_path / "tokens.json")
        async with oci.Client(auth_provider=table, token_cache=cache) as client:
            image = await push(client, host)
            layer = await push_blob(client.repository(f"{host}/team/auth"), b"to be mounted" * 1000)
            assert await client.registry(host).mount_blob("team/other", layer.digest, "team/auth")
            source, target = (client.repository(f"{host}/team/{name}") for name in ("auth", "copy"))
            await oci.copy(source, "v1", target)
            assert (await target.manifests.get("v1")).digest == image.digest
            with pytest.raises(REFUSED):
                await client.repository(f"{host}/elsewhere/app").manifests.get("v1")


async def test_a_new_login_takes_the_place_of_a_wrong_one(host: str, config: Path) -> None:
    """The client that was refused with what is stored needs no restart."""
    config.write_text(json.dumps({"auths": {host: {"auth": "YW5uOmh1bnRlcjI="}}}))
    async with oci.Client() as client:
        with pytest.raises(REFUSED):
            await push(client, host)
        await client.login(host, ANN)
        await push(client, host)
