"""Who may do what: the gate in front of every endpoint, and Basic authentication."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from oci_distribution.testing.answers import RegistryError

__all__ = ["Access", "Authenticator", "BasicAuth", "User"]

_REALM = "registry"
CATALOG = "registry:catalog"


@dataclass(frozen=True, slots=True)
class Access:
    """What a request wants: `actions` on a resource, in the words of docker's token specification.

    Args:
        resource: `repository:<name>` or `registry:catalog`.
        actions: Of `pull`, `push`, `delete` and `*`.
    """

    resource: str
    actions: frozenset[str]

    @classmethod
    def to(cls, name: str, *actions: str) -> Access:
        """Return the access to a repository."""
        return cls(f"repository:{name}", frozenset(actions))

    def __str__(self) -> str:
        order = ("pull", "push", "delete", "*")
        return f"{self.resource}:{','.join(sorted(self.actions, key=order.index))}"


class Authenticator(Protocol):
    """Lets requests in, or not."""

    def check(self, request: Request, wanted: Sequence[Access]) -> None:
        """Let a request pass.

        Raises:
            RegistryError: 401 when (other) credentials could help, 403 when this identity never may.
        """
        ...

    async def serve(self, request: Request) -> Response | None:
        """Answer a request for an endpoint of its own, such as a token server; None when it is none."""
        ...


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with a password, and what they may do.

    Args:
        password: The password.
        access: Actions by pattern of repository name, `{"public/*": {"pull"}}`; everything when None.
            The catalog is under the name `registry:catalog` with the action `*`.
    """

    password: str = field(repr=False)
    access: Mapping[str, Collection[str]] | None = None

    def allowed(self, wanted: Access) -> frozenset[str]:
        """Return those of the wanted actions that this user may do."""
        if self.access is None:
            return wanted.actions
        name = wanted.resource.removeprefix("repository:")
        granted = {
            action
            for pattern, actions in self.access.items()
            if fnmatchcase(name, pattern)
            for action in actions
        }
        return wanted.actions & granted


class Users:
    """Users by name, with their passwords."""

    def __init__(self, users: Mapping[str, str | User]) -> None:
        self._users = {name: user if isinstance(user, User) else User(user) for name, user in users.items()}

    def named(self, name: str) -> User | None:
        """Return a user; None when there is none of that name."""
        return self._users.get(name)

    def knows(self, name: str, password: str) -> bool:
        """Say whether name and password belong together."""
        user = self._users.get(name)
        return user is not None and hmac.compare_digest(user.password.encode(), password.encode())

    def by_basic(self, request: Request) -> str | None:
        """Return who a request's Basic credentials belong to; None without such credentials.

        Raises:
            RegistryError: They are wrong.
        """
        scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            name, _, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
        except ValueError:
            raise basic_challenge("malformed credentials") from None
        if not self.knows(name, password):
            raise basic_challenge("unknown user or wrong password")
        return name


class BasicAuth:
    """Wants name and password with every request (RFC 7617).

    Args:
        users: Passwords by name, or a `User` where somebody may not do everything.
    """

    def __init__(self, users: Mapping[str, str | User]) -> None:
        self._users = Users(users)

    def check(self, request: Request, wanted: Sequence[Access]) -> None:
        """Let a request pass."""
        name = self._users.by_basic(request)
        user = self._users.named(name) if name is not None else None
        if user is None:
            raise basic_challenge("authentication required")
        for access in wanted:
            if user.allowed(access) != access.actions:
                raise denied(access)

    async def serve(self, request: Request) -> Response | None:
        """Answer nothing: there is no endpoint besides the registry's."""
        del request
        return None


def basic_challenge(message: str) -> RegistryError:
    """Return the answer that asks for Basic credentials."""
    headers = {"WWW-Authenticate": f'Basic realm="{_REALM}"'}
    return RegistryError(401, "UNAUTHORIZED", message, headers=headers)


def denied(access: Access) -> RegistryError:
    """Return the answer to somebody whom we know and who never may."""
    return RegistryError(
        403, "DENIED", "requested access to the resource is denied", detail={"scope": str(access)}
    )
