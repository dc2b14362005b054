"""Credentials: who we are, and who is asked for that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NoReturn, Protocol

__all__ = ["ANONYMOUS", "AuthProvider", "Credential", "anonymous"]


@dataclass(frozen=True, slots=True, repr=False)
class Credential:
    """Who we are to a registry; anonymous when empty. It never shows its secrets, and cannot be pickled.

    Args:
        username: Name, for Basic and for the token server.
        password: Password or personal access token.
        identity_token: A refresh token, which the token server exchanges for access tokens.
        registry_token: An access token that is sent to the registry as it is.
        expires_at: When it ends, in seconds since 1970; None for never.
    """

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""
    expires_at: float | None = None

    @property
    def is_anonymous(self) -> bool:
        """Whether there is nothing in it."""
        return not (self.username or self.password or self.identity_token or self.registry_token)

    def __repr__(self) -> str:
        if self.is_anonymous:
            return "Credential()"
        secrets = [name for name in ("password", "identity_token", "registry_token") if getattr(self, name)]
        return f"Credential(username={self.username!r}, {', '.join(f'{name}=***' for name in secrets)})"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        # A pickle ends up in caches, queues and crash reports.
        msg = "a Credential holds secrets and is not pickled"
        raise TypeError(msg)


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


async def anonymous(host: str, repository: str | None) -> Credential:
    """Be nobody everywhere: an `AuthProvider` that asks nobody."""
    del host, repository
    return ANONYMOUS
