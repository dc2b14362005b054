"""The registry as an ASGI application: routes, the gate, the record."""

from __future__ import annotations

import re
import time
from functools import cache, partial
from typing import NamedTuple, TypedDict

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from oci_distribution.errors import InvalidReference
from oci_distribution.spec.reference import check_repository
from oci_distribution.testing.admin import serve_admin
from oci_distribution.testing.answers import RegistryError, json_response
from oci_distribution.testing.auth import CATALOG, Access, Authenticator
from oci_distribution.testing.blobs import delete_blob, get_blob
from oci_distribution.testing.calls import Call, Handler, route_path
from oci_distribution.testing.faults import Faults
from oci_distribution.testing.injection import inject
from oci_distribution.testing.listings import (
    list_referrers,
    list_repositories,
    list_tags,
)
from oci_distribution.testing.manifests import (
    delete_manifest,
    get_manifest,
    put_manifest,
)
from oci_distribution.testing.memory import MemoryStorage
from oci_distribution.testing.profiles import Profile
from oci_distribution.testing.record import RecordedRequest, RequestLog
from oci_distribution.testing.storage import Storage
from oci_distribution.testing.strict import StrictMode, Violation
from oci_distribution.testing.uploads import (
    UploadSession,
    cancel_upload,
    finish_upload,
    patch_upload,
    start_upload,
    upload_status,
)

__all__ = ["RegistryApp", "RegistryOptions"]

DEFAULT_PAGE_SIZE = 1000
_API_VERSION = (b"docker-distribution-api-version", b"registry/2.0")


class Operation(NamedTuple):
    """What a method does at an endpoint, and the actions that it needs there."""

    handler: Handler
    actions: frozenset[str]


def _operation(handler: Handler, *actions: str) -> Operation:
    return Operation(handler, frozenset(actions))


async def _ping(call: Call) -> Response:
    """end-1: `GET /v2/`."""
    del call
    return json_response({})


def _path(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.DOTALL)  # a line break makes a name invalid, not an endpoint unknown


# Greedy names: what decides is the end of the path, since `a/blobs/uploads` is a name like any other.
_ROUTES: tuple[tuple[re.Pattern[str], dict[str, Operation]], ...] = (
    (
        _path(r"/v2/(?P<name>.+)/manifests/(?P<argument>[^/]+)"),
        {
            "GET": _operation(get_manifest, "pull"),
            "HEAD": _operation(get_manifest, "pull"),
            "PUT": _operation(put_manifest, "pull", "push"),
            "DELETE": _operation(delete_manifest, "delete"),
        },
    ),
    (
        _path(r"/v2/(?P<name>.+)/blobs/uploads/?"),
        {"POST": _operation(start_upload, "pull", "push")},
    ),
    (
        _path(r"/v2/(?P<name>.+)/blobs/uploads/(?P<argument>[^/]+)"),
        {
            "GET": _operation(upload_status, "pull", "push"),
            "PATCH": _operation(patch_upload, "pull", "push"),
            "PUT": _operation(finish_upload, "pull", "push"),
            "DELETE": _operation(cancel_upload, "pull", "push"),
        },
    ),
    (
        _path(r"/v2/(?P<name>.+)/blobs/(?P<argument>[^/]+)"),
        {
            "GET": _operation(get_blob, "pull"),
            "HEAD": _operation(get_blob, "pull"),
            "DELETE": _operation(delete_blob, "delete"),
        },
    ),
    (_path(r"/v2/(?P<name>.+)/tags/list"), {"GET": _operation(list_tags, "pull")}),
    (
        _path(r"/v2/(?P<name>.+)/referrers/(?P<argument>[^/]+)"),
        {"GET": _operation(list_referrers, "pull")},
    ),
    (_path(r"/v2/_catalog"), {"GET": _operation(list_repositories, "*")}),
    (_path(r"/v2/?"), {"GET": _operation(_ping), "HEAD": _operation(_ping)}),
)


class RegistryOptions(TypedDict, total=False):
    """The options of `RegistryApp`, for those who pass them on."""

    storage: Storage | None
    auth: Authenticator | None
    delete_enabled: bool
    page_size: int
    referrers: bool
    sparse: bool
    chunk_min_length: int
    upload_lifetime: float
    profile: Profile | str
    faults: Faults | None
    admin: bool
    requests: RequestLog | None
    strict: bool


