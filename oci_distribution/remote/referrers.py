"""Referrers: by the API where there is one, else by the tag that stands for it.

(Distribution specification, "Listing Referrers" and "Referrers Tag Schema".)
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from oci_distribution.errors import (
    ContentError,
    NameUnknown,
    NotFound,
    ProtocolError,
    ResponseError,
)
from oci_distribution.remote import manifests
from oci_distribution.remote.listings import pages
from oci_distribution.spec import endpoints
from oci_distribution.spec.digest import Digest
from oci_distribution.spec.headers import parse_media_type
from oci_distribution.spec.manifest import Manifest
from oci_distribution.spec.mediatypes import MediaType
from oci_distribution.spec.models import Descriptor, ImageIndex
from oci_distribution.spec.reference import check_repository
from oci_distribution.transport.answers import Answer

if TYPE_CHECKING:
    from oci_distribution.remote.registry import Registry

__all__ = ["fallback_tag", "has_api", "list_all", "referrers_index"]

_LOGGER = logging.getLogger(__name__)

# What registries without the API answer to it; a refusal (401, 403) or a failure means no such thing.
_NO_API: Final = frozenset({400, 404, 405, 406, 501})
_MAX_PAGE: Final = 4 << 20
"""Bytes of one page: it is an index, and those have the limit of manifests."""


def fallback_tag(digest: Digest) -> str:
    """Return the tag that stands for the referrers of a manifest ("Referrers Tag Schema")."""
    # Cut first, which is the same and simpler: at most 32 and 64 characters, or a sha512 would be no tag.
    text = f"{digest.algorithm[:32]}-{digest.encoded[:64]}"
    return re.sub(r"[^A-Za-z0-9._-]", "-", text)


async def list_all(
    registry: Registry, repository: str, subject: Digest, artifact_type: str | None
) -> AsyncGenerator[Descriptor]:
    """Iterate over the referrers of a manifest, page by page."""
    check_repository(repository)
    if not _lacks_api(registry):
        async with aclosing(_api_pages(registry, repository, subject, artifact_type)) as found:
            async for page in found:
                for descriptor in _chosen(page, artifact_type):
                    yield descriptor
    if _lacks_api(registry):
        for descriptor in _chosen(await _tagged(registry, repository, subject), artifact_type):
            yield descriptor


def _lacks_api(registry: Registry) -> bool:
    return registry.learned.referrers_api is False


def _chosen(descriptors: Sequence[Descriptor], artifact_type: str | None) -> list[Descriptor]:
    """Filter, whatever the registry has filtered: `OCI-Filters-Applied` only saves it the way."""
    return [
        descriptor
        for descriptor in descriptors
        if artifact_type is None or descriptor.artifact_type == artifact_type
    ]


async def _api_pages(
    registry: Registry, repository: str, subject: Digest, artifact_type: str | None
) -> AsyncGenerator[Sequence[Descriptor]]:
    """Fetch pages from the API; none, and a note of it, where there is no such thing."""
    endpoint = endpoints.list_referrers(repository, subject, artifact_type=artifact_type)
    is_first = True
    try:
        async with aclosing(pages(registry.sender, registry.host, endpoint, limit=_MAX_PAGE)) as answers:
            async for answer in answers:
                page = _page(answer, is_first=is_first)
                if page is None and registry.learned.referrers_api:
                    raise ProtocolError("the answer is no list of referrers", context=answer.context)
                if page is None:
                    registry.learned.referrers_api = False
                    return
                registry.learned.referrers_api, is_first = True, False
                yield page
    except NameUnknown:
        # The repository is not there, so nothing refers to anything in it; and the API may well be.
        return
    except ResponseError as error:
        if error.status not in _NO_API:
            raise
        if registry.learned.referrers_api:
            # A proxy's 404, which must not hide signatures: not here, and not as "not found" from our caller.
            message = f"the referrers API, which was there before, is answered with {error.status}"
            raise ProtocolError(message, context=error.context) from error
        registry.learned.referrers_api = False


def _page(answer: Answer, *, is_first: bool) -> Sequence[Descriptor] | None:
    """Return a page; None when it is none, as from a proxy that answers 200 to everything."""
    media_type = parse_media_type(answer.headers.get("Content-Type"))
    if is_first and media_type != MediaType.IMAGE_INDEX:
        return None
    try:
        content = Manifest.parse(answer.content, media_type).content
    except ContentError as error:
        error.about(answer.context)
        raise
    return content.manifests if isinstance(content, ImageIndex) else None


async def _tagged(registry: Registry, repository: str, subject: Digest) -> Sequence[Descriptor]:
    index = await referrers_index(registry, repository, subject)
    return () if index is None else index.children


async def referrers_index(registry: Registry, repository: str, subject: Digest) -> Manifest | None:
    """Return the index that the tag schema keeps; None where there is none."""
    try:
        manifest = await manifests.get(registry, repository, fallback_tag(subject))
    except NotFound:
        return None
    # GitLab takes `sha256-<hex>` for the digest itself, and answers the subject (oras-go#1396).
    if manifest.digest != subject and isinstance(manifest.content, ImageIndex):
        return manifest
    if manifest.digest != subject:
        _LOGGER.warning("tag %s of %s is no index of referrers", fallback_tag(subject), repository)
    return None


async def has_api(registry: Registry, repository: str, subject: Digest) -> bool:
    """Say whether a registry has a referrers API, by asking for the referrers of `subject` if need be."""
    if registry.learned.referrers_api is None:
        async with aclosing(_api_pages(registry, repository, subject, None)) as found:
            await anext(found, None)
    return registry.learned.referrers_api is True
