"""Quirks: what real registries do otherwise than the specification says, each with where it was reported.

A quirk wraps handlers: it may look at the request first, refuse it, let the handler answer and change the
answer. The handlers themselves know nothing of quirks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from starlette.responses import Response

from oci_distribution.spec.headers import OCI_SUBJECT, parse_content_length
from oci_distribution.testing.answers import RegistryError
from oci_distribution.testing.calls import Call, Handler
from oci_distribution.testing.listings import list_referrers, list_tags
from oci_distribution.testing.manifests import put_manifest
from oci_distribution.testing.uploads import patch_upload

__all__ = ["Quirk"]

Wrapper: TypeAlias = Callable[[Call, Handler], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Quirk:
    """Something that a registry does otherwise.

    Args:
        what: What it does, in a sentence.
        source: Where that was reported.
        on: Handlers that it changes.
        wrapper: Gets the call and the handler, and returns the answer.
    """

    what: str
    source: str
    on: tuple[Handler, ...]
    wrapper: Wrapper

    def wrap(self, handler: Handler) -> Handler:
        """Return a handler with this quirk; `handler` itself where it is not changed."""

        async def wrapped(call: Call) -> Response:
            return await self.wrapper(call, handler)

        return wrapped


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


def largest_patch(size: int, source: str) -> Quirk:
    """A PATCH with a longer body is refused, with a status that means something else."""

    async def refuse(call: Call, handler: Handler) -> Response:
        if (parse_content_length(call.request.headers.get("content-length")) or 0) > size:
            raise RegistryError(
                416, "REQUESTED_RANGE_NOT_SATISFIABLE", f"at most {size} bytes in one request"
            )
        return await handler(call)

    return Quirk(f"answers 416 to a PATCH of more than {size} bytes", source, (patch_upload,), refuse)


def largest_page(size: int, status: int, code: str, source: str) -> Quirk:
    """A page of tags that is asked for may have at most so many."""

    async def refuse(call: Call, handler: Handler) -> Response:
        if int(call.request.query_params.get("n", "0")) > size:
            raise RegistryError(status, code, f"n is at most {size}")
        return await handler(call)

    return Quirk(f"answers {status} to a page of more than {size} tags", source, (list_tags,), refuse)
