"""Quirks of pulling, pushing and deleting manifests."""

from __future__ import annotations

import gzip
import re
from dataclasses import replace

from starlette.responses import Response

from oci_distribution.errors import InvalidReference
from oci_distribution.spec.headers import DOCKER_CONTENT_DIGEST, OCI_SUBJECT, parse_media_type
from oci_distribution.spec.reference import check_tag
from oci_distribution.testing.answers import RegistryError
from oci_distribution.testing.blobs import delete_blob
from oci_distribution.testing.calls import Call, Handler
from oci_distribution.testing.listings import list_referrers
from oci_distribution.testing.manifests import delete_manifest, get_manifest, put_manifest
from oci_distribution.testing.quirks.quirk import Quirk, body_length, without_header, without_parameters

_PULLED = (200, None)
"""Statuses of a pull that was answered, and of the one that is being answered."""


def no_referrers(source: str) -> tuple[Quirk, ...]:
    """There is no referrers API, and a pushed subject goes unnoticed."""

    async def refuse(call: Call, handler: Handler) -> Response:
        del call, handler
        raise RegistryError(404, "UNSUPPORTED", "there is no such endpoint")

    async def keep_quiet(call: Call, handler: Handler) -> Response:
        response = await handler(call)
        del response.headers[OCI_SUBJECT]
        return response

    return (
        Quirk("has no referrers API", source, (list_referrers,), refuse),
        Quirk("does not say that it noted a subject", source, (put_manifest,), keep_quiet),
    )


def no_manifest_location(source: str) -> Quirk:
    """The answer to a manifest's PUT does not say where it is now."""

    async def quirk(call: Call, handler: Handler) -> Response:
        response = await handler(call)
        del response.headers["Location"]
        return response

    return Quirk("has no `Location` in the answer to a manifest's PUT", source, (put_manifest,), quirk)


def no_digest_by_tag(source: str) -> Quirk:
    """The answer to a GET by tag does not name the digest; that to a HEAD does."""

    async def quirk(call: Call, handler: Handler) -> Response:
        response = await handler(call)
        if ":" not in call.argument and not call.is_head:
            del response.headers[DOCKER_CONTENT_DIGEST]
        return response

    what = "has no `Docker-Content-Digest` in the answer to a GET by tag"
    return Quirk(what, source, (get_manifest,), quirk)


def invalid_tag_is_bad_request(source: str) -> Quirk:
    """A tag that breaks the grammar is not just one that is not there."""

    async def quirk(call: Call, handler: Handler) -> Response:
        if ":" not in call.argument:
            try:
                check_tag(call.argument)
            except InvalidReference as error:
                raise RegistryError(400, "TAG_INVALID", str(error)) from None
        return await handler(call)

    return Quirk("answers 400 to a tag that breaks the grammar", source, (get_manifest,), quirk)


def digest_tag_is_digest(source: str) -> Quirk:
    """The tag under which clients look for referrers leads to the subject itself."""

    async def quirk(call: Call, handler: Handler) -> Response:
        match = re.fullmatch("(sha256)-([0-9a-f]{64})", call.argument)
        return await handler(call if match is None else replace(call, argument=f"{match[1]}:{match[2]}"))

    what = "takes the tag `sha256-<hex>` for the digest `sha256:<hex>`"
    return Quirk(what, source, (get_manifest,), quirk)


def gzips_manifests(source: str) -> Quirk:
    """A client that accepts gzip gets it, and another `Content-Length` from GET than from HEAD."""

    async def quirk(call: Call, handler: Handler) -> Response:
        response = await handler(call)
        if response.body and "gzip" in call.request.headers.get("accept-encoding", ""):
            response.body = gzip.compress(bytes(response.body))
            response.headers["Content-Encoding"] = "gzip"
            response.headers["Content-Length"] = str(len(response.body))
        return response

    return Quirk("compresses manifests for clients that accept gzip", source, (get_manifest,), quirk)


def no_length_from(size: int, source: str) -> Quirk:
    """The length of a longer manifest is not told before it comes."""

    async def quirk(call: Call, handler: Handler) -> Response:
        response = await handler(call)
        if len(response.body) >= size:
            del response.headers["Content-Length"]
        return response

    what = f"sends manifests of {size} bytes and more without `Content-Length`"
    return Quirk(what, source, (get_manifest,), quirk)


