"""The authorizer: what to say to a registry so that it lets us in.

A credential goes only to the registry's own origin (Basic), or to the token server that the registry's own
challenge names; a token goes only to the registry that it was made for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import NamedTuple, Self

from oci_distribution.auth.cache import (
    ChallengeCache,
    MemoryChallengeCache,
    MemoryTokenCache,
    Recent,
    Token,
    TokenCache,
    TokenKey,
)
from oci_distribution.auth.challenge import Challenge, best_challenge, parse_challenges
from oci_distribution.auth.credentials import AuthProvider, Credential, Unpicklable
from oci_distribution.auth.scope import Scope
from oci_distribution.auth.single_flight import SingleFlight
from oci_distribution.auth.token_server import (
    TokenFetch,
    TokenOptions,
    TokenRequest,
    TokenResponse,
    TokenServers,
    basic_value,
    identity_of,
    realm_url,
)
from oci_distribution.errors import CredentialError, RequestError, TokenError, printable, redact_url
from oci_distribution.events import TokenReceived, TokenRequested, emit
from oci_distribution.spec.urls import Origin

__all__ = ["Authorizer", "TokenFetch", "TokenOptions", "TokenRequest", "TokenResponse"]

CREDENTIAL_LIFETIME = 60.0
"""Seconds after which the provider is asked again: a helper costs a process, and a login may be new."""


MAX_SCOPE = 8 << 10
"""Characters of a challenge's scope that we take in: it is remembered, and it goes into a URL."""


class _Need(NamedTuple):
    """What a request must be let in for."""

    origin: Origin
    registry: str
    scope: str


class _Known(NamedTuple):
    """A credential, and until when it is used without asking again, on our clock."""

    credential: Credential
    expires_at: float


class _Group(NamedTuple):
    """Tokens that differ only in their actions on the same resources."""

    session: TokenKey
    resources: tuple[str, ...]

    @classmethod
    def of(cls, key: TokenKey) -> Self:
        return cls(key.of_any_scope(), tuple(resource for resource, _ in key.scope.resources))


