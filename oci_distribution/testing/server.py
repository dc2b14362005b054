"""A registry on a real socket, in the event loop that is running."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl as ssl_module
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack, cast

import anyio
import anyio.lowlevel
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from oci_distribution.testing.app import RegistryApp, RegistryOptions
from oci_distribution.testing.extra import extra_needed
from oci_distribution.testing.faults import Faults
from oci_distribution.testing.injection import CONNECTION
from oci_distribution.testing.record import RequestLog
from oci_distribution.testing.strict import StrictViolation, Violation

if TYPE_CHECKING:
    from oci_distribution.testing.tls import Authority

__all__ = ["RunningRegistry", "ServerOptions", "serve_registry"]

_LOGGER = logging.getLogger(__name__)
_LOGGER.setLevel(logging.ERROR)
_KEEP_ALIVE = 75
"""Seconds that an idle connection is kept, as nginx does."""
_TURNS_OF_ACCEPTING = 4
"""Turns of the event loop between a connection in the listener's queue and `connection_made`."""
_GRACE = 1.0
"""Seconds that requests in progress get when the server stops, before their connections are cut."""


class RunningRegistry:
    """A registry that answers at `url`.

    Args:
        app: The application.
        scheme: `http` or `https`.
        host: Address and port, as it stands in references.
        authority: Who vouches for it, when it serves https with a throw-away certificate.
    """

    def __init__(self, app: RegistryApp, scheme: str, host: str, authority: Authority | None = None) -> None:
        self.app = app
        self.host = host
        self.url: str = f"{scheme}://{host}"
        self._authority = authority

    @property
    def ca_pem(self) -> bytes:
        """The certificate of the throw-away authority, to be written where clients look for theirs.

        Raises:
            RuntimeError: The registry was not started with `tls=True`.
        """
        return self._vouching().pem

    def client_context(self) -> ssl_module.SSLContext:
        """Return a context for clients that trusts this registry, and no other server.

        Raises:
            RuntimeError: The registry was not started with `tls=True`.
        """
        return self._vouching().client_context()

    def _vouching(self) -> Authority:
        if self._authority is None:
            msg = "this registry has no authority of its own: start it with tls=True"
            raise RuntimeError(msg)
        return self._authority

    @property
    def faults(self) -> Faults:
        """What goes wrong, and when."""
        return self.app.faults

    @property
    def requests(self) -> RequestLog:
        """The requests that came, newest last."""
        return self.app.requests

    @property
    def violations(self) -> list[Violation]:
        """What clients did that the specifications forbid; nothing is noted unless the app is `strict`.

        A test that means to do such things clears the list.
        """
        return self.app.violations

    def __repr__(self) -> str:
        return f"<RunningRegistry {self.url}>"


class ServerOptions(RegistryOptions, total=False):
    """The options of `serve_registry`, for those who pass them on."""

    address: str
    port: int
    tls: bool
    ssl: ssl_module.SSLContext | None
    app: RegistryApp | None


@asynccontextmanager
async def serve_registry(
    *,
    address: str = "127.0.0.1",
    port: int = 0,
    tls: bool = False,
    ssl: ssl_module.SSLContext | None = None,
    app: RegistryApp | None = None,
    **options: Unpack[RegistryOptions],
) -> AsyncGenerator[RunningRegistry]:
    """Serve a registry as long as the context is open.

    Args:
        address: IP address to listen at.
        port: Port to listen at; a free one when 0.
        tls: Serve https with a certificate that is made up for it; `ca_pem` and `client_context` of what is
            served make clients trust it.
        ssl: Serve https with this context instead.
        app: Serve this registry instead of one made from the options.
        options: Those of `RegistryApp`.

    Raises:
        ModuleNotFoundError: The extra `testing` is not installed.
        OSError: The port is taken.
        StrictViolation: At the end, when the app is `strict` and there are `violations`.
        TypeError: Both an app and options, or both `tls` and `ssl`.
    """
    own_app = None
    authority = _authority() if tls else None
    if authority is not None:
        if ssl is not None:
            msg = "tls=True makes a context of its own; leave out ssl"
            raise TypeError(msg)
        ssl = authority.server_context(address)
    if app is None:
        app = own_app = RegistryApp(**options)
    elif options:
        msg = f"an app has its options already; leave out {', '.join(options)}"
        raise TypeError(msg)
    server = _Server(app)
    host = await server.start(address, port, ssl)
    try:
        yield RunningRegistry(app, "http" if ssl is None else "https", host, authority)
    finally:
        with anyio.CancelScope(shield=True):
            await server.stop()
        if own_app is not None:
            own_app.close()
    # Not reached when an exception is on its way, which says more.
    if app.violations:
        raise StrictViolation(app.violations)


