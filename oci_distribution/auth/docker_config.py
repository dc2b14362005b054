"""Credentials that docker and podman stored: their files, and the variables that name them."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Self, TypeVar

import anyio.to_thread
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from oci_distribution.auth.credentials import ANONYMOUS, AuthProvider, Credential
from oci_distribution.auth.helpers import ask_helper, find_helper
from oci_distribution.errors import CredentialError
from oci_distribution.spec.reference import DOCKER_HUB

__all__ = ["AuthFile", "AuthFileProvider", "default_auth_provider"]

T = TypeVar("T")

_DOCKER_HUB_KEY: Final = "https://index.docker.io/v1/"
"""What `docker login` stores Docker Hub's credential under, and asks helpers for."""
_DOCKER_HUB_KEYS = (_DOCKER_HUB_KEY, "index.docker.io", DOCKER_HUB, "registry-1.docker.io")


def _null_as_empty(value: Any) -> Any:
    return {} if value is None else value


def _without_nulls(value: Any) -> Any:
    return {key: item for key, item in value.items() if item is not None} if isinstance(value, dict) else {}


class AuthEntry(BaseModel):
    """One entry of `auths`."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    auth: str = Field(default="", repr=False)
    username: str = ""
    password: str = Field(default="", repr=False)
    identitytoken: str = Field(default="", repr=False)
    registrytoken: str = Field(default="", repr=False)

    def credential(self, key: str) -> Credential:
        """Return what the entry says; anonymous for the empty entry that `docker login` leaves with a store.

        Raises:
            CredentialError: `auth` is not the base64 of `name:password`.
        """
        username, password = self.username, self.password
        if self.auth:
            try:
                decoded = base64.b64decode(self.auth, validate=True).decode().strip("\0")
            except (binascii.Error, UnicodeDecodeError):
                raise CredentialError(f"the stored auth for {key} is not base64") from None
            username, colon, password = decoded.partition(":")
            if not colon:
                raise CredentialError(f"the stored auth for {key} is not the base64 of name:password")
        return Credential(
            username=username,
            password=password.strip("\0"),
            identity_token=self.identitytoken,
            registry_token=self.registrytoken,
        )


class AuthFile(BaseModel):
    """What docker's `config.json` and podman's `auth.json` say of credentials; other fields do not matter.

    Args:
        auths: Credentials by registry, or by registry and namespace.
        cred_helpers: Names of credential helpers by registry.
        creds_store: Name of the helper for all others.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True)

    auths: Annotated[Mapping[str, AuthEntry], BeforeValidator(_without_nulls)] = Field(default_factory=dict)
    cred_helpers: Annotated[Mapping[str, str], BeforeValidator(_null_as_empty)] = Field(
        default_factory=dict, alias="credHelpers"
    )
    creds_store: str | None = Field(default=None, alias="credsStore")

    @classmethod
    def parse(cls, text: str | bytes, name: str) -> Self:
        """Parse the JSON of a file.

        Args:
            text: The JSON.
            name: What to call it in an error.

        Raises:
            CredentialError: It is not the JSON that it must be.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            # Without the cause: it could quote what the file holds.
            first = error.errors(include_input=False, include_url=False, include_context=False)[0]
            where = ".".join(str(part) for part in first["loc"][:1])
            raise CredentialError(
                f"{name} is no credential file{f' (see {where!r})' if where else ''}"
            ) from None

    async def credential(self, host: str, repository: str | None) -> Credential:
        """Return the credential for a registry; anonymous when there is none.

        Raises:
            CredentialError: An entry is broken, or a helper fails.
        """
        server = _DOCKER_HUB_KEY if host == DOCKER_HUB else host
        helper = _lookup(self.cred_helpers, _host_keys(host))
        if helper is not None:
            path = find_helper(helper[1])
            if path is None:
                raise CredentialError(f"docker-credential-{helper[1]}, the helper for {host}, is not on PATH")
            return await ask_helper(path, server)
        if self.creds_store:
            # A store that is not installed here holds nothing here: docker files travel between machines.
            path = find_helper(self.creds_store)
            found = await ask_helper(path, server) if path is not None else ANONYMOUS
            if not found.is_anonymous:
                return found
        return self._stored(host, repository)

    def _stored(self, host: str, repository: str | None) -> Credential:
        for keys in (_namespace_keys(host, repository), _host_keys(host)):
            entry = _lookup(self.auths, keys)
            if entry is not None and not (credential := entry[1].credential(entry[0])).is_anonymous:
                return credential
        return ANONYMOUS


def _namespace_keys(host: str, repository: str | None) -> Sequence[str]:
    """Return podman's keys for parts of a registry, the longest first."""
    parts = repository.split("/") if repository else []
    return [f"{host}/{'/'.join(parts[:length])}" for length in range(len(parts), 0, -1)]


