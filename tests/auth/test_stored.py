"""What a login and a logout do to files and helpers."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import anyio
import pytest
from filelock import FileLock

from oci_distribution.auth import private_files, stored
from oci_distribution.auth.credentials import ANONYMOUS, Credential
from oci_distribution.auth.private_files import replace_file
from oci_distribution.auth.search import AuthFileProvider, default_auth_provider
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


async def test_a_cancelled_login_writes_nothing_afterwards(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """asyncio's cancellation is heard when the thread is done, and not while it is at work."""
    at_work, go_on = threading.Event(), threading.Event()

    def replace(path: Path, content: bytes) -> None:
        at_work.set()
        go_on.wait()
        replace_file(path, content)

    monkeypatch.setattr(stored, "replace_file", replace)
    storing = asyncio.create_task(store_credential("ghcr.io", ME, config))
    await asyncio.to_thread(at_work.wait)
    storing.cancel()
    await anyio.wait_all_tasks_blocked()
    assert not storing.done()
    go_on.set()
    await asyncio.wait([storing])
    assert storing.cancelled()
    assert content(config)["auths"]


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
        Credential("a"),
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
