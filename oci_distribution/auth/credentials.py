"""Credentials: who we are, and who is asked for that."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final, NoReturn, Protocol, Self, SupportsIndex, cast

from oci_distribution.errors import CredentialError

__all__ = ["ANONYMOUS", "AuthProvider", "Credential", "Unpicklable", "anonymous", "ask_provider"]

TOKEN_USER: Final = "<token>"  # noqa: S105 - what docker writes in the place of a name
"""The name that says that the secret beside it is an identity token."""


class Unpicklable:
    """Base of what holds secrets: pickles end up in queues and crash reports.

    Leaving the secrets out would be worse: whoever unpickled it would be anonymous, and not know why.
    """

    __slots__ = ()

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> NoReturn:
        del protocol
        msg = f"a {type(self).__name__} holds secrets and is not pickled"
        raise TypeError(msg)


@dataclass(frozen=True, slots=True, repr=False)
class Credential(Unpicklable):
    """Who we are to a registry; anonymous when empty. It never shows its secrets, and cannot be pickled.

    Args:
        username: Name, for Basic and for the token server.
        password: Password or personal access token.
        identity_token: A refresh token, which the token server exchanges for access tokens.
        registry_token: An access token that is sent to the registry as it is.
        expires_at: When it ends, in seconds since 1970; the provider is asked again then. None for never.
    """

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""
    expires_at: float | None = None

    @classmethod
    def of_pair(cls, username: str, secret: str) -> Self:
        """Return the credential that docker and its helpers store as name and secret."""
        if username == TOKEN_USER:
            return cls(identity_token=secret)
        return cls(username=username, password=secret)

    @property
    def is_anonymous(self) -> bool:
        """Whether there is nothing in it."""
        return not (self.username or self.password or self.identity_token or self.registry_token)

    @property
    def is_sendable(self) -> bool:
        """Whether it can be sent; who could not send it would quote it in the error."""
        try:
            f"{self.username}{self.password}{self.identity_token}".encode()
        except UnicodeEncodeError:
            return False
        return self.registry_token.isascii() and self.registry_token.isprintable()

    def __repr__(self) -> str:
        secrets = [name for name in ("password", "identity_token", "registry_token") if getattr(self, name)]
        shown = [f"username={self.username!r}"] if self.username else []
        return f"Credential({', '.join([*shown, *(f'{name}=***' for name in secrets)])})"


ANONYMOUS: Final = Credential()
"""Nobody."""


class AuthProvider(Protocol):
    """Any async callable that knows who we are to a registry."""

    async def __call__(self, host: str, repository: str | None) -> Credential:
        """Return the credential for a registry; anonymous when there is none.

        Args:
            host: Canonical name of the registry, `docker.io` for Docker Hub.
            repository: The repository that is asked for, if it is one.

        Raises:
            CredentialError: Where credentials are kept is broken.
        """
        ...


async def ask_provider(provider: AuthProvider, host: str, repository: str | None) -> Credential:
    """Return what a provider, which may be any callable, says that we are.

    Raises:
        CredentialError: It is no provider, or where credentials are kept is broken.
    """
    # Not what the Protocol says, as not everybody checks types.
    answer = cast("object", provider(host, repository))
    if isinstance(answer, Awaitable):
        answer = await cast("Awaitable[object]", answer)
        if isinstance(answer, Credential):
            return answer
    # By its name alone: its repr could show what it knows.
    name = getattr(provider, "__qualname__", type(provider).__qualname__)
    raise CredentialError(
        f"{name} returned {type(answer).__qualname__} when it was asked for {host}: a provider is an async "
        "function that returns a Credential"
    )


async def anonymous(host: str, repository: str | None) -> Credential:
    """Be nobody everywhere: an `AuthProvider` that asks nobody."""
    del host, repository
    return ANONYMOUS
