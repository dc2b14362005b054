"""What a login and a logout do where a helper keeps the secrets."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oci_distribution.auth.credentials import ANONYMOUS, Credential
from oci_distribution.auth.docker_config import AuthFile
from oci_distribution.auth.helpers import Helpers
from oci_distribution.auth.search import AuthFileProvider
from oci_distribution.auth.stored import erase_credential, store_credential
from oci_distribution.errors import CredentialError, InvalidArgument

ME = Credential("me", "s3cr3t")
HUB = "https://index.docker.io/v1/"


def content(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "docker" / "config.json"


HELPER = """#!{python}
import json, os, sys
folder = {folder!r}
action, text = sys.argv[1], sys.stdin.read()
with open(os.path.join(folder, "calls"), "a") as calls:
    calls.write(f"{{action}} {{' '.join(sys.argv[2:])}}|{{text}}\\n")
path = os.path.join(folder, "kept.json")
kept = json.load(open(path)) if os.path.exists(path) else {{}}
if action == "store":
    entry = json.loads(text)
    kept[entry["ServerURL"]] = [entry["Username"], entry["Secret"]]
elif text not in kept:
    print("credentials not found in native keychain")
    sys.exit(1)
elif action == "erase":
    del kept[text]
else:
    print(json.dumps({{"ServerURL": text, "Username": kept[text][0], "Secret": kept[text][1]}}))
json.dump(kept, open(path, "w"))
"""

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a helper on PATH, by default one that works, and return its folder."""

    def put(name: str = "test", script: str | None = None) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        program = folder / f"docker-credential-{name}"
        working = HELPER.format(python=sys.executable, folder=str(folder))
        program.write_text(working if script is None else f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        return folder

    return put


@pytest.fixture
def with_store(config: Path) -> Path:
    config.parent.mkdir()
    config.write_text('{"credsStore": "test", "auths": {"ghcr.io": {"auth": "b2xkOm9sZA=="}}}')
    return config


@pytest.mark.parametrize("credential", [ME, Credential(identity_token="idt")])
@pytest.mark.parametrize(("host", "key"), [("ghcr.io", "ghcr.io"), ("docker.io", HUB)])
async def test_a_helper_keeps_the_secret(
    credential: Credential, host: str, key: str, install: Install, with_store: Path
) -> None:
    """The file names the registry, and holds no secret of it any more."""
    folder = install()
    stored_in = await store_credential(host, credential, with_store)
    assert stored_in == str(folder / "docker-credential-test")
    assert content(with_store)["auths"][key] == {}
    assert await AuthFileProvider.from_path(with_store)(host, None) == credential
    assert (folder / "calls").read_text().startswith("store |{")
    assert await erase_credential(host, with_store)
    assert content(folder / "kept.json") == {}
    assert key not in content(with_store)["auths"]


async def test_a_registrys_own_helper_comes_first(install: Install, config: Path) -> None:
    """`credHelpers` before `credsStore`, and an empty name for none."""
    install("own")
    config.parent.mkdir()
    config.write_text('{"credsStore": "missing", "credHelpers": {"ghcr.io": "own", "quay.io": ""}}')
    assert (await store_credential("ghcr.io", ME, config)).endswith("docker-credential-own")
    assert await store_credential("quay.io", ME, config) == str(config)


async def test_a_secret_does_not_fall_into_the_file(with_store: Path) -> None:
    """A helper that is named and not installed is an error, and not a reason for plain text."""
    with pytest.raises(CredentialError, match="docker-credential-test"):
        await store_credential("ghcr.io", ME, with_store)
    assert "s3cr3t" not in with_store.read_text()
    # What is in the file can be erased all the same.
    assert await erase_credential("ghcr.io", with_store)


async def test_a_helper_keeps_no_registry_token(install: Install, with_store: Path) -> None:
    """It has no field for it."""
    install()
    with pytest.raises(InvalidArgument, match="registry token"):
        await store_credential("ghcr.io", Credential(registry_token="rt"), with_store)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("cat; cat >&2; exit 1", "exit status 1"),
        ("echo credentials not found; exit 1", "failed to store"),
        ("yes s3cr3t", "more than"),
    ],
)
async def test_a_helper_that_fails_to_store_shows_no_secret(
    script: str, reason: str, install: Install, with_store: Path
) -> None:
    """It may print what it was given: that is in no error, and the file stays as it was."""
    install(script=script)
    before = with_store.read_text()
    with pytest.raises(CredentialError, match=reason) as caught:
        await store_credential("ghcr.io", ME, with_store)
    assert "s3cr3t" not in repr(caught.value) + str(caught.value)
    assert with_store.read_text() == before


async def test_what_this_process_stored_is_asked_for_at_once(install: Install, with_store: Path) -> None:
    """The short memory of helpers ends with a login."""
    install()
    remembering = Helpers()
    auth_file = AuthFile.parse(b'{"credsStore": "test"}', "config.json")
    await store_credential("ghcr.io", ME, with_store)
    assert await auth_file.credential("ghcr.io", None, ask=remembering.ask) == ME
    other = Credential("you", "x")
    await store_credential("ghcr.io", other, with_store)
    assert await auth_file.credential("ghcr.io", None, ask=remembering.ask) == other
    await erase_credential("ghcr.io", with_store)
    assert await auth_file.credential("ghcr.io", None, ask=remembering.ask) == ANONYMOUS


async def test_a_logout_from_docker_hub_erases_the_tokens_of_the_browser_login(
    install: Install, with_store: Path
) -> None:
    """docker keeps two beside the credential, and whoever finds one is logged in."""
    folder = install()
    kept = {key: ["me", "s3cr3t"] for key in (HUB, f"{HUB}access-token", f"{HUB}refresh-token", "ghcr.io")}
    (folder / "kept.json").write_text(json.dumps(kept))
    assert await erase_credential("docker.io", with_store)
    assert list(content(folder / "kept.json")) == ["ghcr.io"]