@dataclass(slots=True, repr=False, eq=False)
class Authorizer(Unpicklable):
    """Says who we are, to registries and token servers.

    Args:
        provider: Knows our credentials.
        fetch: Sends requests to token servers.
        challenge_cache: Remembers challenges; None for nothing.
        token_cache: Remembers tokens; None for nothing.
        options: How tokens are asked for.
        trusted_origins: Where token servers may be in any case.
        clock: Monotonic seconds.
    """

    provider: AuthProvider
    fetch: TokenFetch
    challenge_cache: ChallengeCache | None = field(default_factory=MemoryChallengeCache)
    token_cache: TokenCache | None = field(default_factory=MemoryTokenCache)
    _: KW_ONLY
    options: TokenOptions = field(default_factory=TokenOptions)
    trusted_origins: Collection[Origin] = ()
    clock: Callable[[], float] = time.monotonic
    _servers: TokenServers = field(init=False)
    _token_flights: SingleFlight[TokenKey, Token] = field(init=False)
    _credential_flights: SingleFlight[tuple[str, str | None], _Known] = field(init=False)
    _credentials: Recent[tuple[str, str | None], _Known] = field(init=False)
    _ready: Recent[_Need, Token] = field(init=False)
    """Whole values of `Authorization`, so that a warm request costs one look-up."""
    _wider: Recent[tuple[Origin, Scope], Scope] = field(init=False)
    """What to ask for where a registry said that our own idea of the scope was not enough."""
    _widest: Recent[_Group, Scope] = field(init=False)

    def __post_init__(self) -> None:
        self._servers = TokenServers(self.fetch, self.options, self.clock)
        self._token_flights, self._credential_flights = SingleFlight(), SingleFlight()
        self._credentials, self._ready, self._wider, self._widest = Recent(), Recent(), Recent(), Recent()

    async def authorize(self, origin: Origin, registry: str, scope: str) -> str | None:
        """Return the value of `Authorization` for a request that is about to be sent; None for none.

        Args:
            origin: Where the request goes: the registry's own origin.
            registry: The name that credentials are stored under.
            scope: What the request needs, `repository:a/b:pull`; empty for nothing in particular.

        Raises:
            CredentialError: Where credentials are kept is broken.
            RequestError: The token server refused or failed.
        """
        need = _Need(origin, registry, scope)
        ready = self._ready.get(need)
        if ready is not None and ready.expires_at > self.clock():
            return ready.value
        cache = self.challenge_cache
        challenge = await cache.get(origin) if cache is not None else None
        if cache is None or challenge is None:
            # A broken credential file is an error before anything is sent, not when the registry wants it.
            await self._credential(_whose(need))
            return None
        ours = Scope.parse(scope)
        try:
            return await self._value(need, challenge, self._wider.get((origin, ours)) or ours)
        except RequestError:
            # The registry may name another token server by now: let it tell us next time.
            await cache.discard(origin)
            raise

    async def answer(
        self,
        origin: Origin,
        registry: str,
        scope: str,
        www_authenticate: Sequence[str],
        sent: str | None,
        *,
        again: bool = False,
    ) -> str | None:
        """Return a better value after a 401 that came from `origin` itself; None when there is none.

        Args:
            origin: The registry's own origin.
            registry: The name that credentials are stored under.
            scope: What the request needs.
            www_authenticate: The challenges, header by header.
            sent: The value that was refused, if any was sent.
            again: Whether `sent` is what this method returned for this request: then only a registry that
                wants a wider scope gets another answer, because a new token that is refused means no.

        Raises:
            TokenError: The token server refused or failed.
            ForbiddenOrigin: The challenge names a token server where our rules forbid to go.
        """
        challenge = best_challenge(parse_challenges(www_authenticate))
        await self._remember(origin, challenge)
        if challenge is None:
            return None
        need = _Need(origin, registry, scope)
        if sent is not None:
            self._forget(need, sent)
        wanted, is_wider = self._wanted(need, challenge)
        if again and not is_wider:
            return None
        value = await self._value(need, challenge, wanted, rejected=sent)
        return value if value != sent else None

    async def _remember(self, origin: Origin, challenge: Challenge | None) -> None:
        if self.challenge_cache is None:
            return
        if challenge is None:
            await self.challenge_cache.discard(origin)
        else:
            await self.challenge_cache.set(origin, challenge.lasting())

    def _forget(self, need: _Need, sent: str) -> None:
        ready = self._ready.get(need)
        if ready is not None and ready.value == sent:
            self._ready.discard(need)
        # Somebody may have logged in since.
        self._credentials.discard(_whose(need))

    def _wanted(self, need: _Need, challenge: Challenge) -> tuple[Scope, bool]:
        """Return what to ask a token for, and whether that is more than we asked for until now."""
        ours = Scope.parse(need.scope)
        named = challenge.parameters.get("scope", "")
        theirs = Scope.parse(named if len(named) <= MAX_SCOPE else "")
        asked = self._wider.get((need.origin, ours)) or ours
        is_wider = challenge.parameters.get("error") == "insufficient_scope" and not asked.covers(theirs)
        if not ours:
            # Requests without a scope of their own have nothing in common that could be remembered.
            return theirs, is_wider
        if is_wider:
            asked = ours | theirs
            self._wider.set((need.origin, ours), asked)
        return asked, is_wider

    async def _value(
        self, need: _Need, challenge: Challenge, wanted: Scope, rejected: str | None = None
    ) -> str | None:
        credential, expires_at = await self._credential(_whose(need))
        if challenge.scheme == "basic":
            if not credential.password:
                return None
            ready = Token(basic_value(credential), expires_at)
        elif credential.registry_token:
            ready = Token(f"Bearer {credential.registry_token}", expires_at)
        else:
            parameters = challenge.parameters
            realm = realm_url(
                need.origin, need.registry, parameters.get("realm", ""), trusted=self.trusted_origins
            )
            service = parameters.get("service", "")
            key = TokenKey(need.origin, realm, service, wanted, identity_of(credential))
            try:
                token = await self._token(key, need.registry, credential, rejected)
            except TokenError:
                # Somebody may log in before the next request.
                self._credentials.discard(_whose(need))
                raise
            ready = Token(f"Bearer {token.value}", token.expires_at)
        # What a challenge named for a request without a scope of its own is not for the next such request.
        is_ours = bool(need.scope) or not wanted
        if is_ours and self.challenge_cache is not None and self.token_cache is not None:
            self._ready.set(need, ready)
        return ready.value

    async def _credential(self, whose: tuple[str, str | None]) -> _Known:
        known = self._credentials.get(whose)
        if known is not None and known.expires_at > self.clock():
            return known

        async def ask() -> _Known:
            credential = await self.provider(*whose)
            if not credential.is_sendable:
                raise CredentialError(f"the credential for {whose[0]} has characters that cannot be sent")
            lifetime = CREDENTIAL_LIFETIME
            if credential.expires_at is not None:
                lifetime = min(lifetime, credential.expires_at - time.time())
            new = _Known(credential, self.clock() + lifetime)
            self._credentials.set(whose, new)
            return new

        return await self._credential_flights.run(whose, ask)

    async def _token(
        self, key: TokenKey, registry: str, credential: Credential, rejected: str | None
    ) -> Token:
        cached = await self._cached(key, rejected)
        if cached is not None:
            return cached

        async def fetch() -> Token:
            scope = printable(str(key.scope))
            began, realm = self.clock(), redact_url(key.realm)
            emit(TokenRequested(registry, realm, scope))
            token = await self._servers.token(key, registry, credential)
            emit(TokenReceived(registry, realm, scope, self.clock() - began))
            if self.token_cache is not None:
                await self.token_cache.set(key, token)
                widest = self._widest.get(_Group.of(key))
                if widest is None or key.scope.covers(widest):
                    self._widest.set(_Group.of(key), key.scope)
            return token

        return await self._token_flights.run(key, fetch)

    async def _cached(self, key: TokenKey, rejected: str | None) -> Token | None:
        """Return a token that we have; whatever has ended or was rejected is dropped on the way.

        One for more actions on the same resources does, too, but never one for other resources besides:
        Chainguard answers 403 to a token of another scope.
        """
        if self.token_cache is None:
            return None
        widest = self._widest.get(_Group.of(key))
        wider = (replace(key, scope=widest),) if widest is not None and widest.covers(key.scope) else ()
        for candidate in (key, *wider):
            token = await self.token_cache.get(candidate)
            if token is None:
                continue
            if token.expires_at > self.clock() and f"Bearer {token.value}" != rejected:
                return token
            await self.token_cache.discard(candidate)
        return None


def _whose(need: _Need) -> tuple[str, str | None]:
    """Return what the provider is asked for: credentials may differ between a registry's repositories."""
    return need.registry, Scope.parse(need.scope).repository
