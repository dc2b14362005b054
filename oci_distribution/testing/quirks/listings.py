"""Quirks of listing tags and repositories."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response

from oci_distribution.testing.answers import RegistryError, json_response
from oci_distribution.testing.calls import Call, Handler
from oci_distribution.testing.listings import list_repositories, list_tags
from oci_distribution.testing.quirks.quirk import Quirk, with_parameter


def largest_page(size: int, status: int, code: str, source: str) -> Quirk:
    """A page of tags that is asked for may have at most so many."""

    async def quirk(call: Call, handler: Handler) -> Response:
        if _wanted(call) > size:
            raise RegistryError(status, code, f"n is at most {size}", detail={"n": _wanted(call)})
        return await handler(call)

    return Quirk(f"answers {status} to a page of more than {size} tags", source, (list_tags,), quirk)


def always_pages(size: int, source: str) -> Quirk:
    """A client that asks for no page size gets pages, too."""

    async def quirk(call: Call, handler: Handler) -> Response:
        return await handler(
            call if "n" in call.request.query_params else with_parameter(call, "n", str(size))
        )

    return Quirk(f"lists tags in pages of {size} when no size is asked for", source, (list_tags,), quirk)


def tags_with_null(source: str) -> Quirk:
    """The list of tags begins with one that is null."""

    async def quirk(call: Call, handler: Handler) -> Response:
        response = await handler(call)
        return _with_tags(response, [None, *_tags(response)])

    return Quirk("has a null among the tags", source, (list_tags,), quirk)


def tags_with_digests(source: str) -> Quirk:
    """The list of tags has digests, too."""

    async def quirk(call: Call, handler: Handler) -> Response:
        response = await handler(call)
        return _with_tags(
            response, [*_tags(response), *(entry.digest for entry in call.repository().manifests())]
        )

    return Quirk("has digests among the tags", source, (list_tags,), quirk)


def tags_with_manifests(source: str) -> Quirk:
    """All tags come at once, whatever page is asked for, with everything about their manifests."""

    async def quirk(call: Call, handler: Handler) -> Response:
        del handler
        repository = call.repository()
        manifests = {
            entry.digest: {
                "imageSizeBytes": str(entry.size),
                "layerId": "",
                "mediaType": entry.media_type,
                "tag": repository.tags_of(entry.digest),
                "timeCreatedMs": "0",
                "timeUploadedMs": "1700000000000",
            }
            for entry in repository.manifests()
        }
        tags = list(repository.tags())
        return json_response({"child": [], "manifest": manifests, "name": call.name, "tags": tags})

    what = "lists all tags at once, whatever `n` says, with `child` and `manifest` besides"
    return Quirk(what, source, (list_tags,), quirk)


def no_catalog(source: str) -> Quirk:
    """Nobody may list repositories."""

    async def quirk(call: Call, handler: Handler) -> Response:
        del call, handler
        detail = [{"Type": "registry", "Class": "", "Name": "catalog", "Action": "*"}]
        raise RegistryError(401, "UNAUTHORIZED", "authentication required", detail=detail)

    return Quirk("answers 401 to the catalog, whoever asks", source, (list_repositories,), quirk)


def _wanted(call: Call) -> int:
    """Return `n`; 0 for none, and for what the handler will refuse."""
    text = call.request.query_params.get("n", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0


def _tags(response: Response) -> list[Any]:
    tags: list[Any] = json.loads(bytes(response.body))["tags"]
    return tags


def _with_tags(response: Response, tags: list[Any]) -> Response:
    document = json.loads(bytes(response.body)) | {"tags": tags}
    headers = {"Link": response.headers["Link"]} if "Link" in response.headers else None
    return json_response(document, headers=headers)
