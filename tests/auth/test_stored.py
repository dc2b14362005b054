"""What a login and a logout do to files and helpers."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from oci_distribution.auth import private_files
from oci_distribution.auth.credentials import ANONYMOUS, Credential
from oci_distribution.auth.docker_config import AuthFile
from oci_distribution.auth.helpers import Helpers
from oci_distribution.auth.search import AuthFileProvider, default_auth_provider, load_auth_file
from oci_distribution.auth.stored import erase_credential, store_credential
from oci_distribution.errors import CredentialError, InvalidArgument

ME = Credential("me", "s3cr3t")
HUB = "https://index.docker.io/v1/"


def content(path: Path) -> Any:
    return json.loads(path.read_text())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "docker" / "config.json"


# Files


@pytest.mark.parametrize(
    "credential",
    [
        ME,
        Credential("größe", "a:b:ü"),
        Credential(identity_token="idt"),
        Credential("me", identity_token="idt"),
        Credential("me", "pw", "idt", "rt"),
        Credential(registry_token="rt"),
    ],
)
@pytest.mark.parametrize("host", ["ghcr.io", "docker.io", "127.0.0.1:5000"])
async def test_what_is_stored_is_found(credential: Credential, host: str, config: Path) -> None:
    """Whatever it is made of, it comes back as it was, for that registry alone."""
    assert await store_credential(host, credential, config) == str(config)
    provider = AuthFileProvider.from_path(config)
    assert await provider(host, "a/b") == credential
    assert await provider("quay.io", "a/b") == ANONYMOUS


async def test_the_file_is_ours_alone(config: Path) -> None:
    """Nobody else may read it, nor its folder; whatever the mode of the file was before."""
    await store_credential("ghcr.io", ME, config)
    assert (mode(config), mode(config.parent)) == (0o600, 0o700)
    config.chmod(0o644)
    await store_credential("quay.io", ME, config)
    assert mode(config) == 0o600
    assert sorted(path.name for path in config.parent.iterdir()) == ["config.json", "config.json.lock"]


async def test_it_is_written_as_docker_writes_it(config: Path) -> None:
    """Byte for byte."""
    await store_credential("docker.io", Credential("me", "pw"), config)
    assert config.read_text() == (
        '{\n\t"auths": {\n\t\t"https://index.docker.io/v1/": {\n\t\t\t"auth": "bWU6cHc="\n\t\t}\n\t}\n}'
    )


async def test_what_else_is_in_the_file_stays(config: Path) -> None:
    """Fields that we do not know, of the file and of other entries, in their order."""
    before = {
        "HttpHeaders": {"X-Meta": "größe"},
        "auths": {"quay.io": {"auth": "eA==", "email": "x@y"}},
        "plugins": {"a": [1, 2.5, None, True]},
        "currentContext": "remote",
    }
    config.parent.mkdir()
    config.write_text(json.dumps(before))
    await store_credential("ghcr.io", ME, config)
    after = content(config)
    assert list(after) == list(before)
    assert after["auths"].pop("ghcr.io")
    assert after == before
    assert await erase_credential("ghcr.io", config)
    assert content(config) == before


async def test_an_old_spelling_does_not_come_back(config: Path) -> None:
    """What was stored for the same registry under another name is no second login."""
    config.parent.mkdir()
    old = {"docker.io": {"auth": "b2xkOm9sZA=="}, "https://ghcr.io/v1/": {"auth": "b2xkOm9sZA=="}}
    config.write_text(json.dumps({"auths": old}))
    await store_credential("docker.io", ME, config)
    await store_credential("ghcr.io", ME, config)
    assert list(content(config)["auths"]) == [HUB, "ghcr.io"]


async def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    """Many keep their configuration elsewhere, and link to it: what it points at is written."""
    real, link = tmp_path / "dotfiles" / "config.json", tmp_path / "config.json"
    link.symlink_to(real)
    await store_credential("ghcr.io", ME, link)
    assert link.is_symlink()
    assert list(content(real)["auths"]) == ["ghcr.io"]


async def test_a_logout_erases_every_spelling(config: Path) -> None:
    """Of this registry; what is kept for a namespace of it, and for others, stays."""
    doomed = [HUB, "index.docker.io", "docker.io", "registry-1.docker.io", "https://DOCKER.io/v2/"]
    kept = ["docker.io/org", "quay.io", "index.docker.io.evil"]
    config.parent.mkdir()
    config.write_text(json.dumps({"auths": {key: {"auth": "bWU6cHc="} for key in [*doomed, *kept]}}))
    assert await erase_credential("docker.io", config)
    assert list(content(config)["auths"]) == kept


async def test_a_logout_without_a_login_changes_nothing(config: Path) -> None:
    """It says that there was none, and writes no file."""
    assert not await erase_credential("ghcr.io", config)
    assert not config.exists()
    config.write_text('{"auths": null}')
    assert not await erase_credential("ghcr.io", config)
    assert config.read_text() == '{"auths": null}'


SCRIPT = """
import asyncio, sys
from oci_distribution.auth.credentials import Credential
from oci_distribution.auth.stored import store_credential
async def main():
    for number in range(20):
        await store_credential(f"{sys.argv[2]}-{number}.example", Credential("me", "pw"), sys.argv[1])
