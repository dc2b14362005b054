"""Blobs, read and deleted (distribution specification, "Pulling blobs", "Deleting Blobs")."""

from __future__ import annotations

from typing import BinaryIO

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from oci_distribution.spec.headers import DOCKER_CONTENT_DIGEST, entity_tag, parse_range
from oci_distribution.testing.answers import blob_unknown
from oci_distribution.testing.calls import Call
from oci_distribution.testing.conditions import not_modified, require_preconditions

__all__ = ["delete_blob", "get_blob"]

PIECE = 1 << 20
"""Bytes that are read and sent at a time."""


async def get_blob(call: Call) -> Response:
    """end-2: `GET` or `HEAD /v2/<name>/blobs/<digest>`."""
    digest, repository = call.digest(), call.repository()
    size = repository.size(digest)
    if size is None:
        raise blob_unknown(digest)
    require_preconditions(call.request, digest)
    if (unchanged := not_modified(call.request, digest)) is not None:
        return unchanged
    headers = {
        "Content-Type": "application/octet-stream",
        DOCKER_CONTENT_DIGEST: digest,
        "ETag": entity_tag(digest),
        "Accept-Ranges": "bytes",
    }
    wanted = _wanted_range(call.request, size, headers["ETag"])
    if wanted is None:
        start, stop, status = 0, size, 200
    elif wanted.start >= size or not wanted:
        return Response(
            status_code=416, headers={"Content-Range": f"bytes */{size}", "Accept-Ranges": "bytes"}
        )
    else:
        start, stop, status = wanted.start, wanted.stop, 206
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    headers["Content-Length"] = str(stop - start)
    if call.is_head:
        return Response(status_code=status, headers=headers)
    return _FileResponse(repository.open(digest), start, stop - start, status, headers)


def _wanted_range(request: Request, size: int, etag: str) -> range | None:
    """Return the single range that a GET asks for; None for the whole (RFC 9110 section 14.2).

    Several ranges, and what is malformed, may be ignored, and are. An empty one is refused.
    """
    if request.method != "GET" or request.headers.get("if-range", etag) != etag:
        return None
    # One that ends before it starts may be ignored or refused: the conformance suite counts on a refusal.
    asked = parse_range(request.headers.get("range"))
    return None if asked is None else asked.within(size)


async def delete_blob(call: Call) -> Response:
    """end-10: `DELETE /v2/<name>/blobs/<digest>`."""
    call.app.require_deletes()
    digest = call.digest()
    if not call.repository().delete_blob(digest):
        raise blob_unknown(digest)
    return Response(status_code=202)


class _FileResponse(Response):
    """Sends a part of a file piece by piece, and stops when nobody listens."""

    def __init__(self, file: BinaryIO, start: int, length: int, status: int, headers: dict[str, str]) -> None:
        super().__init__(status_code=status, headers=headers)
        self._file = file
        self._start = start
        self._length = length

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""
        listener = Request(scope, receive)
        with self._file as file:
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            file.seek(self._start)
            left = self._length
            while left and not await listener.is_disconnected():
                piece = file.read(min(PIECE, left))
                if not piece:
                    msg = "stored content has become shorter"
                    raise RuntimeError(msg)
                left -= len(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": left > 0})
            if not self._length:
                await send({"type": "http.response.body", "body": b""})
