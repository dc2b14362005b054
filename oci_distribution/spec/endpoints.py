"""Endpoints: one function for each row of the specification's table "Endpoints", as data.

An `Endpoint` says everything that the layers above need in order to send it: method, target, accepted
statuses, the scope it needs, and whether it may be repeated after a failure that leaves us in doubt.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from oci_distribution.errors import (
    BlobUnknown,
    BlobUploadUnknown,
    ManifestUnknown,
    NameUnknown,
    ResponseError,
    redact_url,
)
from oci_distribution.spec.headers import chunk_range
from oci_distribution.spec.mediatypes import manifest_accept_header
from oci_distribution.spec.urls import with_query

__all__ = ["Endpoint", "Kind"]


class Kind(Enum):
    """Which budget of its host a request draws on."""

    REQUEST = "request"
    """Small both ways, and held by nobody while waiting for something else."""
    DOWNLOAD = "download"
    """Its answer is a stream that somebody reads."""
    UPLOAD = "upload"
    """Its body is a stream that may come from somewhere slow."""


@dataclass(frozen=True, slots=True, repr=False)
class Endpoint:
    """A request of the specification, as data.

    Args:
        method: HTTP method.
        target: Path and query under the registry's root, or an absolute URL that the registry gave us.
        accepted: Statuses that mean success.
        scope: What the request needs, in the token specification's words: `repository:a/b:pull`.
        kind: The budget it draws on.
        repeatable: Whether it may be sent again when we cannot know if it was carried out.
        accept: Value of the `Accept` header. Only manifests name types: Artifactory answers others with 406.
        unknown: The error that a 404 means when the body does not say.
        desired: A scope that it goes better with, and does without where that is refused.
    """

    method: str
    target: str
    accepted: frozenset[int]
    scope: str
    kind: Kind = Kind.REQUEST
    repeatable: bool = True
    accept: str = "*/*"
    unknown: type[ResponseError] = NameUnknown
    headers: tuple[tuple[str, str], ...] = field(default=())
    desired: str = ""

    def __repr__(self) -> str:
        return f"<Endpoint {self.method} {redact_url(self.target)}>"


_OK = frozenset({200})
# The specification says 201. Docker's old one said 204 for a PUT, and ECR answers 201 to a PATCH.
_STORED = frozenset({200, 201, 202, 204})
_DELETED = frozenset({200, 202, 204})
_OCTETS = ("Content-Type", "application/octet-stream")
_MANIFEST_ACCEPT = manifest_accept_header()


def _pull(name: str) -> str:
    return f"repository:{name}:pull"


def _push(name: str) -> str:
    return f"repository:{name}:pull,push"


def _query(target: str, **parameters: Any) -> str:
    """Append the parameters that are not None; names and tags are safe as they are."""
    given = {name.rstrip("_"): value for name, value in parameters.items() if value is not None}
    return f"{target}?{urlencode(given, quote_via=quote, safe=':')}" if given else target


_NAMED = re.compile(r"/v2/(.+)/(?:manifests|blobs|tags|referrers)/")


def repository_of(target: str) -> str | None:
    """Return the repository that a path, or an absolute URL, is about; None when it is about none."""
    named = _NAMED.match(urlsplit(target).path)
    return named[1] if named is not None else None


def ping() -> Endpoint:
    """end-1: `GET /v2/`. It says whether this is a registry, and how it wants to know us."""
    return Endpoint("GET", "/v2/", _OK, "")


def head_manifest(name: str, reference: str) -> Endpoint:
    """end-3: `HEAD /v2/<name>/manifests/<reference>`."""
    return _manifest("HEAD", name, reference)


def get_manifest(name: str, reference: str) -> Endpoint:
    """end-3: `GET /v2/<name>/manifests/<reference>`."""
    return _manifest("GET", name, reference)


def get_manifest_unless(name: str, reference: str) -> Endpoint:
    """end-3, with a condition: 304 when the client has it already (RFC 9110 section 13.1.2)."""
    return replace(get_manifest(name, reference), accepted=_OK | {304})


def _manifest(method: str, name: str, reference: str) -> Endpoint:
    return Endpoint(
        method,
        f"/v2/{name}/manifests/{reference}",
        _OK,
        _pull(name),
        accept=_MANIFEST_ACCEPT,
        unknown=ManifestUnknown,
    )


def put_manifest(name: str, reference: str, media_type: str, *, tags: Sequence[str] = ()) -> Endpoint:
    """end-7a, end-7b: `PUT /v2/<name>/manifests/<reference>`. Sent twice, it does the same.

    Args:
        name: The repository.
        reference: A tag or a digest.
        media_type: Of the manifest.
        tags: Sent along as `?tag=`, to registries that serve the specification's main branch.
    """
    query = "&".join(f"tag={tag}" for tag in tags)
    return Endpoint(
        "PUT",
        f"/v2/{name}/manifests/{reference}" + (f"?{query}" if query else ""),
        _STORED,
        _push(name),
        headers=(("Content-Type", media_type),),
    )


def delete_manifest(name: str, reference: str) -> Endpoint:
    """end-9: `DELETE /v2/<name>/manifests/<reference>`, of a manifest by digest or of a tag."""
    scope = f"repository:{name}:delete"
    return Endpoint("DELETE", f"/v2/{name}/manifests/{reference}", _DELETED, scope, unknown=ManifestUnknown)


def head_blob(name: str, digest: str) -> Endpoint:
    """end-2: `HEAD /v2/<name>/blobs/<digest>`."""
    return Endpoint("HEAD", f"/v2/{name}/blobs/{digest}", _OK, _pull(name), unknown=BlobUnknown)


def find_blob(name: str, digest: str) -> Endpoint:
    """end-2 again, asked before a push: that it is not there (404) is an answer, too, and the common one.

    It needs what the push needs, so that both take one token.
    """
    return Endpoint("HEAD", f"/v2/{name}/blobs/{digest}", frozenset({200, 404}), _push(name))


def get_blob(name: str, digest: str) -> Endpoint:
    """end-2: `GET /v2/<name>/blobs/<digest>`; 206 only when a `Range` was sent."""
    accepted = frozenset({200, 206})
    return Endpoint(
        "GET", f"/v2/{name}/blobs/{digest}", accepted, _pull(name), Kind.DOWNLOAD, unknown=BlobUnknown
    )


def delete_blob(name: str, digest: str) -> Endpoint:
    """end-10: `DELETE /v2/<name>/blobs/<digest>`."""
    scope = f"repository:{name}:delete"
    return Endpoint("DELETE", f"/v2/{name}/blobs/{digest}", _DELETED, scope, unknown=BlobUnknown)


def start_upload(name: str, *, digest_algorithm: str | None = None) -> Endpoint:
    """end-4a: `POST /v2/<name>/blobs/uploads/`. Repeated, it leaves at worst an empty session behind.

    Args:
        name: The repository.
        digest_algorithm: Named to the registry when it is not sha256.
    """
    algorithm = digest_algorithm if digest_algorithm != "sha256" else None
    target = f"/v2/{name}/blobs/uploads/" + (f"?digest-algorithm={algorithm}" if algorithm else "")
    return Endpoint("POST", target, frozenset({202}), _push(name))


def mount_blob(name: str, digest: str, from_name: str) -> Endpoint:
    """end-11: `POST /v2/<name>/blobs/uploads/?mount=<digest>&from=<other>`: 201 mounted, 202 an upload.

    Reading the other repository is only desired: who may not still gets an upload.
    """
    target = _query(f"/v2/{name}/blobs/uploads/", mount=digest, from_=from_name)
    return Endpoint("POST", target, frozenset({201, 202}), _push(name), desired=_pull(from_name))


def post_blob(name: str, digest: str) -> Endpoint:
    """end-4b: `POST /v2/<name>/blobs/uploads/?digest=<digest>` with the bytes: 201, or 202 and an upload."""
    target = _query(f"/v2/{name}/blobs/uploads/", digest=digest)
    accepted = frozenset({201, 202})
    return Endpoint("POST", target, accepted, _push(name), Kind.UPLOAD, headers=(_OCTETS,))


def patch_upload(name: str, location: str, *, start: int, length: int) -> Endpoint:
    """end-5: `PATCH <location>` with a chunk. In doubt, ask how far it came.

    Args:
        name: The repository.
        location: The newest location of the upload.
        start: Position of the chunk's first byte.
        length: Bytes of the chunk, at least 1.
    """
    return _patch(name, location, ("Content-Range", chunk_range(start, length)))


def stream_upload(name: str, location: str) -> Endpoint:
    """`PATCH <location>` with the whole blob, as a stream without a range. In doubt, begin again."""
    return _patch(name, location)


def _patch(name: str, location: str, *headers: tuple[str, str]) -> Endpoint:
    return Endpoint(
        "PATCH",
        location,
        _STORED,
        _push(name),
        Kind.UPLOAD,
        repeatable=False,
        unknown=BlobUploadUnknown,
        headers=(_OCTETS, *headers),
    )


def put_upload(name: str, location: str, digest: str) -> Endpoint:
    """end-6: `PUT <location>?digest=<digest>` with the bytes. In doubt, ask what became of it."""
    return Endpoint(
        "PUT",
        with_query(location, "digest", digest),
        _STORED,
        _push(name),
        Kind.UPLOAD,
        repeatable=False,
        unknown=BlobUploadUnknown,
        headers=(_OCTETS,),
    )


def upload_status(name: str, location: str) -> Endpoint:
    """end-13: `GET <location>`: where an upload stands, and its newest location."""
    return Endpoint("GET", location, frozenset({200, 202, 204}), _push(name), unknown=BlobUploadUnknown)


def cancel_upload(name: str, location: str) -> Endpoint:
    """end-14: `DELETE <location>`: give an upload up."""
    return Endpoint("DELETE", location, _DELETED, _push(name), unknown=BlobUploadUnknown)


def list_tags(name: str, *, n: int | None = None, last: str | None = None) -> Endpoint:
    """end-8a, end-8b: `GET /v2/<name>/tags/list`.

    Args:
        name: The repository.
        n: Tags wanted on a page; without it the registry decides.
        last: Start after this tag.
    """
    return Endpoint("GET", _query(f"/v2/{name}/tags/list", n=n, last=last), _OK, _pull(name))


def list_repositories(*, n: int | None = None, last: str | None = None) -> Endpoint:
    """`GET /v2/_catalog`, an extension that distribution brought; many registries refuse it."""
    return Endpoint("GET", _query("/v2/_catalog", n=n, last=last), _OK, "registry:catalog:*")


def list_referrers(name: str, digest: str, *, artifact_type: str | None = None) -> Endpoint:
    """end-12a, end-12b: `GET /v2/<name>/referrers/<digest>`."""
    target = f"/v2/{name}/referrers/{digest}"
    if artifact_type is not None:
        target = f"{target}?artifactType={quote(artifact_type, safe='')}"
    return Endpoint("GET", target, _OK, _pull(name), accept=_MANIFEST_ACCEPT, unknown=ManifestUnknown)


def follow_page(endpoint: Endpoint, target: str) -> Endpoint:
    """Return the endpoint of a listing's next page: the same, at the `Link` that the registry gave."""
    return replace(endpoint, target=target)
