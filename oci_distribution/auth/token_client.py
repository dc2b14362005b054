"""`TokenClient`: requests for tokens where there is no `Client` that sends them."""

from __future__ import annotations

import ssl
from dataclasses import KW_ONLY, dataclass

import anyio
import anyio.to_thread
import httpx

from oci_distribution.auth.token_server import MAX_TOKEN_BODY, TOKEN_TIMEOUT, TokenRequest, TokenResponse
from oci_distribution.errors import ConnectError, RequestContext, TimeoutExceeded, TokenError, redact_url
from oci_distribution.trust import default_ssl_context

__all__ = ["TokenClient"]


@dataclass(slots=True, repr=False, eq=False)
class TokenClient:
    """Sends requests to token servers, each with a connection of its own: tokens are rare.

    Nothing is paced or tried again, and no redirect is followed.

    Args:
        verify: Whom they must convince; by default the certificate authorities of the machine.
    """

    _: KW_ONLY
    verify: ssl.SSLContext | None = None

    async def __call__(self, request: TokenRequest) -> TokenResponse:
        """Send a request, and return the answer whatever its status.

        Raises:
            RequestError: The server cannot be reached, takes longer than 60 seconds, or answers more than
                1 MiB.
            ConfigError: SSL_CERT_FILE cannot be used.
        """
        context = RequestContext(request.method, redact_url(request.url))
        try:
            with anyio.fail_after(TOKEN_TIMEOUT):
                return await self._answer(request, context)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise TimeoutExceeded("the token server takes too long", context=context) from error
        except httpx.ConnectError as error:
            raise ConnectError(str(error), context=context) from error
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            # The last is what httpx lets through for a host such as `xn--`.
            raise TokenError(f"the token server failed: {error}", context=context) from error

    async def _answer(self, request: TokenRequest, context: RequestContext) -> TokenResponse:
        if self.verify is None:
            # It reads hundreds of certificates.
            self.verify = await anyio.to_thread.run_sync(default_ssl_context)
        headers = [*request.headers, ("Accept-Encoding", "identity")]
        async with (
            httpx.AsyncClient(verify=self.verify) as client,
            client.stream(request.method, request.url, headers=headers, content=request.body) as response,
        ):
            content = bytearray()
            async for piece in response.aiter_raw():
                content += piece
                if len(content) > MAX_TOKEN_BODY:
                    raise TokenError(
                        f"the token server's answer is longer than {MAX_TOKEN_BODY} bytes", context=context
                    )
            return TokenResponse(response.status_code, response.headers, bytes(content))
