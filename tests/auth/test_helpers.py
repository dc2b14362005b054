"""Credential helpers, as real programs: good ones, broken ones, and those that never end."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Coroutine, Generator
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest

from oci_distribution.auth import helpers
from oci_distribution.auth.credentials import ANONYMOUS, Credential
from oci_distribution.auth.helpers import ask_helper, erase_from_helper, find_helper, store_in_helper
from oci_distribution.errors import CredentialError

Program = Callable[[str], str]
Action = Callable[[str, str], Coroutine[Any, Any, object]]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Make a program of a shell script, and return its path."""

    def make(script: str) -> str:
        path = tmp_path / "docker-credential-test"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return str(path)

    return make


def answering(answer: object) -> str:
    return f"cat > /dev/null; echo '{json.dumps(answer)}'"


async def test_the_server_goes_in_by_standard_input(program: Program, tmp_path: Path) -> None:
    """A helper is called with `get`, and reads the server; neither it nor the secret is an argument."""
    script = f'echo "$#:$*" > {tmp_path}/args; cat > {tmp_path}/input; ' + answering(
        {"Username": "me", "Secret": "pw"}
    )
    assert await ask_helper(program(script), "https://index.docker.io/v1/") == Credential("me", "pw")
    assert (tmp_path / "args").read_text() == "1:get\n"
    assert (tmp_path / "input").read_text() == "https://index.docker.io/v1/"


@pytest.mark.parametrize(
    ("answer", "credential"),
    [
        ({"ServerURL": "h", "Username": "<token>", "Secret": "idt"}, Credential(identity_token="idt")),
        ({"Username": "", "Secret": ""}, ANONYMOUS),
        ({"Username": None, "Secret": None}, ANONYMOUS),
        ({}, ANONYMOUS),
    ],
)
async def test_an_answer_says_who_we_are(answer: object, credential: Credential, program: Program) -> None:
    """The name `<token>` marks an identity token, and nothing is nobody."""
    assert await ask_helper(program(answering(answer)), "h") == credential


@pytest.mark.parametrize(
    "message", ["credentials not found in native keychain", "Error: Credentials Not Found"]
)
async def test_a_helper_that_knows_nobody_is_no_error(message: str, program: Program) -> None:
    """Helpers say that they have no credential by failing with words."""
    assert await ask_helper(program(f"cat > /dev/null; echo '{message}'; exit 1"), "h") == ANONYMOUS


async def test_a_helper_need_not_read(program: Program) -> None:
    """One that knows a single server answers without looking at what it is asked."""
    script = 'exec 0<&-; echo \'{"Username": "me", "Secret": "pw"}\''
    assert await ask_helper(program(script), "h") == Credential("me", "pw")


@pytest.mark.parametrize("status", [1, 2, 127])
async def test_a_failing_helper_is_an_error_without_its_words(status: int, program: Program) -> None:
    """The error has program, server and status, and nothing of what may be a secret."""
    path = program(f"cat > /dev/null; echo 's3cr3t'; echo 's3cr3t' >&2; exit {status}")
    with pytest.raises(CredentialError, match=f"{path} failed for h with exit status {status}") as caught:
        await ask_helper(path, "h")
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    "output",
    ["", "s3cr3t", '{"Username": "me", "Secret": ', '["s3cr3t"]', '{"Secret": {"s3cr3t": 1}}', '{"Secret": "s3cr3t\\ud800"}'],
)  # fmt: skip
async def test_a_helper_that_prints_junk_is_an_error_without_it(output: str, program: Program) -> None:
    """What is not the JSON that it must be is refused, and not quoted."""
    with pytest.raises(CredentialError, match="JSON") as caught:
        await ask_helper(program(f"cat > /dev/null; printf %s '{output}'"), "h")
    assert "s3cr3t" not in repr(caught.value) + repr(caught.value.__cause__)


async def test_a_helper_that_prints_without_end_is_stopped(program: Program) -> None:
    """Only so much of its output is held, and it is killed."""
    path = program("exec yes")
    with pytest.raises(CredentialError, match=f"more than {helpers.MAX_OUTPUT} bytes"), anyio.fail_after(10):
        await ask_helper(path, "h")