asyncio.run(main())
"""


def test_processes_lose_nothing_of_each_other(config: Path) -> None:
    """Two that log in at once both end up in the file."""
    running = [
        subprocess.Popen([sys.executable, "-c", SCRIPT, str(config), name], env=os.environ)
        for name in ("one", "two")
    ]
    assert [process.wait(30) for process in running] == [0, 0]
    assert len(content(config)["auths"]) == 40


async def test_who_holds_the_lock_for_ever_is_said(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while, with the name of the lock."""
    monkeypatch.setattr(private_files, "LOCK_TIMEOUT", 0.0)
    config.parent.mkdir()
    with FileLock(f"{config}.lock"), pytest.raises(CredentialError, match=r"config.json.lock is held"):
        await store_credential("ghcr.io", ME, config)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"auths": []}', '{"auths": {"h": 1}}', '{"x": NaN}', '{"x": 1e999}']
)
async def test_a_broken_file_is_left_as_it_is(text: str, config: Path) -> None:
    """Nothing is written over what we do not understand."""
    config.parent.mkdir()
    config.write_text(text)
    with pytest.raises(CredentialError, match=r"config\.json"):
        await store_credential("ghcr.io", ME, config)
    assert config.read_text() == text
    assert sorted(path.name for path in config.parent.iterdir()) in (
        ["config.json"],
        ["config.json", "config.json.lock"],
    )


async def test_a_write_that_fails_leaves_the_old_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk costs nothing that was there, and no temporary file stays."""
    await store_credential("ghcr.io", ME, config)
    before = config.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CredentialError, match="cannot be written: No space left"):
        await store_credential("quay.io", ME, config)
    assert config.read_bytes() == before
    assert len(list(config.parent.iterdir())) == 2


@pytest.mark.parametrize("name", ["/dev/null", "folder", ".dockercfg"])
async def test_what_is_no_file_is_not_replaced(name: str, tmp_path: Path) -> None:
    """Renaming over /dev/null would break the machine, and docker's oldest file has another form."""
    (tmp_path / "folder").mkdir()
    path = tmp_path / name
    with pytest.raises(CredentialError):
        await store_credential("ghcr.io", ME, path)
    assert not Path("/dev/null").is_file()


@pytest.mark.parametrize(
    "credential",
    [
        ANONYMOUS,
        Credential("a:b", "pw"),
        Credential("a", "p\0"),
        Credential("a", "\ud800"),
        Credential(expires_at=1),
    ],
)
async def test_what_cannot_be_stored_is_refused(credential: Credential, config: Path) -> None:
    """What would come back as something else, or as nothing."""
    with pytest.raises(InvalidArgument):
        await store_credential("ghcr.io", credential, config)
    assert not config.exists()


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({}, "home/.docker/config.json"),
        ({"DOCKER_CONFIG": "docker"}, "docker/config.json"),
        ({"REGISTRY_AUTH_FILE": "auth.json", "DOCKER_CONFIG": "docker"}, "auth.json"),
    ],
)
async def test_the_default_file_is_found_by_the_default_provider(
    variables: dict[str, str], place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docker's `config.json`, or the one that the environment names."""
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "DOCKER_AUTH_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name, value in variables.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    assert await store_credential("ghcr.io", ME) == str(tmp_path / place)
    assert await default_auth_provider()("ghcr.io", None) == ME


# Helpers


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


# What is read


async def test_a_file_that_others_may_write_to_is_refused(config: Path) -> None:
    """They could name a helper that we would run; the error names file and mode."""
    await store_credential("ghcr.io", ME, config)
    config.chmod(0o666)
    for action in (
        lambda: load_auth_file(config),
        lambda: AuthFileProvider.from_path(config),
    ):
        with pytest.raises(CredentialError, match=r"config\.json has the mode 0666.*chmod 600"):
            action()
    with pytest.raises(CredentialError, match="0666"):
        await store_credential("quay.io", ME, config)


async def test_a_file_is_not_trusted_any_more_once_others_may_write_to_it(tmp_path: Path) -> None:
    """Even where its content stayed as it was."""
    config = tmp_path / ".docker" / "config.json"
    await store_credential("ghcr.io", ME, config)
    provider = default_auth_provider(environment={"HOME": str(tmp_path)})
    assert await provider("ghcr.io", None) == ME
    config.chmod(0o622)
    with pytest.raises(CredentialError, match="0622"):
        await provider("ghcr.io", None)


def test_a_huge_file_is_refused(config: Path) -> None:
    """Only so much of it is read, whatever it is."""
    config.parent.mkdir()
    with config.open("wb") as file:
        file.truncate(1 << 40)
    for path in (config, Path("/dev/zero")):
        with pytest.raises(CredentialError, match=f"{path} is longer than 4194304 bytes"):
            load_auth_file(path)


def test_a_pipe_is_refused(config: Path) -> None:
    """Nobody may ever write into it, and it would be empty the second time."""
    config.parent.mkdir()
    os.mkfifo(config, 0o600)
    with pytest.raises(CredentialError, match="is a pipe"):
        load_auth_file(config)


def test_a_loop_of_links_is_an_error(config: Path) -> None:
    """It is said, with the name of the file."""
    config.parent.mkdir()
    config.symlink_to(config)
    with pytest.raises(CredentialError, match=r"config\.json cannot be read"):
        load_auth_file(config)