def needs_length(source: str) -> Quirk:
    """A manifest whose length is not told before is refused."""

    async def quirk(call: Call, handler: Handler) -> Response:
        if body_length(call) is None:
            raise RegistryError(411, "MANIFEST_INVALID", "Content-Length is required")
        return await handler(call)

    return Quirk("answers 411 to a manifest without `Content-Length`", source, (put_manifest,), quirk)


def no_docker_types(source: str) -> Quirk:
    """Manifests of Docker's own types are refused."""

    async def quirk(call: Call, handler: Handler) -> Response:
        if _pushed_type(call).startswith("application/vnd.docker."):
            raise RegistryError(415, "MANIFEST_INVALID", "media type is not supported")
        return await handler(call)

    return Quirk("answers 415 to manifests of Docker's types", source, (put_manifest,), quirk)


def tags_keep_type(source: str) -> Quirk:
    """A tag cannot move from an index to an image, nor back."""

    async def quirk(call: Call, handler: Handler) -> Response:
        repository = call.app.storage.find(call.name)
        held = None if repository is None else repository.find_manifest(call.argument)
        if held is not None and held.media_type != _pushed_type(call):
            raise RegistryError(400, "MANIFEST_INVALID", "cannot change media-type")
        return await handler(call)

    what = "answers 400 when a tag shall move to a manifest of another type"
    return Quirk(what, source, (put_manifest,), quirk)


def no_tag_parameters(source: str) -> Quirk:
    """Tags that come with a push by digest are not looked at."""

    async def quirk(call: Call, handler: Handler) -> Response:
        return await handler(without_parameters(call, "tag"))

    return Quirk("ignores `?tag=` of a push by digest", source, (put_manifest,), quirk)


def no_conditions(source: str) -> Quirk:
    """A push is carried out whatever its `If-Match` or `If-None-Match` says."""

    async def quirk(call: Call, handler: Handler) -> Response:
        return await handler(without_header(without_header(call, "if-match"), "if-none-match"))

    return Quirk("ignores the conditions of a push", source, (put_manifest,), quirk)


def no_deletes(source: str) -> Quirk:
    """Nothing can be deleted."""

    async def quirk(call: Call, handler: Handler) -> Response:
        del call, handler
        raise RegistryError(405, "UNSUPPORTED", "the operation is unsupported")

    return Quirk("answers 405 to every DELETE", source, (delete_manifest, delete_blob), quirk)


def no_delete_while_tagged(source: str) -> Quirk:
    """A manifest can be deleted by digest once its last tag is gone."""

    async def quirk(call: Call, handler: Handler) -> Response:
        tagged = call.repository().tags_of(call.digest()) if ":" in call.argument else []
        if tagged:
            raise RegistryError(
                400,
                "GOOGLE_MANIFEST_DANGLING_TAG",
                f"{call.argument} is still referenced by tag {tagged[0]!r}",
            )
        return await handler(call)

    what = "answers 400 to a DELETE by digest while a tag points there"
    return Quirk(what, source, (delete_manifest,), quirk)


def counted_pulls(limit: int, source: str) -> Quirk:
    """Pulls of manifests are counted, HEADs are not; beyond the limit there are none.

    The record of requests is what is counted: clearing it starts a new window.
    """

    async def quirk(call: Call, handler: Handler) -> Response:
        counted = sum(
            request.method == "GET" and "/manifests/" in request.path and request.status in _PULLED
            for request in call.app.requests
        )
        allowance = {
            "RateLimit-Limit": f"{limit};w=21600",
            "RateLimit-Remaining": f"{max(limit - counted, 0)};w=21600",
        }
        if counted > limit and not call.is_head:
            message = "You have reached your pull rate limit."
            raise RegistryError(429, "TOOMANYREQUESTS", message, headers=allowance)
        response = await handler(call)
        response.headers.update(allowance)
        return response

    what = f"answers 429 after {limit} GETs of manifests, and says in `RateLimit-Remaining` how many are left"
    return Quirk(what, source, (get_manifest,), quirk)


def _pushed_type(call: Call) -> str:
    return parse_media_type(call.request.headers.get("content-type")) or ""
