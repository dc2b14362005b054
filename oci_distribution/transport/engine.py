"""The engine: an httpx transport over aiohttp. No other module knows aiohttp.

What it guarantees beyond a plain adapter, because registries or aiohttp made it necessary:

- a URL goes out byte for byte (httpx would re-encode a signed `Location`);
- a request is sent once: whether it may be repeated is not aiohttp's to decide;
- a body has the length that its `Content-Length` announced, or the request fails, and an exception of the
  body's own source comes out as itself;
- when a request has failed, or its answer is closed, nobody iterates the body any more.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress
from functools import lru_cache, partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import aiohttp
import anyio
import anyio.to_thread
import httpx
import yarl

from oci_distribution.errors import ConfigError
from oci_distribution.spec.urls import is_local_host
from oci_distribution.transport.failures import PrivateAddress
from oci_distribution.transport.home import Home
from oci_distribution.transport.proxies import Proxies
from oci_distribution.transport.upload import Upload, abort
from oci_distribution.trust import default_ssl_context

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter, ResolveResult

__all__ = ["AiohttpTransport"]

_READ_BUFFER = 1 << 20
"""Bytes that are read ahead of the caller: smaller ones cost more than the network does."""
_SMALL_BODY = 64 << 10
"""Bytes that the buffers of a connection take at once: nobody has to watch how they are sent."""
_MAX_HEADER = 64 << 10
"""Longest status or header line; aiohttp's own 8190 bytes are too few for some tokens and cookies."""
_GRACE = 5.0
"""Seconds that connections get to close."""
_NOT_ADDED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")

_MALFORMED_TARGET = re.compile(rb"[^/*]|.*[\x00-\x20\x7f]", re.DOTALL)

