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
    LastingTokenCache,
    MemoryChallengeCache,
    MemoryTokenCache,
    Recent,
    Token,
    TokenCache,
    TokenKey,
)
from oci_distribution.auth.challenge import Challenge, best_challenge, parse_challenges
from oci_distribution.auth.credentials import AuthProvider, Credential, Unpicklable, ask_provider
from oci_distribution.auth.scope import Scope
from oci_distribution.auth.single_flight import SingleFlight
from oci_distribution.auth.token_client import TokenClient
from oci_distribution.auth.token_server import (
    REFUSALS,
    TokenFetch,
    TokenOptions,
    TokenRequest,
    TokenResponse,
    TokenServers,
    basic_value,
    identity_of,
    realm_url,
)
from oci_distribution.auth.wanted_scopes import Need, WantedScopes
from oci_distribution.errors import CredentialError, RequestError, TokenError, printable, redact_url
from oci_distribution.events import TokenReceived, TokenRequested, emit
from oci_distribution.spec.urls import Origin

__all__ = ["Authorizer", "TokenFetch", "TokenOptions", "TokenRequest", "TokenResponse"]

CREDENTIAL_LIFETIME = 60.0
"""Seconds after which the provider is asked again: a helper costs a process, and a login may be new."""


class _Terms(NamedTuple):
    """What a token must not be: rejected already, and at its end soon where it has to last."""

    rejected: str | None = None
    lasting: bool = False


class _Known(NamedTuple):
    """A credential, and until when it is used without asking again, on our clock."""

    credential: Credential
    expires_at: float


