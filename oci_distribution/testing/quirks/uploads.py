"""Quirks of pushing blobs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from oci_distribution.spec.digest import Digest
from oci_distribution.testing.answers import RegistryError
from oci_distribution.testing.calls import Call, Handler, root_path, route_path
from oci_distribution.testing.quirks.quirk import (
    Quirk,
    body_length,
    drain,
    without_header,
    without_parameters,
)
from oci_distribution.testing.uploads import (
    UploadSession,
    finish_upload,
    patch_upload,
    start_upload,
    upload_status,
)

if TYPE_CHECKING:
    from oci_distribution.testing.app import RegistryApp


def patch_is_created(source: str) -> Quirk:
    """A chunk that was taken is answered with 201."""

    async def quirk(call: Call, handler: Handler) -> Response:
        response = await handler(call)
        response.status_code = 201
        return response

    return Quirk("answers 201 to a PATCH", source, (patch_upload,), quirk)


def range_stays_at_first_chunk(source: str) -> Quirk:
    """All chunks are stored, and each answer tells where the first one ended."""

    async def quirk(call: Call, handler: Handler) -> Response:
        response = await handler(call)
        if chunks := _session(call).chunks:
            response.headers["Range"] = f"0-{chunks[0] - 1}"
        return response

    return Quirk(
        "stores every chunk, and says in the `Range` of each where the first one ended",
        source,
        (patch_upload,),
        quirk,
    )


def range_of_one_chunk(source: str) -> Quirk:
    """The answer to a chunk tells how long that chunk was, not the upload."""

    async def quirk(call: Call, handler: Handler) -> Response:
        response = await handler(call)
        if chunks := _session(call).chunks:
            response.headers["Range"] = f"0-{chunks[-1] - 1}"
        return response

    what = "says in the `Range` of a PATCH how long that chunk was, not how far the upload is"
    return Quirk(what, source, (patch_upload,), quirk)


def negative_range_when_empty(source: str) -> Quirk:
    """The `Range` of an upload that has no byte yet ends before it begins."""

    async def quirk(call: Call, handler: Handler) -> Response:
        response = await handler(call)
        session = call.app.uploads.get(response.headers.get("Docker-Upload-UUID", ""))
        if session is not None and session.size == 0:
            response.headers["Range"] = "0--1"
        return response

    handlers = (start_upload, patch_upload, upload_status)
    return Quirk("says `0--1` while an upload is empty", source, handlers, quirk)


def no_stream_after_chunk(source: str) -> Quirk:
    """A PATCH without `Content-Range` may only be the first one."""

    async def quirk(call: Call, handler: Handler) -> Response:
        session = call.app.uploads.get(call.argument)
        if session is not None and session.chunks and "content-range" not in call.request.headers:
            raise RegistryError(
                400, "BLOB_UPLOAD_INVALID", "Stream uploads after first write are not allowed"
            )
        return await handler(call)

    what = "answers 400 to a further PATCH without `Content-Range`"
    return Quirk(what, source, (patch_upload,), quirk)


def no_chunks(source: str) -> Quirk:
    """A blob can only be sent in one PUT.

    What a PATCH is answered with is in no report: 405 is the specification's word for it.
    """

    async def quirk(call: Call, handler: Handler) -> Response:
        del call, handler
        raise RegistryError(405, "UNSUPPORTED", "chunked upload is not supported")

    return Quirk("has no PATCH", source, (patch_upload,), quirk)


def largest_patch(size: int, source: str) -> Quirk:
    """A PATCH with a longer body is refused, with a status that means something else."""

    async def quirk(call: Call, handler: Handler) -> Response:
        if (body_length(call) or 0) > size:
            raise RegistryError(
                416,
                "REQUESTED_RANGE_NOT_SATISFIABLE",
                f"the request body is longer than the limit of {size} bytes",
            )
        return await handler(call)

    return Quirk(f"answers 416 to a PATCH of more than {size} bytes", source, (patch_upload,), quirk)


def largest_body(size: int, source: str) -> Quirk:
    """A proxy in front of the registry refuses longer bodies, in its own words."""

    async def quirk(call: Call, handler: Handler) -> Response:
        if (body_length(call) or 0) <= size:
            return await handler(call)
        page = "<html><head><title>413 Request Entity Too Large</title></head></html>"
        return Response(page, 413, media_type="text/html")

    what = f"answers 413, with a web page, to a body of more than {size} bytes"
    return Quirk(what, source, (start_upload, patch_upload, finish_upload), quirk)


def chunk_needs_length(source: str) -> Quirk:
    """A chunk must say how long it is."""

    async def quirk(call: Call, handler: Handler) -> Response:
        if body_length(call) is None and "content-range" in call.request.headers:
            raise RegistryError(400, "CONTENT_LENGTH_INVALID", "a chunk needs a Content-Length")
        return await handler(call)

    return Quirk("answers 400 to a chunk without `Content-Length`", source, (patch_upload,), quirk)


def keeps_last_chunk_only(source: str) -> Quirk:
    """Of an upload in chunks only the last one is stored, and the push is told that all went well."""

    async def quirk(call: Call, handler: Handler) -> Response:
        session = call.app.uploads.get(call.argument)
        response = await handler(call)
        if session is not None and len(session.chunks) > 1:
            _keep_end(call, Digest(call.request.query_params["digest"]), session.chunks[-1])
        return response

    what = "stores the last chunk only, and says 201 as if it were the whole"
    return Quirk(what, source, (finish_upload,), quirk)


def no_upload_status(source: str) -> Quirk:
    """An upload cannot be asked where it stands."""

    async def quirk(call: Call, handler: Handler) -> Response:
        del call, handler
        raise RegistryError(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")

    return Quirk("answers 404 to a GET of an upload", source, (upload_status,), quirk)


def no_single_post(source: str) -> Quirk:
    """A POST with a digest and the whole blob opens a session, and the bytes are ignored."""

    async def quirk(call: Call, handler: Handler) -> Response:
        if "digest" in call.request.query_params:
            await drain(call)
        return await handler(without_parameters(call, "digest"))

    what = "answers 202, and opens a session, when a blob comes with the POST"
    return Quirk(what, source, (start_upload,), quirk)


def no_digest_algorithm(source: str) -> Quirk:
    """The algorithm that a POST names is not looked at."""

    async def quirk(call: Call, handler: Handler) -> Response:
        return await handler(without_parameters(call, "digest-algorithm"))

    return Quirk("ignores `digest-algorithm`", source, (start_upload,), quirk)


def put_appends_anywhere(source: str) -> Quirk:
    """A chunk that comes with the PUT is appended, whatever its `Content-Range` says."""

    async def quirk(call: Call, handler: Handler) -> Response:
        return await handler(without_header(call, "content-range"))

    return Quirk("ignores the `Content-Range` of a PUT", source, (finish_upload,), quirk)


def uploads_accept_json(source: str) -> Quirk:
    """A request of an upload that accepts something special is refused."""

    async def quirk(call: Call, handler: Handler) -> Response:
        accepted = [
            entry.partition(";")[0].strip() for entry in call.request.headers.get("accept", "").split(",")
        ]
        if not {"", "*/*", "application/*", "application/json"}.intersection(accepted):
            raise RegistryError(406, "UNSUPPORTED", "cannot answer in a type that is accepted")
        return await handler(call)

    what = "answers 406 to requests of an upload that accept manifests"
    return Quirk(what, source, (start_upload, patch_upload, finish_upload), quirk)


def uploads_elsewhere(source: str) -> Quirk:
    """The location of an upload is on the same host, outside of `/v2/`."""
    prefix = "/artifacts-uploads/namespaces/"

    async def quirk(call: Call, handler: Handler) -> Response:
        response = await handler(call)
        if "Docker-Upload-UUID" in response.headers:
            inside, outside = f"/v2/{call.name}/blobs/uploads/", f"{prefix}{call.name}/uploads/"
            response.headers["Location"] = response.headers["Location"].replace(inside, outside)
        return response

    async def serve(app: RegistryApp, request: Request) -> Response | None:
        match = re.fullmatch(rf"{prefix}(.+)/uploads/([^/]+)", route_path(request))
        if match is None:
            return None
        path = f"{root_path(request)}/v2/{match[1]}/blobs/uploads/{match[2]}"
        return await app.answer(Request({**request.scope, "path": path}, request.receive))

    handlers = (start_upload, patch_upload, upload_status)
    what = "has the locations of uploads outside of `/v2/`"
    return Quirk(what, source, handlers, quirk, serve)


def _session(call: Call) -> UploadSession:
    return call.app.uploads[call.argument]


def _keep_end(call: Call, digest: Digest, length: int) -> None:
    repository = call.repository()
    with repository.open(digest) as file:
        data = file.read()[-length:]
    repository.remove_content(digest)
    repository.put_content(digest, data)