# In this order: the first that fits. A text's first argument is the error, its second what the operating
# system or OpenSSL said. The texts of aiohttp's own show URLs, with everything that those may sign.
_ERRORS: tuple[tuple[type[BaseException], type[httpx.TransportError], str], ...] = (
    (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout, "no connection within the time allowed"),
    (aiohttp.ClientHttpProxyError, httpx.ProxyError, "the proxy answered {0.status} {0.message}"),
    (aiohttp.ClientProxyConnectionError, httpx.ProxyError, "no connection to {0.host}:{0.port}: {1}"),
    (aiohttp.ClientConnectorError, httpx.ConnectError, "no connection to {0.host}:{0.port}: {1}"),
    (aiohttp.ServerFingerprintMismatch, httpx.ConnectError, "not the certificate that was expected"),
    (aiohttp.ServerDisconnectedError, httpx.RemoteProtocolError, "the host hung up without an answer"),
    (aiohttp.ClientPayloadError, httpx.RemoteProtocolError, "{0}"),
    (aiohttp.ClientResponseError, httpx.RemoteProtocolError, "not an HTTP answer: {0.message}"),
    (aiohttp.NonHttpUrlClientError, httpx.UnsupportedProtocol, "neither http nor https"),
    (ssl.SSLError, httpx.ReadError, "the connection broke: {1}"),
    (TimeoutError, httpx.ReadTimeout, "the host was silent for longer than allowed"),
    (OSError, httpx.ReadError, "the connection broke: {1}"),
    (aiohttp.ClientError, httpx.ReadError, "{0}"),
    (ValueError, httpx.LocalProtocolError, "{0}"),
)


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Sends httpx requests through aiohttp's pool of HTTP/1.1 connections.

    It belongs to the event loop and the process of its first request; used from another one it raises
    `RuntimeError`, as it does after `aclose`. There is no limit on connections: admission is the sender's.

    Understood extensions of a request: `timeout` as httpx has it, `target` (bytes), the request target to
    send in the place of the URL's own path and query, and `public_only` (bool), not to connect to a name of
    a private address; behind a proxy, which looks names up itself, it has no effect. A response to a body
    that was not small says in `body_sent` (bool) whether the host had been sent all of it.

    Args:
        ssl_context: For https; by default the machine's certificate authorities, see `default_ssl_context`.
            Or an async function that returns the one for a host and port.
        proxies: Proxy URL by scheme of the target, as `urllib.request.getproxies` returns them: `http`,
            `https`, `all`, and `no` for the exceptions. None takes the environment's, an empty one none.
        keepalive_expiry: Seconds after which an idle connection is closed. The default lies apart from
            the 5, 15 and 60 seconds after which servers like to close theirs in that very moment.
    """

    def __init__(
        self,
        *,
        ssl_context: ssl.SSLContext | Callable[[str, int], Awaitable[ssl.SSLContext]] | None = None,
        proxies: Mapping[str, str] | None = None,
        keepalive_expiry: float = 10.0,
    ) -> None:
        self._ssl_context = ssl_context
        self._proxies = Proxies(proxies)
        self._keepalive_expiry = keepalive_expiry
        self._home = Home("this transport")
        self._session: aiohttp.ClientSession | None = None
        self._public_session: aiohttp.ClientSession | None = None
        self._open: set[_AnswerStream] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, and return its answer with the body still to come.

        Raises:
            httpx.TransportError: Every way in which the network or the host can fail.
            SizeMismatch: The body is not as long as its `Content-Length` says.
            RuntimeError: The transport is closed, or belongs to another event loop or process.
        """
        session = self._session_for(request)
        headers, length = _headers(request)
        body, upload = _body(request, length)
        try:
            async with _head_deadline(request, upload):
                answer = await session.request(
                    request.method,
                    _wire_url(request),
                    headers=headers,
                    data=body if upload is None else _Payload(upload),
                    allow_redirects=False,
                    timeout=_timeout(request),
                    **await self._route(request, headers),
                )
            return self._response(request, answer, upload)
        except BaseException as error:
            if upload is not None:
                await upload.stop()
            if not isinstance(error, Exception):
                raise
            failure = _translated(error, request, upload)
        # Out here, so that an exception of the caller's own source is raised as it was, without a context.
        raise failure

    async def aclose(self) -> None:
        """Close every connection; answers that are still being read break."""
        if self._home.is_closed:
            return
        if self._session is not None:
            self._home.check()
        self._home.is_closed = True
        with anyio.move_on_after(_GRACE, shield=True):
            for stream in tuple(self._open):
                await stream.aclose()
            for session in filter(None, (self._session, self._public_session)):
                await session.close()

    def _session_for(self, request: httpx.Request) -> aiohttp.ClientSession:
        session, url = self._session_here(), request.url
        if not request.extensions.get("public_only") or self._proxies.find(url.scheme, url.host, url.port):
            return session
        # Apart, or a connection that somebody else was allowed to open would be used again.
        if self._public_session is None:
            self._public_session = self._new_session(_PublicResolver())
        return self._public_session

    def __repr__(self) -> str:
        return f"<AiohttpTransport, {'closed' if self._home.is_closed else 'open'}>"

    def _session_here(self) -> aiohttp.ClientSession:
        self._home.check()
        if self._session is None:
            # The machine's own resolver, as every other program uses it, whatever else is installed.
            self._session = self._new_session(aiohttp.ThreadedResolver())
        return self._session

    def _new_session(self, resolver: aiohttp.ThreadedResolver) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=self._keepalive_expiry, resolver=resolver)
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_NOT_ADDED,
            auto_decompress=False,
            # It would also send what .netrc holds to any host that it names.
            trust_env=False,
            read_bufsize=_READ_BUFFER,
            max_line_size=_MAX_HEADER,
            max_field_size=_MAX_HEADER,
            middlewares=(_send_once,),
        )

    async def _route(self, request: httpx.Request, headers: list[tuple[str, str]]) -> dict[str, Any]:
        """Return what aiohttp must know of TLS and proxies; a proxy's password may join `headers`."""
        url = request.url
        is_https = url.scheme == "https"
        proxy = self._proxies.find(url.scheme, url.host, url.port)
        if proxy is None:
            return {"ssl": await self._tls(url)} if is_https else {}
        route: dict[str, Any] = {"proxy": proxy.url}
        if proxy.url.startswith("https:"):
            route["ssl"] = await self._tls(httpx.URL(proxy.url))
            if is_https and route["ssl"] is not await self._tls(url):
                # aiohttp knows one context for both.
                why = "what is said of TLS with this host would be good for the https proxy on the way, too"
                raise ConfigError(f"{url.host}: {why}; use an http proxy")
        elif is_https:
            route["ssl"] = await self._tls(url)
        if proxy.authorization is not None:
            # Not in the URL, as aiohttp's errors print that.
            authorization = ("Proxy-Authorization", proxy.authorization)
            if is_https:
                route["proxy_headers"] = [authorization]
            else:
                headers.append(authorization)
        return route

    async def _tls(self, url: httpx.URL) -> ssl.SSLContext:
        if self._ssl_context is None:
            self._ssl_context = await anyio.to_thread.run_sync(default_ssl_context)
        if isinstance(self._ssl_context, ssl.SSLContext):
            return self._ssl_context
        return await self._ssl_context(url.host, url.port or 443)

    def _response(
        self, request: httpx.Request, answer: aiohttp.ClientResponse, upload: Upload | None
    ) -> httpx.Response:
        version = answer.version or aiohttp.HttpVersion11
        extensions: dict[str, Any] = {
            "http_version": b"HTTP/%d.%d" % (version.major, version.minor),
            "reason_phrase": (answer.reason or "").encode("utf-8", "surrogateescape"),
        }
        if upload is not None:
            extensions["body_sent"] = upload.is_complete
        stream = _AnswerStream(request, answer, upload, self._open)
        response = httpx.Response(
            answer.status, headers=list(answer.raw_headers), stream=stream, extensions=extensions
        )
        if b"".join(chain.from_iterable(answer.raw_headers)).isascii():
            response.headers.encoding = "ascii"  # or httpx would decode every header to find that out
        return response


