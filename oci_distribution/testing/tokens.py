"""Bearer tokens, signed and checked, and the server that gives them out.

It speaks both forms of docker's token protocol: `GET /token` with Basic credentials or none, and OAuth2's
`POST /token` with a password or a refresh token (distribution's "Token Authentication Specification").
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs
from uuid import uuid4

import jwt
from starlette.requests import Request
from starlette.responses import Response

from oci_distribution.testing.answers import RegistryError, json_response
from oci_distribution.testing.auth import Access, User, Users, basic_challenge, denied
from oci_distribution.testing.calls import root_path, route_path

if TYPE_CHECKING:
    from jwt.types import Options

__all__ = ["TokenAuth"]

TOKEN_PATH = "/token"  # noqa: S105 (no password)
_ALGORITHM = "HS256"
_ISSUER = "oci_distribution.testing"
_ANONYMOUS = ""
_MAX_FORM_SIZE = 64 << 10
_HOST = re.compile(r"[A-Za-z0-9.-]+(?::[0-9]+)?|\[[0-9A-Fa-f:.]+\](?::[0-9]+)?", re.ASCII)
_SCOPE = re.compile(r"(?P<resource>[a-z]+(?:\([a-z0-9]+\))?:.+):(?P<actions>[a-z*]+(?:,[a-z*]+)*)?", re.ASCII)
_ACTIONS = frozenset({"pull", "push", "delete", "*"})


class TokenAuth:
    """Wants a Bearer token, and gives them out at `/token` of the same server.

    A token is good for what was asked for and its user may do, until it expires.

    Args:
        users: Passwords by name, or a `User` where somebody may not do everything.
        token_lifetime: Seconds that a token is good for. Refresh tokens do not expire.
        anonymous_pull: Whether a token to pull is had without credentials.
        clock: Returns the current time in seconds since the epoch.
    """

    def __init__(
        self,
        users: Mapping[str, str | User],
        *,
        token_lifetime: float = 300.0,
        anonymous_pull: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.token_lifetime = token_lifetime
        self.anonymous_pull = anonymous_pull
        self.tokens_issued: int = 0
        """How many tokens were given out, refresh tokens not counted."""
        self._users = Users(users)
        self._anonymous = User("", {"*": {"pull"}})
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._refresh_tokens: dict[str, str] = {}

    def check(self, request: Request, wanted: Sequence[Access]) -> None:
        """Let a request pass whose token allows what it wants."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise _challenge(request, wanted, "authentication required")
        claims = self._claims(token.strip())
        if claims is None:
            raise _challenge(request, wanted, "the token is invalid or has expired", error="invalid_token")
        granted = {(entry["type"], entry["name"]): frozenset(entry["actions"]) for entry in claims["access"]}
        for access in wanted:
            kind, _, name = access.resource.partition(":")
            if access.actions <= granted.get((kind, name), frozenset()):
                continue
            if claims["sub"] != _ANONYMOUS and self._allowed(claims["sub"], access) != access.actions:
                raise denied(access)
            raise _challenge(request, wanted, "the token is not for this", error="insufficient_scope")

    async def serve(self, request: Request) -> Response | None:
        """Answer a request for a token; None when it is for something else."""
        if route_path(request) != TOKEN_PATH:
            return None
        if request.method == "GET":
            return self._answer_get(request)
        if request.method == "POST":
            return await self._answer_post(request)
        raise RegistryError(
            405, "UNSUPPORTED", "a token is had by GET or POST", headers={"Allow": "GET, POST"}
        )

    def revoke_refresh_tokens(self) -> None:
        """Make every refresh token worthless."""
        self._refresh_tokens.clear()

    def _answer_get(self, request: Request) -> Response:
        query = request.query_params
        name = self._users.by_basic(request)
        if name is None and not self.anonymous_pull:
            raise basic_challenge("authentication required")
        name = _ANONYMOUS if name is None else name
        service = query.get("service") or _service(request)
        body = self._token(name, service, _parse_scopes(query.getlist("scope")))
        body["token"] = body["access_token"]
        if query.get("offline_token") == "true" and name != _ANONYMOUS:
            body["refresh_token"] = self._refresh_token(name)
        return _token_response(body)

    async def _answer_post(self, request: Request) -> Response:
        form = await _read_form(request)
        if form is None:
            return _oauth_error("invalid_request", "the body is no form")
        grant = form.get("grant_type")
        if grant == "password":
            name = form.get("username", "")
            known = self._users.knows(name, form.get("password", ""))
        elif grant == "refresh_token":
            name = self._refresh_tokens.get(form.get("refresh_token", ""), _ANONYMOUS)
            known = name != _ANONYMOUS
        elif grant is None:
            return _oauth_error("invalid_request", "grant_type is missing")
        else:
            return _oauth_error("unsupported_grant_type", "grant_type is neither password nor refresh_token")
        if not known:
            return _oauth_error("invalid_grant", "the credentials are wrong")
        scopes = _parse_scopes([form.get("scope", "")])
        body = self._token(name, form.get("service") or _service(request), scopes)
        if grant == "refresh_token":
            body["refresh_token"] = form["refresh_token"]
        elif form.get("access_type") == "offline":
            body["refresh_token"] = self._refresh_token(name)
        return _token_response(body)

    def _token(self, name: str, service: str, scopes: Iterable[Access]) -> dict[str, Any]:
        now = self._clock()
        granted = [Access(scope.resource, self._allowed(name, scope)) for scope in scopes]
        claims = {
            "iss": _ISSUER,
            "sub": name,
            "aud": service,
            "iat": int(now),
            "exp": now + self.token_lifetime,
            "jti": str(uuid4()),
            "access": [_claim(access) for access in granted if access.actions],
        }
        self.tokens_issued += 1
        return {
            "access_token": jwt.encode(claims, self._key, _ALGORITHM),
            "expires_in": int(self.token_lifetime),
            "issued_at": datetime.fromtimestamp(now, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "scope": " ".join(str(access) for access in granted if access.actions),
        }

    def _allowed(self, name: str, wanted: Access) -> frozenset[str]:
        user = self._anonymous if name == _ANONYMOUS else self._users.named(name)
        return frozenset() if user is None else user.allowed(wanted)

    def _refresh_token(self, name: str) -> str:
        token = secrets.token_urlsafe(32)
        self._refresh_tokens[token] = name
        return token

    def _claims(self, token: str) -> dict[str, Any] | None:
        """Return what a token says; None when it is not ours or has expired."""
        # The library counts in whole seconds, so expiry is ours; any service name of this server is right.
        checks: Options = {
            "verify_exp": False,
            "verify_iat": False,
            "verify_aud": False,
            "require": ["exp", "sub", "access"],
        }
        try:
            claims: dict[str, Any] = jwt.decode(
                token, self._key, [_ALGORITHM], options=checks, issuer=_ISSUER
            )
        except jwt.InvalidTokenError:
            return None
        return claims if self._clock() < claims["exp"] else None


def _claim(access: Access) -> dict[str, Any]:
    kind, _, name = access.resource.partition(":")
    return {"type": kind, "name": name, "actions": sorted(access.actions)}


def _parse_scopes(values: Iterable[str]) -> list[Access]:
    """Parse scopes, several of which may stand in one parameter; what is none is not granted."""
    matches = (_SCOPE.fullmatch(text) for value in values for text in value.split())
    return [
        Access(match["resource"], _ACTIONS.intersection((match["actions"] or "").split(",")))
        for match in matches
        if match is not None
    ]


def _challenge(
    request: Request, wanted: Sequence[Access], message: str, error: str | None = None
) -> RegistryError:
    """Return the answer that says where to get which token."""
    parameters = {
        "realm": f"{request.scope['scheme']}://{_service(request)}{root_path(request)}{TOKEN_PATH}",
        "service": _service(request),
        "scope": " ".join(map(str, wanted)),
        "error": error,
    }
    challenge = "Bearer " + ",".join(f'{name}="{value}"' for name, value in parameters.items() if value)
    return RegistryError(
        401,
        "UNAUTHORIZED",
        message,
        detail=[_claim(access) for access in wanted],
        headers={"WWW-Authenticate": challenge},
    )


def _service(request: Request) -> str:
    """Return the name of this server as the client knows it."""
    host = request.headers.get("host", "")
    if _HOST.fullmatch(host):
        return host
    address, port = request.scope.get("server") or ("localhost", 80)
    return f"{address}:{port}"


async def _read_form(request: Request) -> dict[str, str] | None:
    """Return the fields of a form; None when it is none, or too long."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > _MAX_FORM_SIZE:
            return None
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=50)
    except ValueError:
        return None
    return {name: values[-1] for name, values in fields.items()}


def _token_response(body: dict[str, Any]) -> Response:
    return json_response(body, headers={"Cache-Control": "no-store"})


def _oauth_error(error: str, description: str) -> Response:
    """Return an answer that refuses, in the words of RFC 6749 section 5.2."""
    return json_response(
        {"error": error, "error_description": description}, 400, headers={"Cache-Control": "no-store"}
    )
