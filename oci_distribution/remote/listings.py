"""Listings: pages behind an async iterator. A page is read and closed before anything is yielded from it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

from oci_distribution.errors import LimitExceeded, ProtocolError
from oci_distribution.spec.endpoints import Endpoint, follow_page
from oci_distribution.spec.headers import next_link
from oci_distribution.spec.urls import resolve_url, same_origin
from oci_distribution.transport.answers import Answer
from oci_distribution.transport.calls import Host
from oci_distribution.transport.sender import Sender

__all__ = ["pages"]

MAX_PAGES: Final = 100_000
"""Pages of one listing (oras-go had to learn it: a hostile registry never stops)."""
MAX_PAGE: Final = 64 << 20
"""Bytes of one page: Google's registries answer everything at once."""


async def pages(
    sender: Sender, host: Host, endpoint: Endpoint, *, limit: int = MAX_PAGE
) -> AsyncGenerator[Answer]:
    """Fetch a listing page by page, along the `Link` that each gives.

    Args:
        sender: Sends the requests.
        host: The registry.
        endpoint: Asks for the first page.
        limit: Longest page to take in, in bytes.

    Raises:
        ProtocolError: A link leads to another origin, or to a page that was there before.
        LimitExceeded: There is no end.
    """
    seen = {host.url(endpoint.target)}
    for _ in range(MAX_PAGES):
        answer = await sender.request(host, endpoint, limit=limit)
        target = _next_page(answer)
        yield answer
        if target is None:
            return
        if target in seen:
            raise ProtocolError(
                "the listing leads back to a page that was there before", context=answer.context
            )
        seen.add(target)
        endpoint = follow_page(endpoint, target)
    raise LimitExceeded(f"the listing has more than {MAX_PAGES} pages")


def _next_page(answer: Answer) -> str | None:
    link = next_link(answer.headers.get_list("Link"))
    if link is None:
        return None
    try:
        target = resolve_url(answer.url, link)
    except ValueError as error:
        raise ProtocolError(f"the listing has a bad Link: {error}", context=answer.context) from None
    # Not even anonymously: a page elsewhere is no page of this registry (GHSA-h7vf-4x9w-h99v).
    if not same_origin(answer.url, target):
        raise ProtocolError("the listing's next page is on another origin", context=answer.context)
    return target