class RegistryApp:
    """A registry: serve it with `serve_registry`, mount it, or call it through an ASGI transport.

    Args:
        storage: Where content is kept; in memory when None.
        auth: Who may do what; everybody may do everything when None.
        delete_enabled: Whether manifests, tags and blobs can be deleted.
        page_size: Most items on a page of a listing.
        referrers: Whether there is a referrers API, which registries older than specification 1.1 lack.
        sparse: Whether a manifest is accepted before everything that it refers to is there. The
            specification leaves it open; refusing shows which clients push in the wrong order.
        chunk_min_length: Least bytes of a chunk that is not the last, as `OCI-Chunk-Min-Length` tells.
        upload_lifetime: Seconds after which an upload that nobody went on with is forgotten.
        profile: A real registry to behave like: a name of `PROFILES`, or a profile.
        faults: What goes wrong, and when; nothing at first when None.
        admin: Whether faults can be added over HTTP, as JSON, by anybody (`admin` says how).
        requests: Where to record requests; a new log when None.
        strict: Whether to note what clients do that the specifications forbid, as `violations`. The answers
            stay the same.
    """

    def __init__(
        self,
        *,
        storage: Storage | None = None,
        auth: Authenticator | None = None,
        delete_enabled: bool = True,
        page_size: int = DEFAULT_PAGE_SIZE,
        referrers: bool = True,
        sparse: bool = False,
        chunk_min_length: int = 0,
        upload_lifetime: float = 3600.0,
        profile: Profile | str = "specification",
        faults: Faults | None = None,
        admin: bool = False,
        requests: RequestLog | None = None,
        strict: bool = False,
    ) -> None:
        if page_size < 1:
            msg = "page_size must be at least 1"
            raise ValueError(msg)
        if chunk_min_length < 0 or upload_lifetime < 0:
            msg = "chunk_min_length and upload_lifetime may not be negative"
            raise ValueError(msg)
        self.storage: Storage = MemoryStorage() if storage is None else storage
        self.auth = auth
        self.delete_enabled = delete_enabled
        self.page_size = page_size
        self.referrers = referrers
        self.sparse = sparse
        self.chunk_min_length = chunk_min_length
        self.upload_lifetime = upload_lifetime
        self.profile: Profile = Profile.named(profile) if isinstance(profile, str) else profile
        self._behave = cache(self.profile.behave)
        self.faults: Faults = Faults() if faults is None else faults
        self.admin = admin
        self.requests: RequestLog = RequestLog() if requests is None else requests
        self.uploads: dict[str, UploadSession] = {}
        """Uploads that were started, and neither finished nor cancelled, by identifier."""
        self._strict = StrictMode(self.uploads) if strict else None
        self.violations: list[Violation] = [] if self._strict is None else self._strict.violations
        """What clients did that the specifications forbid; nothing is noted unless `strict`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI calls it."""
        if scope["type"] != "http":
            msg = f"a registry speaks HTTP, not {scope['type']}"
            raise RuntimeError(msg)
        record = RecordedRequest.of(scope)
        self.requests.append(record)
        answer = partial(self._answer_recorded, record)
        if self._strict is None:
            await answer(scope, receive, send)
        else:
            await self._strict.watch(answer, record, scope, receive, send)

    async def _answer_recorded(
        self, record: RecordedRequest, scope: Scope, receive: Receive, send: Send
    ) -> None:
        async def counted_receive() -> Message:
            message = await receive()
            record.body_size += len(message.get("body", b""))
            return message

        async def noted_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
            elif record.method != "HEAD":
                record.answer_size += len(message.get("body", b""))
            await send(message)

        serve = partial(self._serve, record)
        fault = self.faults.choose(scope["method"], route_path(Request(scope)))
        if fault is None:
            await serve(scope, counted_receive, noted_send)
        else:
            await inject(fault, serve, scope, counted_receive, noted_send)

    def close(self) -> None:
        """Drop the uploads that nobody will finish any more. Content stays."""
        for session in self.uploads.values():
            session.close()
        self.uploads.clear()

    def drop_idle_uploads(self) -> None:
        """Drop the uploads that nobody went on with for `upload_lifetime`, and nobody is sending to now."""
        oldest = time.monotonic() - self.upload_lifetime
        for session in list(self.uploads.values()):
            if session.touched < oldest and not session.lock.statistics().locked:
                session.close()
                del self.uploads[session.id]

    def refusal(self, request: Request, *wanted: Access) -> RegistryError | None:
        """Return the answer to a request that was let in, if it had wanted this; None when it would pass."""
        try:
            self._check(request, *wanted)
        except RegistryError as error:
            return error
        return None

    def require_deletes(self) -> None:
        """Go on only where deleting is enabled.

        Raises:
            RegistryError: It is not.
        """
        if not self.delete_enabled:
            raise RegistryError(405, "UNSUPPORTED", "deleting is disabled")

    async def _serve(self, record: RecordedRequest, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self.answer(Request(scope, receive))
        except RegistryError as error:
            record.error = error.code
            response = error.response()
        except ClientDisconnect:
            return
        response.raw_headers.append(_API_VERSION)
        await response(scope, receive, send)

    async def answer(self, request: Request) -> Response:
        """Answer a request, as the registry that it has to behave like.

        Raises:
            RegistryError: It is refused.
        """
        if self.admin and (response := await serve_admin(self.faults, request)) is not None:
            return response
        if self.auth is not None and (response := await self.auth.serve(request)) is not None:
            return response
        if (response := await self.profile.serve(self, request)) is not None:
            return response
        operation, call = self._route(request)
        self._check(request, *_needed_access(call, operation))
        return await self._behave(operation.handler)(call)

    def _check(self, request: Request, *wanted: Access) -> None:
        if self.auth is not None:
            self.auth.check(request, wanted)

    def _route(self, request: Request) -> tuple[Operation, Call]:
        # A decoded slash would be taken for one that separates: no name or digest has it.
        if b"%2f" in request.scope.get("raw_path", b"").lower():
            raise RegistryError(400, "NAME_INVALID", "a slash in a path may not be encoded")
        path = route_path(request)
        for pattern, operations in _ROUTES:
            match = pattern.fullmatch(path)
            if match is None:
                continue
            operation = operations.get(request.method)
            if operation is None:
                allowed = {"Allow": ", ".join(operations)}
                raise RegistryError(405, "UNSUPPORTED", "there is no such method here", headers=allowed)
            parts = match.groupdict()
            name = _checked_name(parts["name"]) if "name" in parts else ""
            return operation, Call(self, request, name, parts.get("argument", ""))
        raise RegistryError(404, "UNSUPPORTED", "there is no such endpoint")


def _checked_name(name: str) -> str:
    try:
        return check_repository(name)
    except InvalidReference as error:
        raise RegistryError(400, "NAME_INVALID", str(error)) from None


def _needed_access(call: Call, operation: Operation) -> tuple[Access, ...]:
    if not operation.actions:
        return ()
    resource = f"repository:{call.name}" if call.name else CATALOG
    return (Access(resource, operation.actions),)
