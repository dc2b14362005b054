"""Lists: tags, repositories, referrers (distribution specification, "Content Discovery")."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from oci_distribution.spec.headers import OCI_FILTERS_APPLIED
from oci_distribution.spec.mediatypes import MediaType
from oci_distribution.spec.models import Descriptor
from oci_distribution.testing.answers import RegistryError, json_response
from oci_distribution.testing.calls import Call, root_path, route_path

__all__ = ["list_referrers", "list_repositories", "list_tags"]

_MAX_DIGITS = 18
"""Of a number that a client sends; Python refuses to read endless ones."""
_MAX_PAGE_SIZE = 3 << 20
"""Bytes of descriptors on a page of referrers: clients read no index of more than 4 MiB."""


async def list_tags(call: Call) -> Response:
    """end-8a, end-8b: `GET /v2/<name>/tags/list`."""
    page, headers = _page(call, call.repository().tags())
    return json_response({"name": call.name, "tags": page}, headers=headers)


async def list_repositories(call: Call) -> Response:
    """`GET /v2/_catalog`, an extension that distribution brought."""
    page, headers = _page(call, call.app.storage.names())
    return json_response({"repositories": page}, headers=headers)


def _page(call: Call, items: Sequence[str]) -> tuple[Sequence[str], dict[str, str]]:
    """Cut the page out of sorted items that `n` and `last` ask for, and link to the next one."""
    request = call.request
    limit = _limit(request.query_params.get("n"), call.app.page_size)
    start = bisect_right(items, request.query_params["last"]) if "last" in request.query_params else 0
    page = items[start : start + limit]
    if not page or start + limit >= len(items):
        return page, {}
    return page, {"Link": _link_to_next(call, {"n": str(limit), "last": page[-1]})}


def _limit(text: str | None, page_size: int) -> int:
    if text is None:
        return page_size
    if not text.isascii() or not text.isdigit() or len(text) > _MAX_DIGITS:
        raise RegistryError(400, "UNSUPPORTED", "n is not a number of items", detail={"n": text[:40]})
    return min(int(text), page_size)


async def list_referrers(call: Call) -> Response:
    """end-12a, end-12b: `GET /v2/<name>/referrers/<digest>`: never 404, except where it is switched off."""
    if not call.app.referrers:
        raise RegistryError(404, "UNSUPPORTED", "this registry has no referrers API")
    digest, repository = call.digest(), call.app.storage.find(call.name)
    manifests = [] if repository is None else repository.referrers(digest)
    query = call.request.query_params
    headers: dict[str, str] = {}
    if "artifactType" in query:
        manifests = [entry for entry in manifests if entry.artifact_type == query["artifactType"]]
        headers[OCI_FILTERS_APPLIED] = "artifactType"
    # In the order of digests, so that a page goes on after its last one, whatever came or went meanwhile.
    manifests = sorted(manifests, key=attrgetter("digest"))
    manifests = manifests[bisect_right(manifests, query.get("last", ""), key=attrgetter("digest")) :]
    page = _page_of_referrers(manifests, call.app.page_size)
    if len(page) < len(manifests):
        headers["Link"] = _link_to_next(call, dict(query) | {"last": page[-1]["digest"]})
    index = {"schemaVersion": 2, "mediaType": MediaType.IMAGE_INDEX, "manifests": page}
    return json_response(index, headers=headers, media_type=MediaType.IMAGE_INDEX)


def _page_of_referrers(manifests: Sequence[Descriptor], limit: int) -> list[dict[str, Any]]:
    """Return what fits on a page, in number and in bytes, but one at least."""
    page: list[dict[str, Any]] = []
    size = 0
    for descriptor in manifests[:limit]:
        document = descriptor.dump()
        size += len(json.dumps(document))
        if page and size > _MAX_PAGE_SIZE:
            break
        page.append(document)
    return page


def _link_to_next(call: Call, query: dict[str, str]) -> str:
    path = root_path(call.request) + route_path(call.request)
    return f'<{path}?{urlencode(query, safe="/:")}>; rel="next"'
