"""Credential helpers: programs named `docker-credential-*` that keep secrets for docker and podman."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Annotated, Any

import anyio
import anyio.abc
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from oci_distribution.auth.credentials import ANONYMOUS, Credential
from oci_distribution.auth.single_flight import SingleFlight
from oci_distribution.errors import CredentialError

__all__ = ["AskHelper", "Helpers", "ask_helper", "find_helper"]

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
    try:
        with anyio.fail_after(TIMEOUT):
            status, output = await _run(path, server)
    except TimeoutError:
        raise CredentialError(
            f"{path} took longer than {TIMEOUT:.0f} seconds to answer for {server}"
        ) from None
    except OSError as error:
        raise CredentialError(f"{path} cannot be run: {error.strerror}") from error
    if len(output) > MAX_OUTPUT:
        raise CredentialError(f"{path} answered more than {MAX_OUTPUT} bytes for {server}")
    if status:
        if _NOT_FOUND in output.lower():
            return ANONYMOUS
        raise CredentialError(f"{path} failed for {server} with exit status {status}")
    try:
        answer = _Answer.model_validate_json(output)
    except ValidationError:
        # Without the cause: it would quote the output.
        raise CredentialError(f"{path} answered something else than the JSON it must for {server}") from None
    return Credential.of_pair(answer.username, answer.secret)


class Helpers:
    """Asks helpers, and starts one process for all who want to know the same at about the same time.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._flights: SingleFlight[tuple[str, str], Credential] = SingleFlight()
        self._known: dict[tuple[str, str], tuple[Credential, float]] = {}

    async def ask(self, path: str, server: str) -> Credential:
        """Return what `ask_helper` does, or did a moment ago."""
        key = (path, server)
        known = self._known.get(key)
        if known is not None and known[1] > self._clock():
            return known[0]

        async def ask() -> Credential:
            credential = await ask_helper(path, server)
            self._known[key] = credential, self._clock() + MEMORY
            return credential

        return await self._flights.run(key, ask)


async def _run(path: str, server: str) -> tuple[int, bytes]:
    """Run a helper; return its exit status and its output, of which what is too long stays unread."""
    process: anyio.abc.Process | None = None
    # Cancelled in here, asyncio would kill the helper, and not what it has started already.
    with anyio.CancelScope(shield=True):
        process = await anyio.open_process([path, "get"], stderr=subprocess.DEVNULL, start_new_session=True)
    assert process is not None
    async with process:
        try:
            return await _converse(process, server)
        except BaseException:
            _kill(process)
            with anyio.move_on_after(GRACE, shield=True):
                await process.wait()
            raise


async def _converse(process: anyio.abc.Process, server: str) -> tuple[int, bytes]:
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(anyio.BrokenResourceError, ConnectionError):
        # Shorter than any pipe, so it never waits; one that knows a single server may not read it.
        await process.stdin.send(server.encode())
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
