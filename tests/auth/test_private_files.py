"""Which credential files are trusted, and how much of them is read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from oci_distribution.auth.credentials import Credential
from oci_distribution.auth.search import AuthFileProvider, default_auth_provider, load_auth_file
from oci_distribution.auth.stored import store_credential
from oci_distribution.errors import CredentialError

ME = Credential("me", "s3cr3t")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "docker" / "config.json"


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
