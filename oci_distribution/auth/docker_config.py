"""Credentials that docker and podman stored: their files, and the variables that name them."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Self, TypeVar, cast

import anyio.to_thread
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from oci_distribution.auth.credentials import ANONYMOUS, AuthProvider, Credential, Unpicklable
from oci_distribution.auth.helpers import AskHelper, Helpers, ask_helper, find_helper
from oci_distribution.errors import CredentialError, redact_url
from oci_distribution.spec.reference import DOCKER_HUB

__all__ = ["AuthFile", "AuthFileProvider", "default_auth_provider"]

T = TypeVar("T")

_DOCKER_HUB_KEY: Final = "https://index.docker.io/v1/"
"""What `docker login` stores Docker Hub's credential under, and asks helpers for."""
_DOCKER_HUB_KEYS = (_DOCKER_HUB_KEY, "index.docker.io", DOCKER_HUB, "registry-1.docker.io")


_LEGACY_NAME = ".dockercfg"


def _without_nulls(value: Any) -> Any:
    """Return an object without its nulls: to docker, null is the same as not there."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        return value
    return {key: item for key, item in cast("dict[str, Any]", value).items() if item is not None}


class AuthEntry(Unpicklable, BaseModel):
    """One entry of `auths`."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    auth: str = Field(default="", repr=False)
    username: str = ""
    password: str = Field(default="", repr=False)
    identitytoken: str = Field(default="", repr=False)
    registrytoken: str = Field(default="", repr=False)

    @model_validator(mode="before")
    @classmethod
    def _tolerate_nulls(cls, value: Any) -> Any:
        return _without_nulls(value)

    def credential(self, key: str) -> Credential:
        """Return what the entry says; anonymous for the empty entry that `docker login` leaves with a store.

        Raises:
            CredentialError: `auth` is not the base64 of `name:password`.
        """
        username, password = self._pair(key) if self.auth else (self.username, self.password)
        pair = Credential.of_pair(username, password)
        return Credential(
            username=pair.username,
            password=pair.password,
            identity_token=self.identitytoken or pair.identity_token,
            registry_token=self.registrytoken,
        )

    def _pair(self, key: str) -> tuple[str, str]:
        try:
            decoded = base64.b64decode("".join(self.auth.split()), validate=True).decode()
        except ValueError:
            # Without the cause: it holds what could not be decoded.
            raise CredentialError(f"the stored auth for {redact_url(key)} is not base64") from None
        username, colon, password = decoded.partition(":")
        if not colon:
            raise CredentialError(f"the stored auth for {redact_url(key)} is not the base64 of name:password")
        # Old versions of docker pad with NUL.
        return username.strip("\0"), password.strip("\0")


class AuthFile(BaseModel):
    """What docker's `config.json` and podman's `auth.json` say of credentials; other fields do not matter.

    Attributes:
        auths: Credentials by registry, or by registry and namespace.
        cred_helpers: Names of credential helpers by registry.
        creds_store: Name of the helper for all others.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True
    )

    auths: Annotated[Mapping[str, AuthEntry], BeforeValidator(_without_nulls)] = Field(default_factory=dict)
    cred_helpers: Annotated[Mapping[str, str], BeforeValidator(_without_nulls)] = Field(
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

    async def credential(
        self, host: str, repository: str | None, *, ask: AskHelper = ask_helper
    ) -> Credential:
        """Return the credential for a registry; anonymous when there is none.

        Args:
            host: Canonical name of the registry.
            repository: The repository that is asked for, if it is one.
            ask: Asks the credential helper at a path for a server.

        Raises:
            CredentialError: An entry is broken, or a helper fails.
        """
        found = await self._helped(host, ask)
        return self._stored(host, repository) if found.is_anonymous else found

    async def _helped(self, host: str, ask: AskHelper) -> Credential:
        """Ask the helper of this registry, else the store of all registries."""
        own = next((name for _, name in _matching(self.cred_helpers, _host_keys(host))), None)
        # An empty name says that this registry has no helper, not even the store.
        name = self.creds_store if own is None else own
        if not name:
            return ANONYMOUS
        path = find_helper(name)
        if path is not None:
            return await ask(path, _DOCKER_HUB_KEY if host == DOCKER_HUB else host)
        if own:
            raise CredentialError(f"docker-credential-{name}, the helper for {host}, is not on PATH")
        # A store that is not installed here holds nothing here: docker's files travel between machines.
        return ANONYMOUS

    def _stored(self, host: str, repository: str | None) -> Credential:
        keys = [*_namespace_keys(host, repository), *_host_keys(host)]
        found = (entry.credential(key) for key, entry in _matching(self.auths, keys))
        return next((credential for credential in found if not credential.is_anonymous), ANONYMOUS)


def _namespace_keys(host: str, repository: str | None) -> Sequence[str]:
    """Return podman's keys for parts of a registry, the longest first."""
    parts = repository.split("/") if repository else []
    return [f"{host}/{'/'.join(parts[:length])}" for length in range(len(parts), 0, -1)]


