"""Where docker and podman store credentials: files, the variables that name them, and in which order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Self

from oci_distribution.auth.credentials import ANONYMOUS, AuthProvider, Credential
from oci_distribution.auth.docker_config import AuthFile
from oci_distribution.auth.helpers import Helpers
from oci_distribution.auth.private_files import read_file
from oci_distribution.errors import CredentialError
from oci_distribution.waiting import in_thread

__all__ = [
    "AuthFileProvider",
    "default_auth_provider",
    "expanded",
    "load_auth_file",
    "login_path",
    "search_path",
]

MAX_AUTH_FILE = 4 << 20
"""Bytes of a credential file that we take in: the largest ones have some hundred entries."""
LEGACY_NAME: Final = ".dockercfg"


@dataclass(frozen=True, slots=True)
class AuthFileProvider:
    """An `AuthProvider` over one file's content.

    Args:
        auth_file: The content.
    """

    auth_file: AuthFile
    _helpers: Helpers = field(default_factory=Helpers, init=False, repr=False, compare=False)

    @classmethod
    def from_path(cls, path: str | Path) -> Self:
        """Read a file; one that is not there holds no credentials.

        Raises:
            CredentialError: It cannot be read, or is no credential file.
        """
        return cls(load_auth_file(expanded(path)))

    async def __call__(self, host: str, repository: str | None) -> Credential:
        """Return the credential for a registry."""
        return await self.auth_file.credential(host, repository, ask=self._helpers.ask)


def load_auth_file(path: Path) -> AuthFile:
    """Read a file in this thread; one that is not there, or empty, holds no credentials.

    Raises:
        CredentialError: It cannot be read or trusted, or is no credential file.
    """
    text = read_file(path, MAX_AUTH_FILE)
    if text is None or not text.strip():
        # To docker an empty file is one without credentials, and /dev/null a way to have none.
        return AuthFile()
    # Docker's first file is what now stands under `auths`.
    return AuthFile.parse(b'{"auths":%b}' % text if path.name == LEGACY_NAME else text, str(path))


class _SearchingProvider:
    """Looks where docker and podman store credentials, each time anew: who logs in need not restart us."""

    def __init__(self, environment: Mapping[str, str], *, podman_first: bool) -> None:
        self._environment = environment
        self._podman_first = podman_first
        self._helpers = Helpers()
        self._known: dict[Path, tuple[tuple[int, ...], AuthFile]] = {}

    async def __call__(self, host: str, repository: str | None) -> Credential:
        for load in self._places():
            auth_file = await in_thread(load)
            found = await auth_file.credential(host, repository, ask=self._helpers.ask)
            if not found.is_anonymous:
                return found
        return ANONYMOUS

    def _places(self) -> Iterator[Callable[[], AuthFile]]:
        named, inline = (self._environment.get(name) for name in ("REGISTRY_AUTH_FILE", "DOCKER_AUTH_CONFIG"))
        if named:
            yield partial(self._load, expanded(named))
        if inline:
            yield partial(AuthFile.parse, inline, "DOCKER_AUTH_CONFIG")
        for path in search_path(self._environment, podman_first=self._podman_first):
            yield partial(self._load, path)

    def _load(self, path: Path) -> AuthFile:
        """Read a file, unless it is the same as the last time."""
        try:
            status = path.stat()
        except OSError:
            return load_auth_file(path)
        # With its mode: a file that others may write to from now on is not trusted any more.
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode)
        known = self._known.get(path)
        if known is None or known[0] != stamp:
            known = self._known[path] = stamp, load_auth_file(path)
        return known[1]


def search_path(environment: Mapping[str, str], *, podman_first: bool = False) -> list[Path]:
    """Return the files of docker and podman in the order in which they are asked."""
    home = _home(environment)
    config = environment.get("XDG_CONFIG_HOME") or (home and home / ".config")
    docker = _docker_config(environment)
    of_docker = [docker] if docker else []
    of_podman = _podman_session(environment)
    of_podman += [expanded(config, "containers", "auth.json")] if config else []
    both = of_podman + of_docker if podman_first else of_docker + of_podman
    return [*both, *([home / LEGACY_NAME] if home else [])]


def _podman_session(environment: Mapping[str, str]) -> list[Path]:
    """Return podman's file of this session; it has another form where nobody gave the session a folder."""
    runtime = environment.get("XDG_RUNTIME_DIR")
    if runtime:
        return [expanded(runtime, "containers", "auth.json")]
    return [Path(f"/run/containers/{os.getuid()}/auth.json")] if hasattr(os, "getuid") else []


def expanded(path: str | Path, *parts: str) -> Path:
    """Return a path that somebody wrote, with the home that `~` stands for; a shell does not always do it."""
    # Not by pathlib, which raises where nobody has a home: a container with a user of its own.
    return Path(os.path.expanduser(path), *parts)  # noqa: PTH111


def login_path(environment: Mapping[str, str]) -> Path:
    """Return the file that a login goes into: that of `REGISTRY_AUTH_FILE`, else docker's `config.json`.

    Raises:
        CredentialError: There is no home to put it in.
    """
    named = environment.get("REGISTRY_AUTH_FILE")
    found = expanded(named) if named else _docker_config(environment)
    if found is None:
        raise CredentialError("nobody knows where this user's config.json is: set DOCKER_CONFIG")
    return found


def _docker_config(environment: Mapping[str, str]) -> Path | None:
    home = _home(environment)
    folder = environment.get("DOCKER_CONFIG") or (home and home / ".docker")
    return expanded(folder, "config.json") if folder else None


def _home(environment: Mapping[str, str]) -> Path | None:
    try:
        return Path(environment.get("HOME") or Path.home())
    except RuntimeError:
        # A container may run as a user whom nobody knows.
        return None


def default_auth_provider(
    *, environment: Mapping[str, str] | None = None, podman_first: bool = False
) -> AuthProvider:
    """Return the provider that finds what docker and podman stored.

    Asked in this order, the first that knows the registry decides: the file of `REGISTRY_AUTH_FILE`,
    `DOCKER_AUTH_CONFIG` (the JSON itself), docker's `config.json`, podman's `auth.json` of this session and
    of this user, docker's old `.dockercfg`.

    Args:
        environment: Variables to go by; those of the process by default.
        podman_first: Ask podman's files before docker's. By default docker's come first: most people have
            them, and name their helpers there.
    """
    return _SearchingProvider(
        environment if environment is not None else os.environ, podman_first=podman_first
    )
