"""Listings: pages behind an async iterator. A page is read and closed before anything is yielded from it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Final

from oci_distribution.errors import InvalidArgument, LimitExceeded, ProtocolError, ResponseError
from oci_distribution.spec.endpoints import Endpoint, follow_page
from oci_distribution.spec.headers import next_link
from oci_distribution.spec.urls import resolve_url, same_origin
from oci_distribution.transport.answers import Answer
from oci_distribution.transport.calls import Host
from oci_distribution.transport.sender import Sender

__all__ = ["check_page_size", "names", "pages"]

MAX_PAGES: Final = 100_000
"""Pages of one listing (oras-go had to learn it: a hostile registry never stops)."""
MAX_PAGE: Final = 64 << 20
"""Bytes of one page: Google's registries answer everything at once."""


_SMALLER = 100
"""Items on a page that every registry allows: Quay has no longer ones (413), v3.1 of distribution and ECR
refuse more than 1000 (400, 405)."""
_TOO_MANY = frozenset({400, 405, 413})


def check_page_size(page_size: int | None) -> None:
    """Refuse a page of nothing.

    Raises:
        InvalidArgument: The size is less than 1.
    """
    if page_size is not None and page_size < 1:
        raise InvalidArgument(f"a page has at least one item, not {page_size}")


async def names(
    sender: Sender,
    host: Host,
    make: Callable[[int | None, str | None], Endpoint],
    read: Callable[[Answer], Sequence[str]],
    *,
    page_size: int | None,
    last: str | None,
) -> AsyncGenerator[str]:
    """Iterate over names that come in pages.

    Args:
        sender: Sends the requests.
        host: The registry.
        make: Returns the endpoint for a page size and the name to start after.
        read: Returns the names on a page.
        page_size: Names wanted on a page; None for what the registry likes.
        last: Start after this name.
    """
    while True:
        newest = last
        async with aclosing(_sized_pages(sender, host, make, page_size, last)) as answers:
            async for answer in answers:
                for name in _after(last, read(answer)):
                    newest = name
                    yield name
        if not host.profile.pages_without_link or newest == last:
            return
        last = newest


def _after(last: str | None, page: Sequence[str]) -> Sequence[str]:
    """Leave out what comes before the name to start after: not every registry takes notice of it."""
    return page[page.index(last) + 1 :] if last is not None and last in page else page


async def _sized_pages(
    sender: Sender,
    host: Host,
    make: Callable[[int | None, str | None], Endpoint],
    page_size: int | None,
    last: str | None,
) -> AsyncGenerator[Answer]:
    """Fetch pages; where their size is refused, smaller ones, and at last such as the registry likes."""
    if page_size is not None and host.profile.max_page is not None:
        page_size = min(page_size, host.profile.max_page)
    sizes = [page_size, _SMALLER, None] if (page_size or 0) > _SMALLER else [page_size, None]
    for size in sizes:
        is_first = True
        try:
            async with aclosing(pages(sender, host, make(size, last))) as answers:
                async for answer in answers:
                    is_first = False
                    yield answer
        except ResponseError as error:
            if not is_first or size is None or error.status not in _TOO_MANY:
                raise
        else:
            return


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
