"""Caches: which challenge a registry answers with, and the tokens we have."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, TypeVar, runtime_checkable

from oci_distribution.auth.challenge import Challenge
from oci_distribution.auth.credentials import Credential, Unpicklable
from oci_distribution.auth.scope import Scope
from oci_distribution.spec.urls import Origin

__all__ = [
    "ChallengeCache",
    "LastingTokenCache",
    "MemoryChallengeCache",
    "MemoryTokenCache",
    "Recent",
    "Token",
    "TokenCache",
    "TokenKey",
]

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
        scope: What the token is for.
        identity: Who we are: another for each credential, empty for nobody. No secret can be read from it,
            and it means nothing to another process.
    """

    origin: Origin
    realm: str
    service: str
    scope: Scope
    identity: str

    def of_any_scope(self) -> TokenKey:
        """Return what is the same for all scopes: a refresh token belongs to that."""
        return replace(self, scope=Scope())


@dataclass(frozen=True, slots=True)
class Token(Unpicklable):
    """An access token; it does not show itself, and cannot be pickled.

    Args:
        value: The token.
        expires_at: When it is not used any more, in seconds on the clock of the `Authorizer`; the margin
            before its real end is taken off already.
        lifetime: Seconds from when it was made to `expires_at`; 0 where nobody knows.
    """

    value: str = field(repr=False)
    expires_at: float
    lifetime: float = 0.0

    def serves(self, now: float, *, lasting: bool = False) -> bool:
        """Say whether it is good now; and for half of its life from now, where it has to last."""
        return self.expires_at - (self.lifetime / 2 if lasting else 0.0) > now


class ChallengeCache(Protocol):
    """Remembers how each registry challenges, so that the first request needs no 401."""

    async def get(self, origin: Origin) -> Challenge | None:
        """Return what is remembered of `origin`."""
        ...

    async def set(self, origin: Origin, challenge: Challenge) -> None:
        """Remember a challenge."""
        ...

    async def discard(self, origin: Origin) -> None:
        """Forget a challenge; nothing happens when there is none."""
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


@runtime_checkable
class LastingTokenCache(TokenCache, Protocol):
    """A token cache that outlives the process, and so tells identities apart by names of its own."""

    async def identify(self, credential: Credential) -> str:
        """Return a name for who has this credential: the same in every process, empty for nobody.

        It must say nothing of the credential's secrets, not even to who can guess many of them.
        """
        ...


class Recent(Generic[K, V]):
    """A dictionary that keeps what was used last.

    Args:
        capacity: Entries that it keeps.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._items: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        """Return what is kept under `key`."""
        value = self._items.get(key)
        if value is not None:
            self._items.move_to_end(key)
        return value

    def set(self, key: K, value: V) -> None:
        """Keep a value, in the place of what was used longest ago."""
        self._items[key] = value
        self._items.move_to_end(key)
        while len(self._items) > self._capacity:
            self._items.popitem(last=False)

    def discard(self, key: K) -> None:
        """Forget what is kept under `key`."""
        self._items.pop(key, None)


class MemoryChallengeCache:
    """Remembers challenges for as long as it lives."""

    def __init__(self, *, capacity: int = CAPACITY) -> None:
        self._recent: Recent[Origin, Challenge] = Recent(capacity)

    async def get(self, origin: Origin) -> Challenge | None:
        """Return what is remembered of `origin`."""
        return self._recent.get(origin)

    async def set(self, origin: Origin, challenge: Challenge) -> None:
        """Remember a challenge."""
        self._recent.set(origin, challenge)

    async def discard(self, origin: Origin) -> None:
        """Forget a challenge."""
        self._recent.discard(origin)


class MemoryTokenCache:
    """Remembers tokens for as long as it lives."""

    def __init__(self, *, capacity: int = CAPACITY) -> None:
        self._recent: Recent[TokenKey, Token] = Recent(capacity)

    async def get(self, key: TokenKey) -> Token | None:
        """Return the token that is remembered."""
        return self._recent.get(key)

    async def set(self, key: TokenKey, token: Token) -> None:
        """Remember a token."""
        self._recent.set(key, token)

    async def discard(self, key: TokenKey) -> None:
        """Forget a token."""
        self._recent.discard(key)
