"""What docker and podman write into their files about credentials, and what it means."""

from __future__ import annotations

import base64
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar, Self, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from oci_distribution.auth.credentials import ANONYMOUS, Credential, Unpicklable
from oci_distribution.auth.helpers import AskHelper, ask_helper, find_helper
from oci_distribution.auth.keys import host_keys, matching, namespace_keys, server_of
from oci_distribution.errors import CredentialError, redact_url

__all__ = ["AuthEntry", "AuthFile", "said_of"]


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

    @classmethod
    def of(cls, credential: Credential) -> Self:
        """Return the entry that docker writes for a credential."""
        pair = f"{credential.username}:{credential.password}"
        return cls(
            auth="" if pair == ":" else base64.b64encode(pair.encode()).decode(),
            identitytoken=credential.identity_token,
            registrytoken=credential.registry_token,
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


@contextmanager
def said_of(name: str) -> Generator[None]:
    """Let what is wrong with a file's content say which file it is."""
    try:
        yield
    except CredentialError as error:
        # In its place: its cause, if there is one, is not ours to show.
        raise CredentialError(f"{name}: {error}") from None


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
    _name: str = PrivateAttr(default="the credential file")

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
            parsed = cls.model_validate_json(text)
        except ValidationError as error:
            # Without the cause: it could quote what the file holds.
            first = error.errors(include_input=False, include_url=False, include_context=False)[0]
            where = ".".join(str(part) for part in first["loc"][:1])
            raise CredentialError(
                f"{name} is no credential file{f' (see {where!r})' if where else ''}"
            ) from None
        parsed._name = name  # noqa: SLF001 - of this class
        return parsed

    async def credential(
        self, host: str, repository: str | None, *, ask: AskHelper = ask_helper
    ) -> Credential:
        """Return the credential for a registry; anonymous when there is none.

        The registry's own helper is asked first, then the entries, then the store of all registries.

        Args:
            host: Canonical name of the registry.
            repository: The repository that is asked for, if it is one.
            ask: Asks the credential helper at a path for a server.

        Raises:
            CredentialError: An entry is broken, or a helper fails.
        """
        own = self._own_helper(host)
        if own:
            found = await self._helped(own, host, ask)
            return self._stored(host, repository) if found.is_anonymous else found
        found = self._stored(host, repository)
        # An empty name says that this registry has no helper, not even the store.
        if not found.is_anonymous or own is not None or not self.creds_store:
            return found
        return await self._helped(self.creds_store, host, ask)

    async def _helped(self, name: str, host: str, ask: AskHelper) -> Credential:
        with said_of(self._name):
            path = find_helper(name)
        if path is not None:
            return await ask(path, server_of(host))
        if name == self._own_helper(host):
            raise CredentialError(f"docker-credential-{name}, the helper for {host}, is not on PATH")
        # A store that is not installed here holds nothing here: docker's files travel between machines.
        return ANONYMOUS

    def helper(self, host: str) -> str | None:
        """Return the name of the helper that a login gives a registry's credential to, if there is one."""
        own = self._own_helper(host)
        return (self.creds_store if own is None else own) or None

    def _own_helper(self, host: str) -> str | None:
        return next((name for _, name in matching(self.cred_helpers, host_keys(host))), None)

    def _stored(self, host: str, repository: str | None) -> Credential:
        keys = [*namespace_keys(host, repository), *host_keys(host)]
        found = (entry.credential(key) for key, entry in matching(self.auths, keys))
        with said_of(self._name):
            return next((credential for credential in found if not credential.is_anonymous), ANONYMOUS)