def _host_keys(host: str) -> Sequence[str]:
    return _DOCKER_HUB_KEYS if host == DOCKER_HUB else (host,)


def _matching(entries: Mapping[str, T], keys: Sequence[str]) -> Iterator[tuple[str, T]]:
    """Yield the entries of `keys`, the best first: as they are, then the host of a URL `https://host/v1/`."""
    hosts = {key: _host_of(key) for key in entries}
    for wanted in keys:
        if wanted in entries:
            yield wanted, entries[wanted]
        for key, host in hosts.items():
            if key != wanted and host == wanted.lower():
                yield key, entries[key]


def _host_of(key: str) -> str:
    _, separator, rest = key.lower().partition("://")
    if separator:
        return rest.partition("/")[0].rpartition("@")[2]
    return key.lower().removesuffix("/v1/").removesuffix("/v2/").rstrip("/")


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
        return cls(_read(Path(path)))

    async def __call__(self, host: str, repository: str | None) -> Credential:
        """Return the credential for a registry."""
        return await self.auth_file.credential(host, repository, ask=self._helpers.ask)


def _read(path: Path) -> AuthFile:
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return AuthFile()
    except OSError as error:
        raise CredentialError(f"{path} cannot be read: {error.strerror}") from error
    if not text.strip():
        # To docker an empty file is one without credentials, and /dev/null a way to have none.
        return AuthFile()
    # Docker's first file is what now stands under `auths`.
    return AuthFile.parse(b'{"auths":%b}' % text if path.name == _LEGACY_NAME else text, str(path))


class _SearchingProvider:
    """Looks where docker and podman store credentials, each time anew: who logs in need not restart us."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._helpers = Helpers()
        self._known: dict[Path, tuple[tuple[int, ...], AuthFile]] = {}

    async def __call__(self, host: str, repository: str | None) -> Credential:
        for load in self._places():
            auth_file = await anyio.to_thread.run_sync(load)
            found = await auth_file.credential(host, repository, ask=self._helpers.ask)
            if not found.is_anonymous:
                return found
        return ANONYMOUS

    def _places(self) -> Iterator[Callable[[], AuthFile]]:
        named, inline = (self._environment.get(name) for name in ("REGISTRY_AUTH_FILE", "DOCKER_AUTH_CONFIG"))
        if named:
            yield partial(self._load, Path(named))
        if inline:
            yield partial(AuthFile.parse, inline, "DOCKER_AUTH_CONFIG")
        for path in _search_path(self._environment):
            yield partial(self._load, path)

    def _load(self, path: Path) -> AuthFile:
        """Read a file, unless it is the same as the last time."""
        try:
            status = path.stat()
        except OSError:
            return _read(path)
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        known = self._known.get(path)
        if known is None or known[0] != stamp:
            known = self._known[path] = stamp, _read(path)
        return known[1]


def _search_path(environment: Mapping[str, str]) -> list[Path]:
    home = _home(environment)
    docker = environment.get("DOCKER_CONFIG") or (home and home / ".docker")
    runtime = environment.get("XDG_RUNTIME_DIR") or (
        f"/run/containers/{os.getuid()}" if hasattr(os, "getuid") else None
    )
    config = environment.get("XDG_CONFIG_HOME") or (home and home / ".config")
    return [
        *([Path(docker, "config.json")] if docker else []),
        *([Path(folder, "containers", "auth.json") for folder in (runtime, config) if folder]),
        *([home / _LEGACY_NAME] if home else []),
    ]


def _home(environment: Mapping[str, str]) -> Path | None:
    try:
        return Path(environment.get("HOME") or Path.home())
    except RuntimeError:
        # A container may run as a user whom nobody knows.
        return None


def default_auth_provider(*, environment: Mapping[str, str] | None = None) -> AuthProvider:
    """Return the provider that finds what docker and podman stored.

    Asked in this order, the first that knows the registry decides: the file of `REGISTRY_AUTH_FILE`,
    `DOCKER_AUTH_CONFIG` (the JSON itself), docker's `config.json`, podman's `auth.json` of this session and
    of this user, docker's old `.dockercfg`.

    Args:
        environment: Variables to go by; those of the process by default.
    """
    return _SearchingProvider(environment if environment is not None else os.environ)
