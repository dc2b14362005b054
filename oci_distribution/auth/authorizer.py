"""The authorizer: what to say to a registry so that it lets us in.

A credential goes only to the registry's own origin (Basic), or to the token server that the registry's own
challenge names; a token goes only to the registry that it was made for.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from pydantic import BaseModel, ConfigDict, ValidationError

from oci_distribution.auth.cache import ChallengeCache, Token, TokenCache, TokenKey
from oci_distribution.auth.challenge import Challenge, parse_challenges
from oci_distribution.auth.credentials import AuthProvider, Credential
from oci_distribution.auth.scope import Scope
from oci_distribution.auth.single_flight import SingleFlight
from oci_distribution.errors import ForbiddenOrigin, RequestContext, TokenError, redact_url
from oci_distribution.spec.origins import why_forbidden
from oci_distribution.spec.urls import Origin, resolve_url

__all__ = ["Authorizer", "TokenFetch", "TokenOptions", "TokenRequest", "TokenResponse"]

DEFAULT_LIFETIME = 60.0
"""Seconds of a token that does not say how long it lives (docker's token specification)."""
MAX_MARGIN = 10.0
"""Seconds before its end when a token is not used any more; a tenth of its life when that is less."""
CREDENTIAL_LIFETIME = 60.0
"""Seconds after which the provider is asked again: a helper costs a process, and a login may be new."""
_POST_UNKNOWN = frozenset({400, 404, 405})
"""What token servers answer that know only GET."""


@dataclass(frozen=True, slots=True)
class TokenOptions:
    """How tokens are asked for.

    Args:
        client_id: What we call ourselves.
        force_oauth2: Exchange passwords by POST, too; by default only identity tokens are.
        offline_token: Ask for a refresh token along with the access token.
    """

    client_id: str = "oci-distribution"
    force_oauth2: bool = False
    offline_token: bool = False


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A request to a token server; it holds secrets, which its repr does not show."""

    method: str
    url: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class TokenResponse:
    """A token server's answer, whatever its status."""

    status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)


TokenFetch = Callable[[TokenRequest], Awaitable[TokenResponse]]
"""Sends a request to a token server, and follows no redirect."""