class _PublicResolver(aiohttp.ThreadedResolver):
    """Looks names up, and returns public addresses only: what was checked is what is connected to."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await super().resolve(host, port, family)
        if any(is_local_host(entry["host"]) for entry in found):
            raise PrivateAddress(f"{host} is a name of this machine or of a private network")
        return found


class _AnswerStream(httpx.AsyncByteStream):
    """The body of an answer, in pieces as they come."""

    def __init__(
        self,
        request: httpx.Request,
        answer: aiohttp.ClientResponse,
        upload: Upload | None,
        still_open: set[_AnswerStream],
    ) -> None:
        self._request = request
        self._answer = answer
        self._upload = upload
        self._still_open = still_open
        still_open.add(self)

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        while piece := await self._next():
            yield piece

    async def _next(self) -> bytes:
        try:
            return await self._answer.content.readany()
        except Exception as error:  # noqa: BLE001
            failure = _translated(error, self._request, self._upload)
        raise failure

    async def aclose(self) -> None:
        """Let the connection go: back to the pool after the last byte, cut off before it."""
        self._still_open.discard(self)
        answer = self._answer
        if not answer.content.is_eof() and answer.connection is not None:
            # Closing politely would wait for whatever the host still wants to send, and we to read.
            abort(answer.connection.transport)
        answer.close()
        if self._upload is not None:
            await self._upload.stop()


class _Payload(aiohttp.Payload):
    """An upload, as aiohttp wants it."""

    def __init__(self, upload: Upload) -> None:
        super().__init__(upload)
        self._upload = upload

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Refuse: nobody asks for a body as text."""
        raise NotImplementedError

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send the body, however long it is."""
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Send the body, which must be `content_length` bytes long."""
        await self._upload.send(writer.write, writer.transport, content_length)


class _Lost(Exception):
    """A connection broke; in aiohttp's own words it would be taken for a reason to send again."""


async def _send_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _Lost from error


def _body(request: httpx.Request, length: str | None) -> tuple[bytes | None, Upload | None]:
    """Return the body of a request: a small one as it is, any other as an upload."""
    patience = request.extensions.get("timeout", {}).get("write")
    stream = request.stream
    if isinstance(stream, httpx.ByteStream):
        content = request.read()
        if len(content) <= _SMALL_BODY and length in {None, str(len(content))}:
            return content or None, None
        return None, Upload(content, patience)
    if not isinstance(stream, httpx.AsyncByteStream):
        raise RuntimeError("a synchronous body cannot be sent by an asynchronous client")  # noqa: TRY004
    return None, Upload(stream, patience)


