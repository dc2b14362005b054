"""Manifests (distribution specification, "Pulling manifests", "Pushing Manifests", "Deleting Manifests")."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from oci_distribution.errors import InvalidManifest, InvalidReference
from oci_distribution.spec.digest import Digest
from oci_distribution.spec.headers import (
    DOCKER_CONTENT_DIGEST,
    OCI_SUBJECT,
    OCI_TAG,
    entity_tag,
    parse_content_length,
    parse_media_type,
)
from oci_distribution.spec.manifest import Manifest
from oci_distribution.spec.mediatypes import is_manifest
from oci_distribution.spec.reference import check_tag
from oci_distribution.testing.answers import (
    RegistryError,
    digest_invalid,
    manifest_unknown,
)
from oci_distribution.testing.calls import Call, parse_digest
from oci_distribution.testing.conditions import not_modified, require_preconditions
from oci_distribution.testing.storage import RepositoryStorage

__all__ = ["delete_manifest", "get_manifest", "put_manifest"]


async def get_manifest(call: Call) -> Response:
    """end-3: `GET` or `HEAD /v2/<name>/manifests/<reference>`."""
    repository = call.repository()
    entry = repository.find_manifest(_reference(call))
    if entry is None:
        raise manifest_unknown(call.argument)
    require_preconditions(call.request, entry.digest)
    if (unchanged := not_modified(call.request, entry.digest)) is not None:
        return unchanged
    headers = {
        "Content-Type": entry.media_type,
        "Content-Length": str(entry.size),
        DOCKER_CONTENT_DIGEST: entry.digest,
        "ETag": entity_tag(entry.digest),
    }
    return Response(None if call.is_head else repository.read_manifest(entry.digest), headers=headers)


def _reference(call: Call) -> str:
    """Return the argument; a digest is checked. A tag that breaks the grammar is just not there."""
    return call.digest() if ":" in call.argument else call.argument


async def put_manifest(call: Call) -> Response:
    """end-7a, end-7b: `PUT /v2/<name>/manifests/<reference>`, by digest with further `?tag=`."""
    digest = call.digest() if ":" in call.argument else None
    extra = call.request.query_params.getlist("tag") if digest is not None else []
    tags = [_tag(tag) for tag in (extra if digest is not None else [call.argument])]
    raw = await _read_body(call.request, call.app.profile.max_manifest_size)
    manifest = _parse(raw, call.request.headers.get("content-type"), digest)
    repository = call.app.storage.open(call.name)
    subject = _checked_subject(manifest, repository, sparse=call.app.sparse)
    # From here to the end of the push nothing else happens: who comes second sees who came first.
    require_preconditions(call.request, _current(repository, call.argument))
    repository.put_manifest(manifest, tags)
    headers = {
        "Location": call.location(f"manifests/{manifest.digest}"),
        DOCKER_CONTENT_DIGEST: manifest.digest,
        "ETag": entity_tag(manifest.digest),
    }
    if subject is not None and call.app.referrers:
        headers[OCI_SUBJECT] = subject
    response = Response(status_code=201, headers=headers)
    for tag in extra:
        response.headers.append(OCI_TAG, tag)
    return response


def _current(repository: RepositoryStorage, reference: str) -> Digest | None:
    entry = repository.find_manifest(reference)
    return None if entry is None else entry.digest


def _tag(text: str) -> str:
    try:
        return check_tag(text)
    except InvalidReference as error:
        raise RegistryError(400, "MANIFEST_INVALID", str(error)) from None


async def _read_body(request: Request, limit: int) -> bytes:
    if (parse_content_length(request.headers.get("content-length")) or 0) > limit:
        raise _too_large(limit)
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > limit:
            raise _too_large(limit)
    return bytes(body)


def _too_large(limit: int) -> RegistryError:
    return RegistryError(413, "SIZE_INVALID", f"a manifest has at most {limit} bytes")


def _parse(raw: bytes, content_type: str | None, digest: Digest | None) -> Manifest:
    actual = Digest.of(raw, digest.algorithm) if digest is not None else Digest.of(raw)
    if digest not in (None, actual):
        raise digest_invalid("provided digest did not match uploaded content", detail={"actual": actual})
    try:
        return Manifest.parse(raw, parse_media_type(content_type), digest=actual)
    except InvalidManifest as error:
        raise RegistryError(400, "MANIFEST_INVALID", str(error)) from None


def _checked_subject(manifest: Manifest, repository: RepositoryStorage, *, sparse: bool) -> Digest | None:
    """Check that everything a manifest needs is there, and return its subject, which need not be."""
    try:
        children, subject = manifest.children, manifest.subject
    except InvalidManifest as error:
        raise RegistryError(400, "MANIFEST_INVALID", str(error)) from None
    for child in children:
        if sparse or child.urls:
            continue  # it lies elsewhere
        here = repository.find_manifest(child.digest) if is_manifest(child.media_type) else None
        if here is None and (is_manifest(child.media_type) or repository.size(child.digest) is None):
            message = "manifest references a manifest or blob unknown to registry"
            raise RegistryError(404, "MANIFEST_BLOB_UNKNOWN", message, detail={"digest": child.digest})
    return None if subject is None else subject.digest


async def delete_manifest(call: Call) -> Response:
    """end-9: `DELETE /v2/<name>/manifests/<reference>`: a digest with its tags, or a tag alone."""
    call.app.require_deletes()
    repository = call.repository()
    require_preconditions(call.request, _current(repository, call.argument))
    if ":" in call.argument:
        deleted = repository.delete_manifest(parse_digest(call.argument))
    else:
        deleted = repository.delete_tag(call.argument)
    if not deleted:
        raise manifest_unknown(call.argument)
    return Response(status_code=202)
