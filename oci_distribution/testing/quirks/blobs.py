"""Quirks of pulling blobs."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from oci_distribution.testing.blobs import get_blob
from oci_distribution.testing.calls import Call, Handler, root_path, route_path
from oci_distribution.testing.quirks.quirk import Quirk

if TYPE_CHECKING:
    from oci_distribution.testing.app import RegistryApp

_KEY = secrets.token_bytes(32)
_PATH = re.compile(r"/signed/(?P<name>.+)/(?P<digest>[^/]+)")


def blobs_on_signed_urls(source: str) -> Quirk:
    """Blobs are had from a storage with another origin, by a URL that is its own authorization."""

    async def quirk(call: Call, handler: Handler) -> Response:
        if call.repository().size(call.digest()) is None:
            return await handler(call)
        path = f"/signed/{call.name}/{call.argument}"
        location = f"{_elsewhere(call.request)}{path}?signature={_signature(path)}"
        return Response(status_code=307, headers={"Location": location})

    what = "sends clients to a signed URL of another origin for blobs"
    return Quirk(what, source, (get_blob,), quirk, _serve)


async def _serve(app: RegistryApp, request: Request) -> Response | None:
    """Answer as S3 does: an `Authorization` besides the signature is one too many."""
    path = route_path(request)
    match = _PATH.fullmatch(path)
    if match is None or request.method not in {"GET", "HEAD"}:
        return None
    if "authorization" in request.headers:
        return _refusal(400, "InvalidArgument", "Only one auth mechanism allowed")
    if not hmac.compare_digest(request.query_params.get("signature", "").encode(), _signature(path).encode()):
        return _refusal(403, "AccessDenied", "Access Denied")
    return await get_blob(Call(app, request, match["name"], match["digest"]))


def _elsewhere(request: Request) -> str:
    """Return the root of this registry under another name of this machine."""
    host, port = request.url.hostname or "", request.url.port
    other = "localhost" if host != "localhost" else "127.0.0.1"
    return f"{request.url.scheme}://{other}{'' if port is None else f':{port}'}{root_path(request)}"


def _signature(path: str) -> str:
    return hmac.new(_KEY, path.encode(), hashlib.sha256).hexdigest()


def _refusal(status: int, code: str, message: str) -> Response:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Response(body, status, media_type="application/xml")