def _headers(request: httpx.Request) -> tuple[list[tuple[str, str]], str | None]:
    """Return the headers as aiohttp wants them, and the announced length of the body."""
    headers: list[tuple[str, str]] = []
    names: dict[bytes, str] = {}
    length: str | None = None
    for raw_name, raw_value in request.headers.raw:
        lower = raw_name.lower()
        # aiohttp frames the body itself, and refuses to be told so.
        if lower == b"transfer-encoding":
            continue
        try:
            # The first spelling of a repeated name: aiohttp would take another one for a replacement.
            name, value = names.setdefault(lower, raw_name.decode()), raw_value.decode()
        except UnicodeDecodeError:
            raise httpx.LocalProtocolError("a header is not UTF-8", request=request) from None
        headers.append((name, value))
        if lower == b"content-length":
            length = value
    return headers, length


def _wire_url(request: httpx.Request) -> yarl.URL:
    url = request.url
    if url.scheme not in {"http", "https"} or not url.host:
        raise httpx.UnsupportedProtocol("only absolute http and https URLs can be asked", request=request)
    target: bytes = request.extensions.get("target") or url.raw_path
    try:
        return _joined(url.scheme, url.netloc, target)
    except ValueError as error:
        raise httpx.LocalProtocolError(f"not a URL that can be asked: {error}", request=request) from None


@lru_cache(maxsize=1024)
def _joined(scheme: str, netloc: bytes, target: bytes) -> yarl.URL:
    if _MALFORMED_TARGET.match(target):
        raise ValueError("its target holds a space or a control character, or is not absolute")
    # The query as part of the path: yarl would drop an empty one with its question mark.
    return yarl.URL.build(scheme=scheme, authority=netloc.decode("ascii"), path=target.decode(), encoded=True)


def _head_deadline(request: httpx.Request, upload: Upload | None) -> asyncio.Timeout:
    """Limit the time until the head of the answer, from the last byte of the body on.

    aiohttp's own timer measures silence, starts again with each 1xx answer, and is gone after the first.
    """
    timeout = request.extensions.get("timeout", {})
    read: float | None = timeout.get("read")
    if read is None:
        return asyncio.timeout(None)
    if upload is None:
        return asyncio.timeout((timeout.get("connect") or 0.0) + read)
    timer = asyncio.timeout(None)
    upload.on_complete = partial(_restart, timer, read)
    return timer


def _restart(timer: asyncio.Timeout, patience: float) -> None:
    # Too late is no matter: the answer is here, and nobody waits any more.
    with suppress(RuntimeError):
        timer.reschedule(asyncio.get_running_loop().time() + patience)


def _timeout(request: httpx.Request) -> aiohttp.ClientTimeout:
    timeout = request.extensions.get("timeout", {})
    return _client_timeout(timeout.get("connect"), timeout.get("read"))


@lru_cache(maxsize=64)
def _client_timeout(connect: float | None, read: float | None) -> aiohttp.ClientTimeout:
    # aiohttp's own default is five minutes for the whole of a transfer.
    return aiohttp.ClientTimeout(total=None, connect=connect, sock_read=read)


def _translated(error: Exception, request: httpx.Request, upload: Upload | None) -> Exception:
    """Return what went wrong in httpx's words; what was no failure of the exchange comes out as it is."""
    if upload is not None and upload.failure is not None:
        return upload.failure
    reason: BaseException = error.__cause__ if isinstance(error, _Lost) and error.__cause__ else error
    if isinstance(reason, aiohttp.InvalidURL):
        return httpx.InvalidURL("not a URL that can be asked")
    found = next((ours for ours in _ERRORS if isinstance(reason, ours[0])), None)
    if found is None:
        return error
    _, cls, text = found
    if cls is httpx.ReadError and upload is not None and not upload.is_complete:
        cls = httpx.WriteError
    cause = _cause(reason)
    translated = cls(text.format(reason, cause), request=request)
    translated.__cause__ = cause
    return translated


def _cause(error: BaseException) -> OSError | None:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause: BaseException | None = error.certificate_error
    elif isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
    else:
        cause = error.__cause__ if isinstance(error, aiohttp.ClientError) else error
    return cause if isinstance(cause, OSError) else None
