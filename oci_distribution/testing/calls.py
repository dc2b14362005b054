"""What a handler gets, and what handlers share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from starlette.requests import Request
from starlette.responses import Response

from oci_distribution.errors import InvalidDigest
from oci_distribution.spec.digest import Digest
from oci_distribution.testing.answers import RegistryError, digest_invalid
from oci_distribution.testing.storage import RepositoryStorage

if TYPE_CHECKING:
    from oci_distribution.testing.app import RegistryApp

__all__ = ["Call", "Handler", "parse_digest", "root_path", "route_path"]


Handler: TypeAlias = "Callable[[Call], Awaitable[Response]]"
"""Carries out a call."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was routed and let in.

    Args:
        app: The registry.
        request: The request.
        name: Name of the repository, checked; empty for endpoints of the whole registry.
        argument: Last part of the path: a reference, a digest, or the identifier of an upload.
    """

    app: RegistryApp
    request: Request
    name: str
    argument: str

    @property
    def is_head(self) -> bool:
        """Whether only the headers are wanted."""
        return bool(self.request.method == "HEAD")

    def repository(self) -> RepositoryStorage:
        """Return the repository.

        Raises:
            RegistryError: Nothing was ever pushed to it.
        """
        repository = self.app.storage.find(self.name)
        if repository is None:
            raise RegistryError(
                404, "NAME_UNKNOWN", "repository name not known to registry", detail={"name": self.name}
            )
        return repository

    def digest(self) -> Digest:
        """Return the argument as a digest."""
        return parse_digest(self.argument)

    def location(self, path: str) -> str:
        """Return the `Location` of a path below this repository, right also where the app is mounted."""
        return f"{root_path(self.request)}/v2/{self.name}/{path}"


def root_path(request: Request) -> str:
    """Return the path under which the app is mounted; empty when it is not."""
    return str(request.scope.get("root_path", ""))


def route_path(request: Request) -> str:
    """Return the path of a request below where the app is mounted."""
    return str(request.scope["path"]).removeprefix(root_path(request))


def parse_digest(text: str) -> Digest:
    """Return `text` as a digest.

    Raises:
        RegistryError: It is malformed, or of an algorithm that we do not know.
    """
    try:
        return Digest(text)
    except InvalidDigest as error:
        raise digest_invalid(str(error)) from None