class _TokenBody(BaseModel):
    """What a token server answers."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    token: str | None = None
    access_token: str | None = None
    refresh_token: str | None = None
    expires_in: float | None = None


@dataclass(slots=True)
class Authorizer:
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
    challenge_cache: ChallengeCache | None
    token_cache: TokenCache | None
    options: TokenOptions = field(default_factory=TokenOptions)
    trusted_origins: Collection[Origin] = ()
    clock: Callable[[], float] = time.monotonic
    _flights: SingleFlight[TokenKey, Token] = field(default_factory=SingleFlight[TokenKey, Token], init=False)
    _credentials: dict[tuple[str, str | None], tuple[Credential, float]] = field(
        default_factory=dict, init=False
    )
    _ready: dict[tuple[Origin, str, str], Token] = field(default_factory=dict, init=False)
    _wider: dict[tuple[Origin, Scope], Scope] = field(default_factory=dict, init=False)
    _refresh_tokens: dict[tuple[str, str, str], str] = field(default_factory=dict, init=False)
    _get_only: set[str] = field(default_factory=set, init=False)

    async def authorize(self, origin: Origin, registry: str, scope: str) -> str | None:
        """Return the value of `Authorization` for a request that is about to be sent; None for none.

        Args:
            origin: Where the request goes: the registry's own origin.
            registry: The name that credentials are stored under.
            scope: What the request needs, `repository:a/b:pull`; empty for nothing in particular.
        """
        ready = self._ready.get((origin, registry, scope))
        if ready is not None and ready.expires_at > self.clock():
            return ready.value
        challenge = await self.challenge_cache.get(origin) if self.challenge_cache is not None else None
        if challenge is None:
            return None
        wanted = Scope.parse(scope)
        wanted = self._wider.get((origin, wanted), wanted)
        return await self._value(origin, registry, challenge, wanted, scope, rejected=None)

    async def answer(
        self, origin: Origin, registry: str, scope: str, www_authenticate: Sequence[str], sent: str | None
    ) -> str | None:
        """Return a better value after a 401 that came from `origin` itself; None when there is none.

        Args:
            origin: The registry's own origin.
            registry: The name that credentials are stored under.
            scope: What the request needs.
            www_authenticate: The challenges, header by header.
            sent: The value that was refused, if any was sent.

        Raises:
            TokenError: The token server refused or failed.
            ForbiddenOrigin: The challenge names a token server where our rules forbid to go.
        """
        challenge = _best(parse_challenges(www_authenticate))
        if challenge is None:
            return None
        self._ready.pop((origin, registry, scope), None)
        self._credentials.pop((registry, Scope.parse(scope).repository), None)
        if self.challenge_cache is not None:
            await self.challenge_cache.set(origin, _lasting(challenge))
        wanted = self._wanted(origin, Scope.parse(scope), challenge)
        value = await self._value(origin, registry, challenge, wanted, scope, rejected=sent)
        return value if value != sent else None

    def _wanted(self, origin: Origin, ours: Scope, challenge: Challenge) -> Scope:
        """Return what to ask a token for; the registry knows better when ours was not enough."""
        theirs = Scope.parse(challenge.parameters.get("scope", ""))
        if not ours:
            return theirs
        if challenge.parameters.get("error") == "insufficient_scope" and not ours.covers(theirs):
            wider = self._wider[origin, ours] = ours | theirs
            return wider
        return self._wider.get((origin, ours), ours)

    async def _value(
        self,
        origin: Origin,
        registry: str,
        challenge: Challenge,
        wanted: Scope,
        scope: str,
        *,
        rejected: str | None,
    ) -> str | None:
        credential = await self._credential(registry, Scope.parse(scope).repository)
        if challenge.scheme == "basic":
            return _basic(credential) if credential.password else None
        if credential.registry_token:
            return f"Bearer {credential.registry_token}"
        realm = self._realm(origin, registry, challenge)
        service = challenge.parameters.get("service", "")
        key = TokenKey(origin, realm, service, wanted, credential.username)
        token = await self._token(key, registry, credential, rejected)
        value = f"Bearer {token.value}"
        if self.token_cache is not None:
            self._ready[origin, registry, scope] = Token(value, token.expires_at)
        return value

    async def _credential(self, registry: str, repository: str | None) -> Credential:
        key = (registry, repository)
        known = self._credentials.get(key)
        if known is not None and known[1] > self.clock() and not _expired(known[0]):
            return known[0]
        credential = await self.provider(registry, repository)
        self._credentials[key] = credential, self.clock() + CREDENTIAL_LIFETIME
        return credential

    def _realm(self, origin: Origin, registry: str, challenge: Challenge) -> str:
        context = RequestContext(registry=registry)
        realm = challenge.parameters.get("realm", "")
        try:
            url = resolve_url(f"{origin}/", realm)
        except ValueError as error:
            raise TokenError(
                f"{registry} names a token server that is none: {error}", context=context
            ) from None
        reason = why_forbidden(origin, url, trusted=self.trusted_origins)
        if not realm or reason is not None:
            raise ForbiddenOrigin(
                f"{registry} names a token server at {redact_url(url)}: {reason or 'it names none'}",
                context=context,
            )
        return url

    async def _token(
        self, key: TokenKey, registry: str, credential: Credential, rejected: str | None
    ) -> Token:
        async def fetch() -> Token:
            cache = self.token_cache
            if cache is not None and (known := await cache.get(key)) is not None:
                if known.expires_at > self.clock() and f"Bearer {known.value}" != rejected:
                    return known
                await cache.discard(key)
            token = await self._fetch(key, registry, credential)
            if cache is not None:
                await cache.set(key, token)
            return token

        return await self._flights.run(key, fetch)

    async def _fetch(self, key: TokenKey, registry: str, credential: Credential) -> Token:
        memory = (key.realm, key.service, key.identity)
        refresh = self._refresh_tokens.get(memory) or credential.identity_token
        by_post = refresh or (self.options.force_oauth2 and credential.password)
        if by_post and (key.realm not in self._get_only or not credential.password):
            request = self._post(key, credential, refresh)
            response = await self.fetch(request)
            if response.status not in _POST_UNKNOWN or not credential.password:
                return self._read(key, registry, credential, request, response)
            self._get_only.add(key.realm)
        request = self._get(key, credential)
        return self._read(key, registry, credential, request, await self.fetch(request))

    def _get(self, key: TokenKey, credential: Credential) -> TokenRequest:
        parameters = [("service", key.service)] if key.service else []
        parameters += [("scope", item) for item in key.scope.items]
        parameters.append(("client_id", self.options.client_id))
        if credential.username:
            parameters.append(("account", credential.username))
        if self.options.offline_token and credential.password:
            parameters.append(("offline_token", "true"))
        joint = "&" if "?" in key.realm else "?"
        url = f"{key.realm}{joint}{urlencode(parameters, quote_via=quote, safe=':,/')}"
        headers = (("Authorization", _basic(credential)),) if credential.password else ()
        return TokenRequest("GET", url, headers)

    def _post(self, key: TokenKey, credential: Credential, refresh: str) -> TokenRequest:
        form = {"service": key.service, "client_id": self.options.client_id, "scope": str(key.scope)}
        if self.options.offline_token:
            form["access_type"] = "offline"
        if refresh:
            form |= {"grant_type": "refresh_token", "refresh_token": refresh}
        else:
            form |= {
                "grant_type": "password",
                "username": credential.username,
                "password": credential.password,
            }
        body = urlencode({name: value for name, value in form.items() if value}).encode()
        return TokenRequest("POST", key.realm, (("Content-Type", "application/x-www-form-urlencoded"),), body)

    def _read(
        self,
        key: TokenKey,
        registry: str,
        credential: Credential,
        request: TokenRequest,
        response: TokenResponse,
    ) -> Token:
        context = RequestContext(request.method, redact_url(request.url), registry, response.status)
        if response.status != 200:
            raise TokenError(_refusal(registry, credential, response.status), context=context)
        try:
            body = _TokenBody.model_validate_json(response.content)
        except ValidationError:
            raise TokenError(
                "the token server's answer is not the JSON that it must be", context=context
            ) from None
        by_get = request.method == "GET"
        value = (body.token or body.access_token) if by_get else (body.access_token or body.token)
        if not value or not value.isascii() or not value.isprintable():
            raise TokenError("the token server answered without a token", context=context)
        if body.refresh_token:
            self._refresh_tokens[key.realm, key.service, key.identity] = body.refresh_token
        lifetime = body.expires_in if body.expires_in and body.expires_in > 0 else DEFAULT_LIFETIME
        # From the moment it arrived, on our own clock: `issued_at` is on theirs.
        return Token(value, self.clock() + lifetime - min(MAX_MARGIN, lifetime / 10))


def _best(challenges: Sequence[Challenge]) -> Challenge | None:
    """Return the challenge to answer: Bearer, else Basic."""
    by_scheme = {challenge.scheme: challenge for challenge in reversed(challenges)}
    return by_scheme.get("bearer") or by_scheme.get("basic")


def _lasting(challenge: Challenge) -> Challenge:
    """Return what of a challenge holds for other requests, too."""
    kept = {name: value for name, value in challenge.parameters.items() if name in {"realm", "service"}}
    return Challenge(challenge.scheme, kept)


def _basic(credential: Credential) -> str:
    pair = f"{credential.username}:{credential.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def _expired(credential: Credential) -> bool:
    return credential.expires_at is not None and credential.expires_at <= time.time()


def _refusal(registry: str, credential: Credential, status: int) -> str:
    if status not in {401, 403}:
        return f"the token server of {registry} failed with status {status}"
    if credential.is_anonymous:
        return f"the token server of {registry} wants credentials: log in first"
    # GHCR refuses an old login even for what is public (oras#1161), and nobody thinks of that.
    whose = f" of {credential.username}" if credential.username else ""
    return f"the stored credentials{whose} for {registry} were refused: log in again, or out"
