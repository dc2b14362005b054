"""Token servers: how a token is asked for, and what is made of the answer (docker's token protocols)."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar
from urllib.parse import quote, urlencode
from weakref import WeakValueDictionary

import anyio
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from oci_distribution.auth.cache import Recent, Token, TokenKey
from oci_distribution.auth.credentials import Credential, Unpicklable
from oci_distribution.errors import ForbiddenOrigin, RequestContext, RequestError, TokenError, redact_url
from oci_distribution.spec.headers import parse_retry_after
from oci_distribution.spec.origins import why_forbidden
from oci_distribution.spec.urls import Origin, resolve_url

__all__ = [
    "MAX_TOKEN_BODY",
    "REFUSALS",
    "TOKEN_TIMEOUT",
    "TokenFetch",
    "TokenOptions",
    "TokenRequest",
    "TokenResponse",
    "TokenServers",
    "basic_value",
    "identity_of",
    "realm_url",
]

MAX_TOKEN_BODY = 1 << 20
"""Bytes of a token server's answer that we read."""
TOKEN_TIMEOUT = 60.0
"""Seconds that all of a token server's answer may take, not only each piece of it."""
MAX_TOKEN = 64 << 10
"""Characters of a token: no registry takes a longer header, and thousands are kept."""
DEFAULT_LIFETIME = 60.0
"""Seconds of a token that does not say how long it lives (docker's token specification)."""
MAX_LIFETIME = 86400.0
"""Seconds after which a token is replaced, whatever its server says: 1e308 is no time."""
MAX_MARGIN = 10.0
"""Seconds before its end when a token is not used any more; a tenth of its life when that is less."""
_POST_UNKNOWN = frozenset({400, 404, 405})
"""What token servers answer to a POST that know only GET."""
REFUSALS = frozenset({400, 401, 403})
"""What they answer to a credential that is wrong: OAuth2's `invalid_grant` is a 400."""
_FORM = (("Content-Type", "application/x-www-form-urlencoded"),)


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
class TokenRequest(Unpicklable):
    """A request to a token server; it holds secrets, which its repr does not show."""

    method: str
    url: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    body: bytes | None = field(default=None, repr=False)
    registry: Origin | None = None
    """The origin that named the token server."""


@dataclass(frozen=True, slots=True)
class TokenResponse(Unpicklable):
    """A token server's answer, whatever its status."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)


TokenFetch = Callable[[TokenRequest], Awaitable[TokenResponse]]
"""Sends a request to a token server, and follows no redirect."""


def _seconds(value: Any) -> float:
    """Return a lifetime; 0 for one that makes no sense, which is no reason to refuse the token beside it."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return 0.0
    try:
        return float(value)
    except (ValueError, OverflowError):
        return 0.0