async def test_a_helper_that_cannot_be_run_is_an_error(tmp_path: Path, program: Program) -> None:
    """A program that is gone, or that is none, is said with the reason of the system."""
    with pytest.raises(CredentialError, match="cannot be run"):
        await ask_helper(str(tmp_path / "gone"), "h")
    path = tmp_path / "no-program"
    path.write_text("x")
    with pytest.raises(CredentialError, match="cannot be run"):
        await ask_helper(str(path), "h")


class Hanging:
    """A helper that tells who it and its child are, and then hangs in its child."""

    def __init__(self, folder: Path) -> None:
        os.mkfifo(folder / "started")
        self.script = f"sleep 100 & echo $$ $! > {folder}/started; wait"
        # Open for both: neither side waits for the other, so a helper that is killed early holds up nobody.
        self._pipe = os.open(folder / "started", os.O_RDWR | os.O_NONBLOCK)

    def close(self) -> None:
        os.close(self._pipe)

    async def started(self) -> None:
        await anyio.wait_readable(self._pipe)

    def pids(self) -> list[int]:
        """Return what it told until now."""
        try:
            return [int(word) for word in os.read(self._pipe, 100).split()]
        except BlockingIOError:
            return []


@pytest.fixture
def hanging(tmp_path: Path) -> Generator[Hanging]:
    hanging = Hanging(tmp_path)
    yield hanging
    hanging.close()


async def ended(pids: list[int]) -> None:
    """Wait until no process of these is alive: zombies that init has yet to collect are dead."""

    def is_alive(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except FileNotFoundError:
            return False

    with anyio.fail_after(5):
        while any(map(is_alive, pids)):
            await anyio.lowlevel.checkpoint()


async def store(path: str, server: str) -> None:
    await store_in_helper(path, server, Credential("me", "pw"))


@pytest.mark.parametrize("action", [ask_helper, store, erase_from_helper])
async def test_a_helper_that_hangs_is_killed(
    action: Action, program: Program, hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the timeout it is an error, and neither the helper nor what it started lives on."""
    monkeypatch.setattr(helpers, "TIMEOUT", 0.5)
    path = program(hanging.script)

    with pytest.raises(CredentialError, match="took longer than"):
        await action(path, "h")

    await ended(hanging.pids())


@pytest.mark.parametrize("action", [ask_helper, store])
async def test_a_cancelled_helper_is_killed(action: Action, program: Program, hanging: Hanging) -> None:
    """Who is cancelled while a helper runs leaves no process behind."""
    path = program(hanging.script)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(action, path, "h")
        await hanging.started()
        tasks.cancel_scope.cancel()

    pids = hanging.pids()
    assert len(pids) == 2
    await ended(pids)


async def test_a_helper_that_is_being_started_is_killed(
    program: Program, hanging: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often asyncio cancels: nobody is left who knows of a process that is there half-way."""
    is_starting, go_on, open_process = anyio.Event(), anyio.Event(), anyio.open_process

    async def slow(*args: Any, **options: Any) -> anyio.abc.Process:
        process = await open_process(*args, **options)
        await hanging.started()
        is_starting.set()
        await go_on.wait()
        return process

    monkeypatch.setattr(anyio, "open_process", slow)
    task = asyncio.create_task(ask_helper(program(hanging.script), "h"))
    await is_starting.wait()
    for _ in range(2):
        task.cancel()
        await anyio.wait_all_tasks_blocked()
    go_on.set()
    await asyncio.wait([task])
    assert task.cancelled()
    pids = hanging.pids()
    assert len(pids) == 2
    await ended(pids)


def test_helpers_are_found_on_path_by_name(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A helper is `docker-credential-` and its name; one that is not installed is None."""
    path = program("")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_helper("test") == path
    assert find_helper("other") is None


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a\\b", "\0"])
def test_the_name_of_a_helper_is_no_path(name: str) -> None:
    """Names that could leave PATH are refused."""
    with pytest.raises(CredentialError, match="not the name"):
        find_helper(name)