class _Told(NamedTuple):
    """A token that `Authorization` was made of: whether it was new then, and made for somebody."""

    value: str
    is_new: bool
    is_somebodys: bool


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
        fetch: Sends requests to token servers; by default a `TokenClient`.
        challenge_cache: Remembers challenges; None for nothing.
        token_cache: Remembers tokens; None for nothing.
        options: How tokens are asked for.
        trusted_origins: Where token servers may be in any case.
        clock: Monotonic seconds.
    """

    provider: AuthProvider
    fetch: TokenFetch = field(default_factory=TokenClient)
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
    _ready: Recent[Need, Token] = field(init=False)
    """Whole values of `Authorization`, so that a warm request costs one look-up."""
    _told: Recent[Need, _Told] = field(init=False)
    _wanted: WantedScopes = field(init=False)
    _widest: Recent[_Group, Scope] = field(init=False)

    def __post_init__(self) -> None:
        self._servers = TokenServers(self.fetch, self.options, self.clock)
        self._token_flights, self._widest = SingleFlight(), Recent()
        self.forget()

    def forget(self) -> None:
        """Ask everybody anew from now on: credentials were stored or erased.

        Tokens stay in their cache, under who they were made for.
        """
        # New objects: who is at work with the old credentials writes into the old ones.
        self._credential_flights = SingleFlight()
        self._credentials, self._ready, self._told = Recent(), Recent(), Recent()
        self._wanted = WantedScopes(self.clock)

    async def authorize(
        self, origin: Origin, registry: str, scope: str, *, desired: str = "", lasting: bool = False
    ) -> str | None:
        """Return the value of `Authorization` for a request that is about to be sent; None for none.

        Args:
            origin: Where the request goes: the registry's own origin.
            registry: The name that credentials are stored under.
            scope: What the request needs, `repository:a/b:pull`; empty for nothing in particular.
            desired: What it goes better with, and does without where that is refused: reading the repository
                that a blob is mounted from.
            lasting: Whether what is sent takes long: then a token with less than half of its life left is
                renewed first, because some registries look at it at the end, too (moby#33558).

        Raises:
            CredentialError: Where credentials are kept is broken.
            RequestError: The token server refused or failed.
        """
        need = Need(origin, registry, scope, desired)
        ready = self._ready.get(need)
        if ready is not None and ready.serves(self.clock(), lasting=lasting):
            return ready.value
        cache = self.challenge_cache
        challenge = await cache.get(origin) if cache is not None else None
        if cache is None or challenge is None:
            # A broken credential file is an error before anything is sent, not when the registry wants it.
            await self._credential(need)
            return None
        try:
            return await self._value(need, challenge, self._wanted.asked(need), _Terms(lasting=lasting))
        except RequestError:
            if ready is not None and ready.serves(self.clock()):
                # It was to be renewed before its time, and is good enough.
                return ready.value
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
        desired: str = "",
        again: bool = False,
    ) -> str | None:
        """Return a better value after a 401 that came from `origin` itself; None when there is none.

        Args:
            origin: The registry's own origin.
            registry: The name that credentials are stored under.
            scope: What the request needs.
            www_authenticate: The challenges, header by header.
            sent: The value that was refused, if any was sent.
            desired: What it goes better with, and does without where that is refused.
            again: Whether `sent` is what this method returned for this request: then a new token that is
                refused means no, and another answer is only for a registry that wants a wider scope, for a
                token that was not new or ended while the request waited, and for the desired scope, which
                may have been too much.

        Raises:
            TokenError: The token server refused or failed.
            ForbiddenOrigin: The challenge names a token server where our rules forbid to go.
        """
        challenge = best_challenge(parse_challenges(www_authenticate))
        await self._remember(origin, challenge)
        if challenge is None:
            return None
        need = Need(origin, registry, scope, desired)
        has_ended = sent is not None and self._forget_value(need, sent)
        wanted, is_wider = self._wanted.named(need, challenge)
        told = self._told.get(need)
        is_old = has_ended or (told is not None and told.value == sent and not told.is_new)
        if again and not (is_wider or is_old):
            if not self._wanted.narrow(need):
                return None
            wanted = self._wanted.asked(need)
        value = await self._value(need, challenge, wanted, _Terms(rejected=sent))
        return value if value != sent else None

    def is_denial(
        self, origin: Origin, registry: str, scope: str, sent: str | None, *, desired: str = ""
    ) -> bool:
        """Say whether a refusal of `sent` means that we may not, whoever we say that we are.

        That is so of a token that was made for this, and for somebody. Others could be let in when nobody
        is refused, or a password.

        Args:
            origin: The registry's own origin.
            registry: The name that credentials are stored under.
            scope: What the request needs.
            sent: What `answer` returned for the request, and was refused, if it returned anything.
            desired: What it goes better with.
        """
        told = self._told.get(Need(origin, registry, scope, desired))
        return told == (sent, True, True)

    async def _remember(self, origin: Origin, challenge: Challenge | None) -> None:
        if self.challenge_cache is None:
            return
        if challenge is None:
            await self.challenge_cache.discard(origin)
        else:
            await self.challenge_cache.set(origin, challenge.lasting())

    def _forget_value(self, need: Need, sent: str) -> bool:
        """Do not send `sent` again, and return whether it had ended by our own clock."""
        # Somebody may have logged in since.
        self._credentials.discard(need.whose)
        ready = self._ready.get(need)
        if ready is None or ready.value != sent:
            return False
        self._ready.discard(need)
        return not ready.serves(self.clock())

    async def _value(self, need: Need, challenge: Challenge, wanted: Scope, terms: _Terms) -> str | None:
        ready_values, told = self._ready, self._told
        credential, expires_at = await self._credential(need)
        if challenge.scheme == "basic":
            if not credential.password:
                return None
            ready = Token(basic_value(credential), expires_at)
        elif credential.registry_token:
            ready = Token(f"Bearer {credential.registry_token}", expires_at)
        else:
            token, is_new = await self._bearer(need, challenge, wanted, credential, terms)
            ready = replace(token, value=f"Bearer {token.value}")
            before = told.get(need)
            if before is None or before.value != ready.value:
                told.set(need, _Told(ready.value, is_new, not credential.is_anonymous))
        # What a challenge named for a request without a scope of its own is not for the next such request.
        is_ours = bool(need.scope) or not wanted
        if is_ours and self.challenge_cache is not None and self.token_cache is not None:
            ready_values.set(need, ready)
        return ready.value

    async def _bearer(
        self, need: Need, challenge: Challenge, wanted: Scope, credential: Credential, terms: _Terms
    ) -> tuple[Token, bool]:
        """Return a token, and whether it is new: for what is required alone where the whole is refused."""
        named = challenge.parameters
        realm = realm_url(need.origin, need.registry, named.get("realm", ""), trusted=self.trusted_origins)
        identity = await self._identity(credential)
        key = TokenKey(need.origin, realm, named.get("service", ""), wanted, identity)
        try:
            return await self._token(key, need.registry, credential, terms)
        except TokenError as error:
            # Somebody may log in before the next request.
            self._credentials.discard(need.whose)
            if error.status not in REFUSALS or not self._wanted.is_desiring(need):
                raise
        required = replace(key, scope=self._wanted.required(need))
        found = await self._token(required, need.registry, credential, terms)
        self._wanted.narrow(need)
        return found

    async def _identity(self, credential: Credential) -> str:
        cache = self.token_cache
        return (
            await cache.identify(credential)
            if isinstance(cache, LastingTokenCache)
            else identity_of(credential)
        )

    async def _credential(self, need: Need) -> _Known:
        credentials, whose = self._credentials, need.whose
        known = credentials.get(whose)
        if known is not None and known.expires_at > self.clock():
            return known

        async def ask() -> _Known:
            credential = await ask_provider(self.provider, *whose)
            if not credential.is_sendable:
                raise CredentialError(f"the credential for {whose[0]} has characters that cannot be sent")
            lifetime = CREDENTIAL_LIFETIME
            if credential.expires_at is not None:
                lifetime = min(lifetime, credential.expires_at - time.time())
            new = _Known(credential, self.clock() + lifetime)
            credentials.set(whose, new)
            return new

        return await self._credential_flights.run(whose, ask)

    async def _token(
        self, key: TokenKey, registry: str, credential: Credential, terms: _Terms
    ) -> tuple[Token, bool]:
        """Return a token that we have, or a new one, and whether it is new."""
        cached = await self._cached(key, terms)
        if cached is not None:
            return cached, False

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

        return await self._token_flights.run(key, fetch), True

    async def _cached(self, key: TokenKey, terms: _Terms) -> Token | None:
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
            is_rejected = f"Bearer {token.value}" == terms.rejected
            if is_rejected or not token.serves(self.clock()):
                await self.token_cache.discard(candidate)
            elif token.serves(self.clock(), lasting=terms.lasting):
                return token
        return None