class _TokenBody(BaseModel):
    """What a token server answers."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="ignore", hide_input_in_errors=True)

    token: str | None = None
    access_token: str | None = None
    refresh_token: str | None = None
    expires_in: Annotated[float, BeforeValidator(_seconds)] = 0.0

    @property
    def lifetime(self) -> float:
        """Seconds that the token lives; what makes no sense is taken for nothing said."""
        return min(self.expires_in, MAX_LIFETIME) if self.expires_in > 0 else DEFAULT_LIFETIME

    def value(self, method: str) -> str:
        """Return the token: the two protocols name it differently, and some servers fill both."""
        by_get, by_post = self.token or "", self.access_token or ""
        return (by_get or by_post) if method == "GET" else (by_post or by_get)


@dataclass(slots=True, repr=False, eq=False)
class TokenServers:
    """Asks token servers for tokens, and remembers what they taught us.

    Args:
        fetch: Sends the requests.
        options: How tokens are asked for.
        clock: Monotonic seconds.
    """

    fetch: TokenFetch
    options: TokenOptions
    clock: Callable[[], float]
    _refresh_tokens: Recent[TokenKey, str] = field(init=False)
    _reusable: Recent[TokenKey, bool] = field(init=False)
    """Whose refresh tokens a server does not replace when they are used."""
    _turns: WeakValueDictionary[TokenKey, anyio.Lock] = field(init=False)
    _get_only: Recent[str, bool] = field(init=False)

    def __post_init__(self) -> None:
        self._refresh_tokens, self._reusable, self._get_only = Recent(), Recent(), Recent()
        self._turns = WeakValueDictionary()

    async def token(self, key: TokenKey, registry: str, credential: Credential) -> Token:
        """Return a new token.

        Args:
            key: What it is for.
            registry: The name that credentials are stored under, for errors.
            credential: Who we are.

        Raises:
            RequestError: The server cannot be reached, refuses, or answers nonsense.
        """
        session = key.of_any_scope()
        # One after the other until we know better: a refresh token may be good once, and servers that see
        # it twice end the whole login.
        async with self._turns.setdefault(session, anyio.Lock()):
            if not self._reusable.get(session) and self._refresh_token(session, credential):
                return await self._new_token(key, registry, credential)
        return await self._new_token(key, registry, credential)

    def _refresh_token(self, session: TokenKey, credential: Credential) -> str:
        return self._refresh_tokens.get(session) or credential.identity_token

    async def _new_token(self, key: TokenKey, registry: str, credential: Credential) -> Token:
        requests = self._requests(key, credential)
        request, spare = next(requests)
        response = await self._send(request, registry)
        knows_post = True
        while response.status in spare:
            knows_post = spare != _POST_UNKNOWN
            request, spare = next(requests)
            response = await self._send(request, registry)
        body = _read(request, registry, credential, response)
        if not knows_post:
            self._get_only.set(key.realm, value=True)
        self._learn(key.of_any_scope(), credential, body.refresh_token)
        # From the moment it arrived, on our own clock: `issued_at` is on theirs.
        lifetime = body.lifetime - min(MAX_MARGIN, body.lifetime / 10)
        return Token(body.value(request.method), self.clock() + lifetime, lifetime)

    def _learn(self, session: TokenKey, credential: Credential, refresh_token: str | None) -> None:
        """Keep a refresh token that came along, and whether it is another than the one we had."""
        had = self._refresh_token(session, credential)
        if had:
            self._reusable.set(session, value=refresh_token in (None, "", had))
        if refresh_token and session.identity:
            self._refresh_tokens.set(session, refresh_token)

    def _requests(
        self, key: TokenKey, credential: Credential
    ) -> Iterator[tuple[TokenRequest, frozenset[int]]]:
        """Yield what to send, best first, each with the statuses after which the next is worth a try."""
        password = credential.password
        if not (password and self._get_only.get(key.realm)):
            session, tried = key.of_any_scope(), {credential.identity_token}
            while (kept := self._refresh_tokens.get(session)) and kept not in tried:
                tried.add(kept)
                # It may have ended, while what it was made from is still good.
                yield self._post(key, _refresh_grant(kept)), _POST_UNKNOWN | REFUSALS
                # Another's answer may have brought a new one meanwhile.
                if self._refresh_tokens.get(session) == kept:
                    self._refresh_tokens.discard(session)
            after_post = _POST_UNKNOWN if password else frozenset[int]()
            if credential.identity_token:
                yield self._post(key, _refresh_grant(credential.identity_token)), after_post
            elif password and self.options.force_oauth2:
                yield self._post(key, _password_grant(credential)), after_post
        yield self._get(key, credential), frozenset()

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
        headers = (("Authorization", basic_value(credential)),) if credential.password else ()
        return TokenRequest("GET", url, headers, registry=key.origin)

    def _post(self, key: TokenKey, grant: Mapping[str, str]) -> TokenRequest:
        form = {"service": key.service, "scope": str(key.scope), "client_id": self.options.client_id}
        if self.options.offline_token:
            form["access_type"] = "offline"
        given = {name: value for name, value in {**grant, **form}.items() if value}
        return TokenRequest("POST", key.realm, _FORM, urlencode(given).encode(), key.origin)

    async def _send(self, request: TokenRequest, registry: str) -> TokenResponse:
        try:
            return await self.fetch(request)
        except RequestError as error:
            # The fetch knows only the token server.
            error.about(replace(error.context, registry=registry))
            raise


def _read(
    request: TokenRequest, registry: str, credential: Credential, response: TokenResponse
) -> _TokenBody:
    retry_after = parse_retry_after(response.headers.get("Retry-After"))
    context = RequestContext(
        request.method, redact_url(request.url), registry, response.status, retry_after=retry_after
    )
    if response.status != 200:
        raise TokenError(_refusal(request, registry, credential, response.status), context=context)
    if len(response.content) > MAX_TOKEN_BODY:
        raise TokenError(f"the token server's answer is longer than {MAX_TOKEN_BODY} bytes", context=context)
    try:
        body = _TokenBody.model_validate_json(response.content)
    except ValidationError:
        # Without the cause: it could quote the token.
        raise TokenError(
            "the token server's answer is not the JSON that it must be", context=context
        ) from None
    value = body.value(request.method)
    if not value or len(value) > MAX_TOKEN or not value.isascii() or not value.isprintable():
        raise TokenError("the token server answered without a usable token", context=context)
    return body


def _refusal(request: TokenRequest, registry: str, credential: Credential, status: int) -> str:
    if status not in REFUSALS or (status == 400 and request.method == "GET"):
        return f"the token server of {registry} failed with status {status}"
    if credential.is_anonymous:
        return f"the token server of {registry} wants credentials: log in first"
    # GHCR refuses an old login even for what is public (oras#1161), and nobody thinks of that.
    whose = f" ({credential.username})" if credential.username else ""
    return f"the stored credentials for {registry}{whose} were refused: log in again, or out"


def _refresh_grant(token: str) -> Mapping[str, str]:
    return {"grant_type": "refresh_token", "refresh_token": token}


def _password_grant(credential: Credential) -> Mapping[str, str]:
    return {"grant_type": "password", "username": credential.username, "password": credential.password}


def realm_url(origin: Origin, registry: str, realm: str, *, trusted: Collection[Origin]) -> str:
    """Return the absolute URL of the token server that a challenge names.

    Args:
        origin: Where the challenge came from.
        registry: The name that credentials are stored under, for errors.
        realm: As the challenge spells it; it may be relative.
        trusted: Origins that the user allows in any case.

    Raises:
        TokenError: It names none.
        ForbiddenOrigin: It is where a registry may not send us.
    """
    context = RequestContext(url=redact_url(realm), registry=registry)
    if not realm:
        raise TokenError(f"{registry} wants a token, and names no token server", context=context)
    try:
        url = resolve_url(f"{origin}/", realm)
    except ValueError as error:
        raise ForbiddenOrigin(
            f"{registry} names a token server where none can be: {error}", context=context
        ) from None
    reason = why_forbidden(origin, url, trusted=trusted)
    if reason is not None:
        raise ForbiddenOrigin(
            f"{registry} names a token server at {redact_url(url)}: {reason}", context=context
        )
    return url


def basic_value(credential: Credential) -> str:
    """Return the `Authorization` of a name and password (RFC 7617, in UTF-8)."""
    pair = f"{credential.username}:{credential.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


_IDENTITY_KEY = secrets.token_bytes(32)


def identity_of(credential: Credential) -> str:
    """Return a name for a credential: empty for nobody, and otherwise one that only this process can tell.

    The user name would not do: robots of one name have a password for each namespace, identity tokens have
    no name at all, and who logs in again must not be served what the old login got.
    """
    if credential.is_anonymous:
        return ""
    parts = (credential.username, credential.password, credential.identity_token)
    text = "\0".join(parts).encode()
    return hashlib.blake2b(text, key=_IDENTITY_KEY, digest_size=16).hexdigest()
