"""Caches: which challenge a registry answers with, and the tokens we have."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from oci_distribution.auth.challenge import Challenge
from oci_distribution.auth.scope import Scope
from oci_distribution.spec.urls import Origin

__all__ = ["ChallengeCache", "MemoryChallengeCache", "MemoryTokenCache", "Token", "TokenCache", "TokenKey"]

CAPACITY = 4096
"""Entries that a cache in memory keeps: repositories of a large mirror, some hundred bytes each."""

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class TokenKey:
    """What a token belongs to; one that differs in anything is another token.

    Args:
        origin: The registry that the token is shown to.
        realm: URL of the token server.
        service: What the registry calls itself there.
        scope: What the token is for. Chainguard answers 403 to a token of another scope, so none is shared.
        identity: Who we are, without secrets.
    """

    origin: Origin
    realm: str
    service: str
    scope: Scope
    identity: str


@dataclass(frozen=True, slots=True)
class Token:
    """An access token.

    Args:
        value: The token.
        expires_at: When it is not used any more, on the clock of the `Authorizer`, a margin taken off.
    """

    value: str = field(repr=False)
    expires_at: float


class ChallengeCache(Protocol):
    """Remembers how each registry challenges, so that the first request needs no 401."""

    async def get(self, origin: Origin) -> Challenge | None:
        """Return what is remembered of `origin`."""
        ...

    async def set(self, origin: Origin, challenge: Challenge) -> None:
        """Remember a challenge."""
        ...


class TokenCache(Protocol):
    """Remembers tokens."""

    async def get(self, key: TokenKey) -> Token | None:
        """Return the token that is remembered, expired or not."""
        ...

    async def set(self, key: TokenKey, token: Token) -> None:
        """Remember a token."""
        ...

    async def discard(self, key: TokenKey) -> None:
        """Forget a token; nothing happens when there is none."""
        ...


class _Recent(Generic[K, V]):
    """A dictionary that keeps what was used last."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        value = self._items.get(key)
        if value is not None:
            self._items.move_to_end(key)
        return value

    def set(self, key: K, value: V) -> None:
        self._items[key] = value
        self._items.move_to_end(key)
        while len(self._items) > self._capacity:
            self._items.popitem(last=False)

    def discard(self, key: K) -> None:
        self._items.pop(key, None)


class MemoryChallengeCache:
    """Remembers challenges for as long as it lives."""

    def __init__(self, *, capacity: int = CAPACITY) -> None:
        self._recent: _Recent[Origin, Challenge] = _Recent(capacity)

    async def get(self, origin: Origin) -> Challenge | None:
        """Return what is remembered of `origin`."""
        return self._recent.get(origin)

    async def set(self, origin: Origin, challenge: Challenge) -> None:
        """Remember a challenge."""
        self._recent.set(origin, challenge)


class MemoryTokenCache:
    """Remembers tokens for as long as it lives."""

    def __init__(self, *, capacity: int = CAPACITY) -> None:
        self._recent: _Recent[TokenKey, Token] = _Recent(capacity)

    async def get(self, key: TokenKey) -> Token | None:
        """Return the token that is remembered."""
        return self._recent.get(key)

    async def set(self, key: TokenKey, token: Token) -> None:
        """Remember a token."""
        self._recent.set(key, token)

    async def discard(self, key: TokenKey) -> None:
        """Forget a token."""
        self._recent.discard(key)