def _host_keys(host: str) -> Sequence[str]:
    return _DOCKER_HUB_KEYS if host == DOCKER_HUB else (host,)


def _lookup(entries: Mapping[str, T], keys: Sequence[str]) -> tuple[str, T] | None:
    """Find the first of `keys`: as it is, else by the host of keys that are URLs (`https://host/v1/`)."""
    for key in keys:
        if key in entries:
            return key, entries[key]
    hosts = {_host_of(key): key for key in entries}
    found = next((hosts[key] for key in keys if key in hosts), None)
    return (found, entries[found]) if found is not None else None


def _host_of(key: str) -> str:
    _, separator, rest = key.partition("://")
    return rest.partition("/")[0] if separator else key.rstrip("/")


@dataclass(frozen=True, slots=True)
class AuthFileProvider:
    """An `AuthProvider` over one file's content.

    Args:
        auth_file: The content.
    """

    auth_file: AuthFile

    @classmethod
    def from_path(cls, path: str | Path) -> Self:
        """Read a file; one that is not there holds no credentials.

        Raises:
            CredentialError: It cannot be read, or is no credential file.
        """
        return cls(_read(Path(path)))

    async def __call__(self, host: str, repository: str | None) -> Credential:
        """Return the credential for a registry."""
        return await self.auth_file.credential(host, repository)


def _read(path: Path) -> AuthFile:
    try:
        return AuthFile.parse(path.read_bytes(), str(path))
    except (FileNotFoundError, NotADirectoryError):
        return AuthFile()
    except OSError as error:
        raise CredentialError(f"{path} cannot be read: {error.strerror}") from error


class _SearchingProvider:
    """Looks where docker and podman store credentials, each time anew: who logs in need not restart us."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    async def __call__(self, host: str, repository: str | None) -> Credential:
        inline = self._environment.get("DOCKER_AUTH_CONFIG")
        if inline:
            found = await AuthFile.parse(inline, "DOCKER_AUTH_CONFIG").credential(host, repository)
            if not found.is_anonymous:
                return found
        for path in _search_path(self._environment):
            auth_file = await anyio.to_thread.run_sync(_read, path)
            found = await auth_file.credential(host, repository)
            if not found.is_anonymous:
                return found
        return ANONYMOUS


def _search_path(environment: Mapping[str, str]) -> list[Path]:
    home = Path(environment.get("HOME") or Path.home())
    runtime = (
        environment.get("XDG_RUNTIME_DIR") or f"/run/containers/{os.getuid() if hasattr(os, 'getuid') else 0}"
    )
    config = environment.get("XDG_CONFIG_HOME") or home / ".config"
    docker = environment.get("DOCKER_CONFIG") or home / ".docker"
    named = environment.get("REGISTRY_AUTH_FILE")
    return [
        *([Path(named)] if named else []),
        Path(docker) / "config.json",
        Path(runtime) / "containers" / "auth.json",
        Path(config) / "containers" / "auth.json",
    ]


def default_auth_provider(*, environment: Mapping[str, str] | None = None) -> AuthProvider:
    """Return the provider that finds what docker and podman stored.

    Asked in this order, the first that knows the registry decides: `DOCKER_AUTH_CONFIG` (the JSON itself),
    the file of `REGISTRY_AUTH_FILE`, docker's `config.json`, podman's `auth.json` of this session and of
    this user.

    Args:
        environment: Variables to go by; those of the process by default.
    """
    return _SearchingProvider(environment if environment is not None else os.environ)
