"""A real uvicorn around an application, in the event loop of the test."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

import anyio
import uvicorn
from starlette.types import ASGIApp

from oci_distribution.testing import RegistryApp
from oci_distribution.testing.server import _Server as _QuickServer


class _Server(uvicorn.Server):
    """Tells when it is ready: uvicorn's own has only a flag to look at."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = anyio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@asynccontextmanager
async def web_server(app: ASGIApp, *, http: str = "httptools") -> AsyncGenerator[str]:
    """Serve an application, its lifespan included, and yield its URL."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        config = uvicorn.Config(app, http=http, lifespan="on", log_config=None, timeout_graceful_shutdown=5)
        server = _Server(config)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [sock])
            await server.ready.wait()
            try:
                yield f"http://127.0.0.1:{sock.getsockname()[1]}"
            finally:
                server.should_exit = True


@asynccontextmanager
async def quick_web_server(app: ASGIApp) -> AsyncGenerator[str]:
    """Serve an application without a lifespan: uvicorn's protocol, without the fifth of a second to stop."""
    server = _QuickServer(cast("RegistryApp", app))
    host = await server.start("127.0.0.1", 0, None)
    try:
        yield f"http://{host}"
    finally:
        await server.stop()
