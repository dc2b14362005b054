"""Credential helpers: programs named `docker-credential-*` that keep secrets for docker and podman."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Final

import anyio

from oci_distribution.auth.credentials import ANONYMOUS, Credential
from oci_distribution.errors import CredentialError

__all__ = ["ask_helper", "find_helper"]

TIMEOUT: Final = 30.0
"""Seconds that a helper may take: some ask a cloud, and one that asks the user has nobody to ask."""
TOKEN_USER: Final = "<token>"  # noqa: S105 - what helpers write in the place of a name
"""The name that says that the secret is an identity token."""
_NOT_FOUND = "credentials not found"


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
            result = await anyio.run_process(
                [path, "get"], input=server.encode(), stderr=subprocess.DEVNULL, check=False
            )
    except TimeoutError:
        raise CredentialError(
            f"{path} took longer than {TIMEOUT:.0f} seconds to answer for {server}"
        ) from None
    except OSError as error:
        raise CredentialError(f"{path} cannot be run: {error.strerror}") from error
    if result.returncode:
        if _NOT_FOUND in result.stdout.decode("utf-8", "replace").lower():
            return ANONYMOUS
        raise CredentialError(f"{path} failed for {server} with exit status {result.returncode}")
    return _credential(result.stdout, path, server)


def _credential(output: bytes, path: str, server: str) -> Credential:
    try:
        answer = json.loads(output)
        username, secret = str(answer.get("Username") or ""), str(answer.get("Secret") or "")
    except (ValueError, AttributeError):
        # Without the cause: it would quote the output.
        raise CredentialError(f"{path} answered something else than the JSON it must for {server}") from None
    if username == TOKEN_USER:
        return Credential(identity_token=secret)
    return Credential(username=username, password=secret)
