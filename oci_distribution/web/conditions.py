"""What a client holds already, and which part it wants (RFC 9110 sections 13 and 14); all pure."""

from __future__ import annotations

from collections.abc import Mapping

from oci_distribution.spec.headers import names_entity, parse_range

__all__ = ["holds", "wanted_range"]


def holds(headers: Mapping[str, str], etag: str) -> bool:
    """Say whether a client has what `etag` names, by its `If-None-Match`."""
    return names_entity(headers.get("if-none-match", ""), etag)


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
    asked = parse_range(headers.get("range"))
    if asked is None or asked.is_backwards or not size or headers.get("if-range", etag) != etag:
        return None
    return asked.within(size)
