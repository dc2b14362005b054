"""A backend that passes a registry's content on: a real uvicorn, and what is left in it when a client has left."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

import oci_distribution as oci
from oci_distribution.testing import RunningRegistry, serve_registry
from oci_distribution.transport.engine import AiohttpTransport
from oci_distribution.web import BlobResponse, ManifestResponse, oci_error_handler
from tests.web_server import quick_web_server, web_server

SLOTS = oci.Slots(downloads=2)


class Backend:
    """An application for one registry; it notes which requests are in progress and what they ended with."""

    def __init__(
        self, client: oci.Client, registry: str, middleware: list[Middleware], patience: float
    ) -> None:
        self.client = client
        self.url = ""
        self.failures: list[Exception] = []
        self._registry = client.registry(registry)
        self._patience = patience
        self._in_progress = 0
        self._changed = anyio.Event()
        self._app = Starlette(
            routes=[
                Route("/{name:path}/blobs/{reference}", self._blob),
                Route("/{name:path}/manifests/{reference}", self._manifest),
            ],
            middleware=middleware,
            exception_handlers={oci.OCIError: oci_error_handler},
        )

    async def _blob(self, request: Request) -> Response:
        repo, digest = self._asked(request)
        return BlobResponse(repo, digest, patience=self._patience)

    async def _manifest(self, request: Request) -> Response:
        return ManifestResponse(*self._asked(request))

    def _asked(self, request: Request) -> tuple[oci.Repository, str]:
        return self._registry.repository(request.path_params["name"]), request.path_params["reference"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, and note it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        self._note(1)
        try:
            await self._app(scope, receive, send)
        except Exception as error:
            self.failures.append(error)
            raise
        finally:
            self._note(-1)

    def _note(self, step: int) -> None:
        self._in_progress += step
        self._changed.set()
        self._changed = anyio.Event()

    async def until_in_progress(self, count: int) -> None:
        """Wait until so many requests are."""
        while self._in_progress != count:
            await self._changed.wait()

    def left(self) -> list[str]:
        """Say what is left of requests that are over: answers, connections and slots."""
        sender, transport = self.client._sender, self.client.http._transport
        assert isinstance(transport, AiohttpTransport)
        found = [f"{answer!r} is open" for answer in transport._open]
        if transport._session is not None and transport._session.connector is not None:
            found += ["a connection in use" for _ in transport._session.connector._acquired]
        for pace in sender._paces.values():
            in_use = {kind.name: budget.used for kind, budget in pace._budgets.items()}
            if any(in_use.values()):
                found.append(f"slots in use: {in_use}")
        return found


Serve = Callable[..., AbstractAsyncContextManager[Backend]]


async def pass_through(request: Request, call_next: RequestResponseEndpoint) -> Response:
    """Do nothing, as `@app.middleware("http")` does it."""
    return await call_next(request)


@pytest.fixture
async def registry() -> AsyncGenerator[RunningRegistry]:
    async with serve_registry(strict=True) as registry:
        yield registry


@pytest.fixture
async def client() -> AsyncGenerator[oci.Client]:
    async with oci.Client(retry=oci.RetryPolicy(base_delay=0.001), slots=SLOTS) as client:
        yield client


@pytest.fixture
def repo(client: oci.Client, registry: RunningRegistry) -> oci.Repository:
    return client.registry(registry.url).repository("team/app")


@pytest.fixture
def serve(client: oci.Client) -> Serve:
    """Serve a backend for a registry with the real uvicorn."""

    @asynccontextmanager
    async def serve(
        registry: str, *, http: str = "httptools", wrapped: bool = False, patience: float = 60
    ) -> AsyncGenerator[Backend]:
        middleware = [Middleware(BaseHTTPMiddleware, dispatch=pass_through)] if wrapped else []
        backend = Backend(client, registry, middleware, patience)
        async with web_server(backend, http=http) as backend.url:
            yield backend

    return serve


@pytest.fixture
async def backend(client: oci.Client, registry: RunningRegistry) -> AsyncGenerator[Backend]:
    backend = Backend(client, registry.url, [], 60)
    async with quick_web_server(backend) as backend.url:
        yield backend


@pytest.fixture
async def web(backend: Backend) -> AsyncGenerator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=backend.url, verify=False) as web:
        yield web
