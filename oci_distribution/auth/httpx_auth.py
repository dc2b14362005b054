"""`RegistryAuth`: our authorization for anybody's `httpx.AsyncClient`."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncGenerator, Generator
from typing import NoReturn

import anyio
import httpx

from oci_distribution.auth.authorizer import Authorizer
from oci_distribution.auth.credentials import AuthProvider
from oci_distribution.auth.direct import is_direct_request
from oci_distribution.auth.scope import Scope
from oci_distribution.auth.search import default_auth_provider
from oci_distribution.auth.token_client import TokenClient
from oci_distribution.errors import InvalidArgument, InvalidReference
from oci_distribution.spec.reference import check_registry
from oci_distribution.spec.urls import Origin

__all__ = ["RegistryAuth"]

SCOPE_EXTENSION = "oci_scope"
"""Extension of a request that says which scope it needs."""

MAX_REFUSAL = 64 << 10
"""Bytes of a 401's body that we read so that its connection can be used again."""

REFUSAL_PATIENCE = 5.0
"""Seconds that it may take to come."""

_OURS = "oci_authorization"
"""Extension that tells our own `Authorization` from one that the user set."""

_NAMED = re.compile(r"/v2/(.+)/(manifests|blobs/uploads|blobs|tags|referrers)/")
_ACTIONS = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}


class RegistryAuth(httpx.Auth):
    """Authorises requests to registries of any `httpx.AsyncClient(auth=RegistryAuth())`.

    The scope is read off the URL, or given as the request's extension `oci_scope`. A challenge that does
    not come from the origin that was asked, but from where it redirected to, is not answered. A body that
    can be read only once cannot be sent again after a 401.

    It belongs to an event loop for as long as that is there: tasks wait for each other's tokens.

    Args:
        authorizer: The logic and its caches; by default one of its own.
        auth_provider: Who knows our credentials, for that one; by default what docker and podman stored.
        verify: Whom its token servers must convince: give it what the client has. By default the certificate
            authorities of the machine.

    Raises:
        InvalidArgument: An authorizer is given, and something that it has of its own.
    """

    requires_request_body = False
    requires_response_body = False

    def __init__(
        self,
        authorizer: Authorizer | None = None,
        *,
        auth_provider: AuthProvider | None = None,
        verify: ssl.SSLContext | None = None,
    ) -> None:
        if authorizer is not None and (auth_provider is not None or verify is not None):
            raise InvalidArgument(
                "an authorizer has a provider and a fetch of its own: give either it or the rest"
            )
        self._authorizer = authorizer or Authorizer(
            auth_provider or default_auth_provider(), TokenClient(verify=verify)
        )
        self._loop: asyncio.AbstractEventLoop | None = None

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Authorise one request, and again after a 401 that a better answer exists for.

        Raises:
            RuntimeError: It belongs to another event loop.
        """
        self._settle()
        if request.headers.get("Authorization") == request.extensions.get(_OURS):
            # The same request again: what was right then may have ended.
            request.headers.pop("Authorization", None)
        if "Authorization" in request.headers or is_direct_request():
            yield request
            return
        origin = Origin.of(str(request.url))
        registry = _registry_name(origin)
        scope, desired = _scopes(request)
        # What is no bytes comes from somewhere, and may take long.
        lasting = not isinstance(request.stream, httpx.ByteStream)
        value = await self._authorizer.authorize(origin, registry, scope, desired=desired, lasting=lasting)
        if value is not None:
            request.headers["Authorization"] = request.extensions[_OURS] = value
        # Once for what we did not know, and once for a wider scope.
        for again in (False, True):
            response = yield request
            if response.status_code != 401 or not _is_about(response.request, origin, scope):
                return
            challenges = response.headers.get_list("WWW-Authenticate")
            better = await self._authorizer.answer(
                origin, registry, scope, challenges, value, desired=desired, again=again
            )
            if better is None:
                return
            await _drop_body(response)
            value = request.headers["Authorization"] = request.extensions[_OURS] = better
        yield request

    def _settle(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not None and self._loop is not loop and not self._loop.is_closed():
            raise RuntimeError("this RegistryAuth belongs to another event loop: make one for each")
        self._loop = loop

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, NoReturn]:
        """Refuse: this is for asyncio."""
        msg = "RegistryAuth is for httpx.AsyncClient"
        raise RuntimeError(msg)
        yield request


def _registry_name(origin: Origin) -> str:
    try:
        return check_registry(origin.netloc)
    except InvalidReference:
        return origin.netloc


def _is_about(request: httpx.Request, origin: Origin, scope: str) -> bool:
    """Say whether a request, after redirects, still asks for what our credentials are for."""
    return (
        Origin.of(str(request.url)) == origin
        and Scope.parse(_scopes(request)[0]).repository == Scope.parse(scope).repository
    )


def _scopes(request: httpx.Request) -> tuple[str, str]:
    """Return the scope that a request needs, and the one that it goes better with."""
    given = request.extensions.get(SCOPE_EXTENSION)
    return (given, "") if isinstance(given, str) else _scopes_of_url(request)


def _scopes_of_url(request: httpx.Request) -> tuple[str, str]:
    path = request.url.path
    if path.startswith("/v2/_catalog"):
        return "registry:catalog:*", ""
    named = _NAMED.match(path)
    if named is None:
        return "", ""
    name, kind = named.groups()
    if kind == "blobs/uploads":
        source = request.url.params.get("from")
        return f"repository:{name}:pull,push", f"repository:{source}:pull" if source else ""
    return f"repository:{name}:{_ACTIONS.get(request.method, 'pull,push')}", ""


async def _drop_body(response: httpx.Response) -> None:
    """Take the body of a 401 away from httpx, which would read all of it, however much there is."""
    if response.is_stream_consumed or not isinstance(response.stream, httpx.AsyncByteStream):
        return
    stream, size = response.stream, 0
    try:
        with anyio.move_on_after(REFUSAL_PATIENCE):
            async for piece in stream:
                size += len(piece)
                if size > MAX_REFUSAL:
                    break
    finally:
        await stream.aclose()
    response.stream = httpx.ByteStream(b"")
