"""Deleting: manifests, tags and blobs (distribution specification, "Content Management")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oci_distribution.errors import BlobUnknown, ManifestUnknown, NotFound, ResponseError, Unsupported
from oci_distribution.remote import manifests, referrers, referrers_index
from oci_distribution.spec import endpoints
from oci_distribution.spec.digest import Digest
from oci_distribution.spec.endpoints import Endpoint
from oci_distribution.spec.reference import check_repository, check_tag
from oci_distribution.transport.answers import SMALL_ANSWER

if TYPE_CHECKING:
    from oci_distribution.remote.registry import Registry

__all__ = ["delete_blob", "delete_manifest", "delete_tag"]


async def delete_blob(registry: Registry, repository: str, digest: str, *, missing_ok: bool) -> bool:
    """Delete a blob; whether it was there."""
    check_repository(repository)
    return await _delete(registry, endpoints.delete_blob(repository, Digest(digest)), missing_ok=missing_ok)


async def delete_tag(registry: Registry, repository: str, tag: str, *, missing_ok: bool) -> bool:
    """Delete a tag, and never what it points at; whether it was there."""
    check_repository(repository)
    return await _delete(
        registry, endpoints.delete_manifest(repository, check_tag(tag)), missing_ok=missing_ok
    )


async def delete_manifest(registry: Registry, repository: str, digest: str, *, missing_ok: bool) -> bool:
    """Delete a manifest; whether it was there. What keeps a list of referrers by hand is told."""
    check_repository(repository)
    checked = Digest(digest)
    subject = await _subject_to_clean(registry, repository, checked)
    deleted = await _delete(registry, endpoints.delete_manifest(repository, checked), missing_ok=missing_ok)
    if subject is not None:
        await referrers_index.remove(registry, repository, subject, checked)
    return deleted


async def _delete(registry: Registry, endpoint: Endpoint, *, missing_ok: bool) -> bool:
    try:
        await registry.ask(endpoint, limit=SMALL_ANSWER)
    except (ManifestUnknown, BlobUnknown) as error:
        # A retry after a lost answer finds nothing any more: the first try did it.
        if missing_ok or error.attempts:
            return False
        raise
    except ResponseError as error:
        # "MUST respond with either a 400 or a 405", whatever its code: GAR says so while there are tags, and
        # distribution 2.8 of a tag that it is no digest. What we name is well-formed: that is checked.
        if error.status == 400:
            raise Unsupported(error.args[0], context=error.context, errors=error.errors) from error
        raise
    return True


async def _subject_to_clean(registry: Registry, repository: str, digest: Digest) -> Digest | None:
    """Return the subject whose list of referrers names this manifest, where there is no API to do it."""
    if registry.learned.referrers_api:
        return None
    try:
        manifest = await manifests.get(registry, repository, digest)
    except NotFound:
        return None
    subject = manifest.subject
    if subject is None or await referrers.has_api(registry, repository, subject.digest):
        return None
    return subject.digest