def _authority() -> Authority:
    with extra_needed():
        from oci_distribution.testing.tls import Authority  # noqa: PLC0415 - a fifth of a second, for few

    return Authority()


class _Server:
    """uvicorn's protocol without its `Server`, which polls: stopping that one takes 200 ms."""

    def __init__(self, app: RegistryApp) -> None:
        self._app = app
        self._config = uvicorn.Config(
            app,
            interface="asgi3",
            http="httptools",
            lifespan="off",
            ws="none",
            log_config=None,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=_KEEP_ALIVE,
        )
        with extra_needed():
            self._config.load()
        self._state = ServerState()
        self._listener: asyncio.Server | None = None

    async def start(self, address: str, port: int, ssl: ssl_module.SSLContext | None) -> str:
        """Listen, and return address and port."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._protocol, address, port, ssl=ssl, backlog=512)
        name = self._listener.sockets[0].getsockname()
        is_ipv6 = self._listener.sockets[0].family == socket.AF_INET6
        return f"[{name[0]}]:{name[1]}" if is_ipv6 else f"{name[0]}:{name[1]}"

    async def stop(self) -> None:
        """Close idle connections, let requests in progress end, and cut those that do not."""
        assert self._listener is not None
        self._listener.close()
        for _ in range(_TURNS_OF_ACCEPTING):
            # Let what is being accepted in this very moment arrive, or it would be left to nobody.
            await anyio.lowlevel.checkpoint()
        for connection in list(self._state.connections):
            connection.shutdown()
        with anyio.move_on_after(_GRACE):
            await self._idle()
        for connection in list(self._state.connections):
            connection.transport.abort()
        for _ in range(_TURNS_OF_ACCEPTING):
            await anyio.lowlevel.checkpoint()  # until the requests have noticed
        for task in self._state.tasks:
            task.cancel()  # a fault may be told to wait for hours
        await self._idle()
        with anyio.move_on_after(_GRACE):
            await self._listener.wait_closed()

    async def _idle(self) -> None:
        """Wait until no connection and no request is left; nothing tells, so it looks every millisecond."""
        while self._state.connections or self._state.tasks:  # noqa: ASYNC110 (uvicorn has no event for it)
            await anyio.sleep(0.001)

    async def _answer(self, protocol: Any, scope: Scope, receive: Receive, send: Send) -> None:
        """Give the app the connection, too: ASGI alone cannot cut one."""
        scope.setdefault("extensions", {})[CONNECTION] = protocol.transport
        with suppress(asyncio.CancelledError):  # by `stop`, when nobody is there for an answer any more
            await self._app(scope, receive, send)

    def _protocol(self) -> asyncio.Protocol:
        make: Any = self._config.http_protocol_class
        protocol = make(config=self._config, server_state=self._state, app_state={})
        # uvicorn warns of every TLS probe that a client sends to a plain port.
        protocol.logger = _LOGGER
        protocol.app = partial(self._answer, protocol)
        protocol.access_log = False
        return cast("asyncio.Protocol", protocol)
