"""Credential helpers: programs named `docker-credential-*` that keep secrets for docker and podman."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any
from weakref import WeakSet

import anyio
import anyio.abc
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from oci_distribution.auth.credentials import ANONYMOUS, TOKEN_USER, Credential
from oci_distribution.auth.single_flight import SingleFlight
from oci_distribution.errors import CredentialError
from oci_distribution.waiting import to_its_end

__all__ = [
    "AskHelper",
    "Helpers",
    "ask_helper",
    "erase_from_helper",
    "find_helper",
    "store_in_helper",
]

AskHelper = Callable[[str, str], Awaitable[Credential]]
"""Asks the helper at a path for the credential of a server."""

TIMEOUT = 30.0
"""Seconds that a helper may take: some ask a cloud, and one that asks the user has nobody to ask."""
GRACE = 1.0
"""Seconds that a killed helper may take to end."""
MAX_OUTPUT = 1 << 20
"""Bytes of a helper's output that we read."""
MEMORY = 5.0
"""Seconds that an answer is kept: a mirror asks for each of its repositories, a helper knows only hosts."""
_NOT_FOUND = b"credentials not found"


def _null_as_empty(value: Any) -> Any:
    return "" if value is None else value


class _Answer(BaseModel):
    """What a helper prints."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    username: Annotated[str, BeforeValidator(_null_as_empty)] = Field(default="", alias="Username")
    secret: Annotated[str, BeforeValidator(_null_as_empty)] = Field(default="", alias="Secret", repr=False)


def find_helper(name: str) -> str | None:
    """Return the path of the helper `name`; None when it is not installed.

    Raises:
        CredentialError: The name is no name of a program.
    """
    if not name or any(character in name for character in "/\\\0"):
        raise CredentialError(f"{name!r} is not the name of a credential helper")
    return shutil.which(f"docker-credential-{name}")


async def ask_helper(path: str, server: str) -> Credential:
    """Ask the helper at `path` for the credential of `server`; anonymous when it has none.

    The server goes in through standard input and the secret comes out of standard output: neither is
    seen in the list of processes, and what the helper prints is in no error.

    Raises:
        CredentialError: It fails, takes longer than 30 seconds, or answers nonsense.
    """
    output = await _told(path, "get", server, server)
    if output is None:
        return ANONYMOUS
    try:
        answer = _Answer.model_validate_json(output)
    except ValidationError:
        # Without the cause: it would quote the output.
        raise CredentialError(f"{path} answered something else than the JSON it must for {server}") from None
    return Credential.of_pair(answer.username, answer.secret)


async def store_in_helper(path: str, server: str, credential: Credential) -> None:
    """Let the helper at `path` keep a credential.

    Raises:
        CredentialError: It fails, takes longer than 30 seconds, or cannot keep such a credential.
    """
    username, secret = credential.username, credential.password
    if credential.identity_token:
        username, secret = TOKEN_USER, credential.identity_token
    message = json.dumps({"ServerURL": server, "Username": username, "Secret": secret})
    if await _told(path, "store", server, message) is None:
        raise CredentialError(f"{path} failed to store what it was given for {server}")
    _forget_answers()


async def erase_from_helper(path: str, server: str) -> bool:
    """Let the helper at `path` forget the credential of `server`; return whether it knew one.

    Raises:
        CredentialError: It fails, or takes longer than 30 seconds.
    """
    if (await ask_helper(path, server)).is_anonymous:
        return False
    await _told(path, "erase", server, server)
    _forget_answers()
    return True


def _forget_answers() -> None:
    for helpers in tuple(_EVERYBODY):
        helpers.forget()


class Helpers:
    """Asks helpers, and starts one process for all who want to know the same at about the same time.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._flights: SingleFlight[tuple[str, str], Credential] = SingleFlight()
        self._known: dict[tuple[str, str], tuple[Credential, float]] = {}
        _EVERYBODY.add(self)

    def forget(self) -> None:
        """Ask anew from now on."""
        # New objects: who is asking at the moment keeps the old answer in the old ones.
        self._flights, self._known = SingleFlight(), {}

    async def ask(self, path: str, server: str) -> Credential:
        """Return what `ask_helper` does, or did a moment ago."""
        key = (path, server)
        answers = self._known
        known = answers.get(key)
        if known is not None and known[1] > self._clock():
            return known[0]

        async def ask() -> Credential:
            credential = await ask_helper(path, server)
            answers[key] = credential, self._clock() + MEMORY
            return credential

        return await self._flights.run(key, ask)


_EVERYBODY: WeakSet[Helpers] = WeakSet()
"""Who remembers answers, and is told when this process changes what helpers keep."""


async def _told(path: str, action: str, server: str, message: str) -> bytes | None:
    """Run a helper, and return what it prints; None when it says that it has no such credential."""
    try:
        with anyio.fail_after(TIMEOUT):
            status, output = await _run(path, action, message)
    except TimeoutError:
        raise CredentialError(
            f"{path} took longer than {TIMEOUT:.0f} seconds to answer for {server}"
        ) from None
    except OSError as error:
        raise CredentialError(f"{path} cannot be run: {error.strerror}") from error
    if len(output) > MAX_OUTPUT:
        raise CredentialError(f"{path} answered more than {MAX_OUTPUT} bytes for {server}")
    if not status:
        return output
    if _NOT_FOUND in output.lower():
        return None
    raise CredentialError(f"{path} failed for {server} with exit status {status}")


async def _run(path: str, action: str, message: str) -> tuple[int, bytes]:
    """Run a helper; return its exit status and its output, of which what is too long stays unread."""
    async with _started(path, action) as process:
        return await _converse(process, message)


@asynccontextmanager
async def _started(path: str, action: str) -> AsyncGenerator[anyio.abc.Process]:
    """Start a helper; what goes wrong inside, a cancellation included, ends it and what it started."""
    # Cancelled in there, asyncio would kill the helper, and not what it has started already.
    starting = asyncio.ensure_future(
        anyio.open_process([path, action], stderr=subprocess.DEVNULL, start_new_session=True)
    )
    try:
        yield await to_its_end(starting)
    except BaseException:
        if _is_there(starting):
            await to_its_end(_killed(starting.result()))
        raise
    finally:
        if _is_there(starting):
            await to_its_end(starting.result().aclose())


def _is_there(starting: asyncio.Future[anyio.abc.Process]) -> bool:
    return not starting.cancelled() and starting.exception() is None


async def _killed(process: anyio.abc.Process) -> None:
    _kill(process)
    with anyio.move_on_after(GRACE):
        await process.wait()


async def _converse(process: anyio.abc.Process, message: str) -> tuple[int, bytes]:
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(anyio.BrokenResourceError, ConnectionError):
        # Shorter than any pipe, so it never waits; one that knows a single server may not read it.
        await process.stdin.send(message.encode())
    await process.stdin.aclose()
    output = bytearray()
    async for piece in process.stdout:
        output += piece
        if len(output) > MAX_OUTPUT:
            _kill(process)
            break
    return await process.wait(), bytes(output)


def _kill(process: anyio.abc.Process) -> None:
    """Kill a helper and what it started: many are shell scripts around the real one."""
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
