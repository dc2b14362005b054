"""Providers of credentials that are made of other things: a table, or several providers in turn."""

from __future__ import annotations

from collections.abc import Mapping

from oci_distribution.auth.credentials import ANONYMOUS, AuthProvider, Credential, ask_provider
from oci_distribution.auth.keys import host_keys, host_of, matching, namespace_keys
from oci_distribution.errors import InvalidArgument, InvalidReference, redact_url
from oci_distribution.spec.reference import check_registry

__all__ = ["ChainProvider", "StaticProvider"]


class StaticProvider:
    """An `AuthProvider` over a table: `StaticProvider({"ghcr.io": ..., "quay.io/org": ...})`.

    Args:
        credentials: By registry, or by registry and namespace, of which the longest decides; spelled as in
            credential files, each of Docker Hub's names included.

    Raises:
        InvalidArgument: A key names no registry.
    """

    def __init__(self, credentials: Mapping[str, Credential]) -> None:
        for key in credentials:
            _check(key)
        self._credentials = dict(credentials)

    async def __call__(self, host: str, repository: str | None) -> Credential:
        """Return the credential for a registry."""
        keys = [*namespace_keys(host, repository), *host_keys(host)]
        return next((found for _, found in matching(self._credentials, keys)), ANONYMOUS)

    def __repr__(self) -> str:
        return f"StaticProvider({{{', '.join(repr(redact_url(key)) for key in self._credentials)}}})"


class ChainProvider:
    """An `AuthProvider` that asks others in turn, until one knows the registry.

    Args:
        providers: Asked in this order. An error ends the search: what is broken was meant to count.
    """

    def __init__(self, *providers: AuthProvider) -> None:
        self._providers = providers

    async def __call__(self, host: str, repository: str | None) -> Credential:
        """Return the first credential that is not anonymous."""
        for provider in self._providers:
            found = await ask_provider(provider, host, repository)
            if not found.is_anonymous:
                return found
        return ANONYMOUS

    def __repr__(self) -> str:
        return f"ChainProvider({', '.join(map(repr, self._providers))})"


def _check(key: str) -> None:
    try:
        check_registry(host_of(key).partition("/")[0])
    except InvalidReference:
        raise InvalidArgument(
            f"{redact_url(key)!r} names no registry that a credential could be for"
        ) from None
