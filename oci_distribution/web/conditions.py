"""What a client holds already, and which part it wants (RFC 9110 sections 13 and 14); all pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["entity_tag", "holds", "wanted_range"]

_ENTITY_TAG = re.compile(r'(?:W/)?("[^"]*+")')
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.ASCII | re.IGNORECASE)


def entity_tag(digest: str) -> str:
    """Return the strong entity tag of content: its digest says all."""
    return f'"{digest}"'


def holds(headers: Mapping[str, str], etag: str) -> bool:
    """Say whether a client has what `etag` names, by its `If-None-Match`."""
    condition = headers.get("if-none-match", "")
    return condition.strip() == "*" or etag in _ENTITY_TAG.findall(condition)


def wanted_range(headers: Mapping[str, str], etag: str, size: int) -> range | None:
    """Return the positions of the bytes that a client asks for; none of them when there are no such bytes.

    Several ranges and malformed ones are ignored, as any server may, and so is a range for the case that
    nothing has changed (`If-Range`) when something has. Of nothing, every range is the whole.

    Args:
        headers: Of the request, by name in lower case.
        etag: Names what there is now.
        size: Its length in bytes.

    Returns:
        None for the whole.
    """
    match = _RANGE.fullmatch(headers.get("range", "").strip())
    if match is None or not size or headers.get("if-range", etag) != etag:
        return None
    first, last = match.groups()
    if first and last and int(last) < int(first):
        return None
    if first:
        return range(int(first), min(int(last) + 1, size) if last else size)
    return range(max(size - int(last), 0), size) if last else None
