"""What `docker login` and `docker logout` do to a credential file, and to the helpers that it names."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

from oci_distribution.auth.credentials import Credential
from oci_distribution.auth.docker_config import AuthEntry, AuthFile, said_of
from oci_distribution.auth.helpers import erase_from_helper, find_helper, store_in_helper
from oci_distribution.auth.keys import helper_keys, host_keys, matching, server_of
from oci_distribution.auth.private_files import locked, mapped_os_errors, read_file, replace_file
from oci_distribution.auth.search import LEGACY_NAME, MAX_AUTH_FILE, expanded, load_auth_file, login_path
from oci_distribution.errors import CredentialError, InvalidArgument
from oci_distribution.waiting import in_thread

__all__ = ["check_storable", "erase_credential", "store_credential"]

_Document = dict[str, Any]


def check_storable(credential: Credential) -> None:
    """Make sure that what is stored would be read as the same credential.

    Raises:
        InvalidArgument: There is nothing in it, or it has what cannot be stored.
    """
    if credential.is_anonymous:
        raise InvalidArgument("there is nothing to log in with: the credential is anonymous")
    if not (credential.password or credential.identity_token or credential.registry_token):
        raise InvalidArgument("there is nothing to log in with: a name, and no password or token")
    if not credential.is_sendable:
        raise InvalidArgument("the credential has characters that cannot be sent")
    if ":" in credential.username:
        raise InvalidArgument("a user name has no colon: what follows would be read as the password")
    if any("\0" in text for text in (credential.username, credential.password, credential.identity_token)):
        raise InvalidArgument("a credential has no NUL character")


async def store_credential(host: str, credential: Credential, path: str | Path | None = None) -> str:
    """Keep a credential, and return where: the path of the file, or of the helper that the file names.

    Args:
        host: Canonical name of the registry.
        credential: What to keep.
        path: The file; by default that of `REGISTRY_AUTH_FILE`, else docker's `config.json`.

    Raises:
        InvalidArgument: It cannot be stored.
        CredentialError: The file cannot be read, trusted or written, or the helper fails.
    """
    check_storable(credential)
    file = await _resolved(path)
    name, helper = await _helper(file, host)
    if name is not None and helper is None:
        # The secret must not end up in the file instead.
        raise CredentialError(f"docker-credential-{name}, which {file} names for {host}, is not on PATH")
    if helper is None:
        entry = AuthEntry.of(credential).model_dump(exclude_defaults=True)
    elif credential.registry_token:
        raise InvalidArgument(f"{helper} keeps passwords and identity tokens, and no registry token")
    else:
        await store_in_helper(helper, server_of(host), credential)
        # As docker does: it names the registry, and no secret stays that was in the file before.
        entry = {}

    def add(document: _Document) -> bool:
        document["auths"] = {**_others(document, host), server_of(host): entry}
        return True

    await in_thread(partial(_edit, file, add))
    return helper or str(file)


async def erase_credential(host: str, path: str | Path | None = None) -> bool:
    """Forget a registry's credential under every spelling of its name, and return whether there was one.

    What is kept for a namespace of the registry alone stays.

    Args:
        host: Canonical name of the registry.
        path: The file; by default that of `REGISTRY_AUTH_FILE`, else docker's `config.json`.

    Raises:
        CredentialError: The file cannot be read, trusted or written, or the helper fails.
    """
    file = await _resolved(path)
    _, helper = await _helper(file, host)
    erased = False
    if helper is not None:
        for server in helper_keys(host):
            erased |= await erase_from_helper(helper, server)

    def remove(document: _Document) -> bool:
        before: _Document = document.get("auths") or {}
        document["auths"] = _others(document, host)
        return len(document["auths"]) < len(before)

    return await in_thread(partial(_edit, file, remove)) or erased


def _others(document: _Document, host: str) -> _Document:
    """Return the entries of a file that are not about a registry, however it is spelled."""
    auths: _Document = document.get("auths") or {}
    doomed = {key for key, _ in matching(auths, host_keys(host))}
    return {key: entry for key, entry in auths.items() if key not in doomed}


async def _resolved(given: str | Path | None) -> Path:
    """Return the file itself: where a symbolic link points, so that it stays one."""
    path = login_path(os.environ) if given is None else expanded(given)
    if path.name == LEGACY_NAME:
        raise CredentialError(f"{path} has docker's oldest form, which is only read: name a config.json")
    with mapped_os_errors(path, "read"):
        return await in_thread(path.resolve)


async def _helper(path: Path, host: str) -> tuple[str | None, str | None]:
    """Return name and path of the helper that a file names for a registry; no path if it is not installed."""
    name = (await in_thread(partial(load_auth_file, path))).helper(host)
    with said_of(str(path)):
        return (name, find_helper(name)) if name else (None, None)


def _edit(path: Path, change: Callable[[_Document], bool]) -> bool:
    """Change a file's document, while no other process does, and write it if there was anything to change."""
    with locked(path):
        text = read_file(path, MAX_AUTH_FILE)
        document: _Document = {}
        if text is not None and text.strip():
            # What the parser of credentials takes, which says what is wrong, is an object.
            AuthFile.parse(text, str(path))
            document = cast("_Document", json.loads(text))
        is_changed = change(document)
        if is_changed:
            replace_file(path, _dumped(path, document))
        return is_changed


def _dumped(path: Path, document: _Document) -> bytes:
    try:
        return json.dumps(document, indent="\t", ensure_ascii=False, allow_nan=False).encode()
    except ValueError:
        # Without the cause, which could quote it: a number or text that JSON does not have.
        raise CredentialError(f"{path} holds something that cannot be written again") from None
