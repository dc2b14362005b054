"""A credential helper costs a process: how many are started."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest

from oci_distribution.auth.credentials import Credential
from oci_distribution.auth.docker_config import AuthFile
from oci_distribution.auth.helpers import MEMORY, Helpers
from oci_distribution.auth.search import AuthFileProvider, default_auth_provider
from oci_distribution.errors import CredentialError
from tests.auth.scripted import Clock

FOUND = """echo '{"Username": "me", "Secret": "pw"}'"""


class Counted:
    """A helper that notes each server that it is asked for."""

    def __init__(self, folder: Path, answer: str = FOUND) -> None:
        self.path = str(folder / "docker-credential-counted")
        self._log = folder / "asked"
        script = f'#!/bin/sh\nread -r server || :\necho "$server" >> {self._log}\n{answer}\n'
        Path(self.path).write_text(script)
        Path(self.path).chmod(0o755)

    @property
    def asked(self) -> list[str]:
        return self._log.read_text().split()


async def test_many_at_once_start_one_process(tmp_path: Path) -> None:
    """Whoever asks while a helper runs gets its answer; another server is another question."""
    helper, helpers = Counted(tmp_path), Helpers()

    async with anyio.create_task_group() as tasks:
        for server in ["one"] * 10 + ["two"]:
            tasks.start_soon(helpers.ask, helper.path, server)

    assert sorted(helper.asked) == ["one", "two"]


async def test_an_answer_is_kept_for_a_moment(tmp_path: Path) -> None:
    """Then the helper is asked again: a login may be new."""
    helper, clock = Counted(tmp_path), Clock()
    helpers = Helpers(clock=clock)

    assert (
        await helpers.ask(helper.path, "h") == await helpers.ask(helper.path, "h") == Credential("me", "pw")
    )
    assert len(helper.asked) == 1
    clock.now += MEMORY
    await helpers.ask(helper.path, "h")
    assert len(helper.asked) == 2


async def test_a_failure_is_not_kept(tmp_path: Path) -> None:
    """The next one tries again."""
    helper, helpers = Counted(tmp_path, "exit 3"), Helpers()
    for _ in range(2):
        with pytest.raises(CredentialError):
            await helpers.ask(helper.path, "h")

    assert len(helper.asked) == 2


@pytest.mark.parametrize("kind", ["file", "search"])
async def test_repositories_share_the_answer_for_their_registry(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Credentials are asked for by repository, helpers know only registries."""
    helper = Counted(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    content = {"credsStore": "counted"}
    provider = (
        AuthFileProvider(AuthFile.model_validate(content))
        if kind == "file"
        else default_auth_provider(
            environment={"HOME": str(tmp_path), "DOCKER_AUTH_CONFIG": json.dumps(content)}
        )
    )

    for repository in ("a", "b", None):
        assert (await provider("h", repository)).username == "me"

    assert helper.asked == ["h"]
