"""The HTTP client that carries every request: an `httpx.AsyncClient` that does not do what we never need."""

from __future__ import annotations

from http.cookiejar import DefaultCookiePolicy
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

import httpx

from oci_distribution.auth.direct import is_direct_request
from oci_distribution.transport.engine import AiohttpTransport
from oci_distribution.transport.home import Home

if TYPE_CHECKING:
    from httpx._client import UseClientDefault  # pyright: ignore[reportPrivateUsage]
    from httpx._types import AuthTypes  # pyright: ignore[reportPrivateUsage]

__all__ = ["USER_AGENT", "RegistryHTTPClient", "installed_version"]


def installed_version() -> str:
    """Return our version; empty for a checkout that was put on the path, and is not installed."""
    try:
        return version("oci-distribution")
    except PackageNotFoundError:
        return ""


USER_AGENT = f"oci-distribution/{installed_version()}".rstrip("/")
"""What we call ourselves; some registries answer a client without a name with 403."""


class RegistryHTTPClient(httpx.AsyncClient):
    """An `httpx.AsyncClient` for registries: no cookies, no redirects, of the environment only proxies.

    A request that somebody built in full goes straight to the transport; what httpx adds to one (hooks,
    authentication, parsing the URL again, merging headers) would cost more than sending it. Everything
    else works as in any other client: `await client.get(url, auth=...)`.

    Args:
        transport: What sends; by default the engine, which also knows the proxies and certificate
            authorities of the environment.
        timeout: For requests that bring none of their own.
    """

    def __init__(
        self, *, transport: httpx.AsyncBaseTransport | None = None, timeout: httpx.Timeout | None = None
    ) -> None:
        super().__init__(
            transport=transport if transport is not None else AiohttpTransport(),
            timeout=timeout if timeout is not None else httpx.Timeout(60.0, connect=10.0),
            headers={"Accept-Encoding": "identity", "User-Agent": USER_AGENT},
            # It would send what .netrc holds to any host that it names.
            trust_env=False,
        )
        self._home = Home("this client")
        # Harbor answers a session that it finds in a cookie with a CSRF error.
        self.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))

    async def send(
        self,
        request: httpx.Request,
        *,
        stream: bool = False,
        auth: AuthTypes | UseClientDefault | None = httpx.USE_CLIENT_DEFAULT,
        follow_redirects: bool | UseClientDefault = httpx.USE_CLIENT_DEFAULT,
    ) -> httpx.Response:
        """Send a request as it is, only with a `User-Agent` and a timeout where it has none.

        Args:
            request: What to send.
            stream: Whether to return before the body is read; then the answer must be closed.
            auth: None for no authentication; the client's own is left out under `direct_requests`.
            follow_redirects: Whether to follow redirects.

        Raises:
            RuntimeError: The client is closed, or belongs to another event loop or process.
        """
        if self.is_closed:
            raise RuntimeError("this client is closed: open a new one")
        self._home.check()
        if "User-Agent" not in request.headers:
            request.headers["User-Agent"] = USER_AGENT
        is_plain = stream and auth is None and follow_redirects is False and not request.url.userinfo
        if not is_plain or self._event_hooks["request"] or self._event_hooks["response"]:
            if is_direct_request() and auth in {httpx.USE_CLIENT_DEFAULT, self.auth}:
                auth = None
            return await super().send(request, stream=stream, auth=auth, follow_redirects=follow_redirects)
        self._set_timeout(request)
        response = await self._transport.handle_async_request(request)
        response.request = request
        return response

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else "open"
        return f"<RegistryHTTPClient over {type(self._transport).__name__}, {state}>"
