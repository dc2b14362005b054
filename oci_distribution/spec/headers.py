"""Headers: what they say, parsed; all pure (distribution specification and the RFCs it stands on)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from oci_distribution.errors import printable
from oci_distribution.spec.mediatypes import is_media_type

__all__ = [
    "DOCKER_CONTENT_DIGEST",
    "ByteRange",
    "ContentRange",
    "Link",
    "chunk_range",
    "entity_tag",
    "names_entity",
    "next_link",
    "parse_chunk_min_length",
    "parse_content_length",
    "parse_content_range",
    "parse_links",
    "parse_list",
    "parse_media_type",
    "parse_range",
    "parse_retry_after",
    "parse_upload_range",
    "parse_warnings",
    "range_header",
]

DOCKER_CONTENT_DIGEST: Final = "Docker-Content-Digest"
"""Names the digest of the content that was answered or stored."""
DOCKER_API_VERSION: Final = "Docker-Distribution-API-Version"
OCI_CHUNK_MIN_LENGTH: Final = "OCI-Chunk-Min-Length"
OCI_FILTERS_APPLIED: Final = "OCI-Filters-Applied"
OCI_SUBJECT: Final = "OCI-Subject"
OCI_TAG: Final = "OCI-Tag"
REQUEST_ID_HEADERS: Final = (
    "X-Request-Id",
    "X-Github-Request-Id",
    "X-Amzn-Requestid",
    "X-Ms-Correlation-Request-Id",
    "X-Amz-Request-Id",
    "X-Ms-Request-Id",
    "X-Guploader-Uploadid",
    "Cf-Ray",
)
"""What servers call a request in their own logs, best first.

Most registries, GHCR, ECR, ACR; then the storage and the proxies that answer for them: S3, Azure, Google,
Cloudflare.
"""

MAX_WARNINGS: Final = 4096
"""Bytes of warnings in one answer, more than which no registry may send."""

MAX_CHUNK_MIN_LENGTH: Final = 1 << 30
"""Largest minimum chunk length that we take seriously, in bytes; a server may not make us buffer more."""


def parse_media_type(value: str | None) -> str | None:
    """Return a `Content-Type` without its parameters, in lower case; None when absent or malformed."""
    kind = (value or "").partition(";")[0].strip().lower()
    return kind if is_media_type(kind) else None


def parse_content_length(value: str | None) -> int | None:
    """Return a `Content-Length` in bytes; None when it is absent or no number."""
    return int(value) if value is not None and re.fullmatch(r"[0-9]{1,18}", value.strip()) else None


def parse_list(value: str | None) -> tuple[str, ...]:
    """Return the items of a comma-separated header, such as `OCI-Filters-Applied`, without white space."""
    return tuple(item.strip() for item in (value or "").split(",") if item.strip())


@dataclass(frozen=True, slots=True)
class ContentRange:
    """A `Content-Range` of bytes: half-open, `start <= position < stop`; `total` is None when it is `*`."""

    start: int
    stop: int
    total: int | None


def parse_content_range(value: str | None) -> ContentRange | None:
    """Parse `bytes 0-99/200` (RFC 9110 section 14.4); None when absent, malformed or unsatisfied."""
    match = re.fullmatch(
        r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", (value or "").strip(), re.ASCII
    )
    if match is None:
        return None
    start, last, total = int(match[1]), int(match[2]), None if match[3] == "*" else int(match[3])
    if last < start or (total is not None and last >= total):
        return None
    return ContentRange(start, last + 1, total)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """One range of a `Range`, inclusive as it is spelled.

    Args:
        first: Position of the first byte; None for the last `last` bytes.
        last: Position of the last byte; None for all that follow.
    """

    first: int | None
    last: int | None

    @property
    def is_backwards(self) -> bool:
        """Whether it ends before it starts: that is malformed, and may be ignored or refused."""
        return self.first is not None and self.last is not None and self.last < self.first

    def within(self, size: int) -> range:
        """Return the positions among so many bytes; none when there are no such bytes."""
        if self.first is None:
            return range(max(size - (self.last or 0), 0), size)
        return range(self.first, size if self.last is None else min(self.last + 1, size))


def parse_range(value: str | None) -> ByteRange | None:
    """Parse `bytes=0-99` (RFC 9110 section 14.2); None when absent, malformed, or several ranges."""
    match = re.fullmatch(
        r"bytes=([0-9]{0,18})-([0-9]{0,18})", (value or "").strip(), re.ASCII | re.IGNORECASE
    )
    if match is None or not any(match.groups()):
        return None
    first, last = (int(position) if position else None for position in match.groups())
    return ByteRange(first, last)


def range_header(start: int, stop: int | None = None) -> str:
    """Return the `Range` for the half-open range of bytes from `start` to `stop`, or to the end."""
    return f"bytes={start}-{'' if stop is None else stop - 1}"


def chunk_range(start: int, length: int) -> str:
    """Return a chunk's `Content-Range`: inclusive, without unit and total ("Pushing a blob in chunks")."""
    return f"{start}-{start + length - 1}"


def parse_upload_range(value: str | None) -> int | None:
    """Return how many bytes an upload holds by its `Range: 0-N`; None when absent or malformed.

    `0-0` is answered for zero bytes and for one (distribution, zot); it is read as zero here,
    so an upload never sends a chunk of one byte that is not the last. `0--1` is Gitea's for zero bytes.
    """
    if value == "0--1":
        return 0
    match = re.fullmatch(r"(?:bytes=)?0-([0-9]{1,18})", (value or "").strip(), re.ASCII)
    if match is None:
        return None
    last = int(match[1])
    return last + 1 if last else 0


def parse_chunk_min_length(value: str | None) -> int:
    """Return an `OCI-Chunk-Min-Length` in bytes, at most 1 GiB; 0 when absent or malformed."""
    length = parse_content_length(value)
    return min(length or 0, MAX_CHUNK_MIN_LENGTH)


def parse_retry_after(value: str | None, *, now: datetime | None = None) -> float | None:
    """Return the seconds of a `Retry-After` in either form (RFC 9110 section 10.2.3); None without one.

    Args:
        value: The header.
        now: The current time with its zone, for the form that is a date.
    """
    text = (value or "").strip()
    if re.fullmatch(r"[0-9]{1,9}(?:\.[0-9]{1,9})?", text, re.ASCII):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())


_ENTITY_TAG = re.compile(r'(W/)?("[^"]*+")')


def entity_tag(digest: str) -> str:
    """Return the strong entity tag of content: its digest says all."""
    return f'"{digest}"'


def names_entity(condition: str, etag: str, *, weak: bool = True) -> bool:
    """Say whether an `If-Match` or `If-None-Match` names what is there (RFC 9110 section 13.1).

    Args:
        condition: A list of entity tags, or `*` for anything.
        etag: The strong entity tag of what is there.
        weak: Whether a weak tag may name it, too.
    """
    if condition.strip() == "*":
        return True
    return any(opaque == etag and (weak or not mark) for mark, opaque in _ENTITY_TAG.findall(condition))


@dataclass(frozen=True, slots=True)
class Link:
    """One link of a `Link` header: its target as spelled, and the relations it stands for, in lower case."""

    target: str
    relations: frozenset[str]


# Possessive throughout: with backtracking, sixty bytes of a hostile header take minutes.
_QUOTED = r'"((?:[^"\\]|\\.)*+)"'
_PARAMETER = re.compile(rf"\s*+;\s*+(?:([^,;\s=\"]++)\s*+(?:=\s*+(?:{_QUOTED}|([^,;\s\"]*+)))?+)?+")
_LINK = re.compile(rf"[\s,]*+<([^>]*+)>((?:{_PARAMETER.pattern})*+)\s*+(?:,|$)")


def parse_links(values: Iterable[str]) -> Iterator[Link]:
    """Parse `Link` headers (RFC 8288): several links, quoted or bare; a value ends where it is malformed."""
    for value in values:
        position = 0
        while match := _LINK.match(value, position):
            yield Link(match[1].strip(), _relations(match[2]))
            position = match.end()


def _relations(parameters: str) -> frozenset[str]:
    for name, quoted, bare in _PARAMETER.findall(parameters):
        if name.lower() == "rel":
            return frozenset((quoted or bare).lower().split())
    return frozenset()


def next_link(values: Iterable[str]) -> str | None:
    """Return the target of the first link with `rel="next"`, as spelled; None when there is none."""
    return next((link.target for link in parse_links(values) if "next" in link.relations), None)


_WARNING = re.compile(rf'[\s,]*+([0-9]{{3}}) +(\S++) +{_QUOTED}(?: +"[^"]*+")?+\s*+(?=,|$)', re.ASCII)


def parse_warnings(values: Iterable[str]) -> tuple[str, ...]:
    """Return what a registry warns of, in one printable line each (specification, "Warnings").

    Only warnings with code 299 and agent `-` are a registry's. Each is returned once; a value ends where it
    is malformed, and all of it where it is longer than a registry may send.
    """
    texts: dict[str, None] = {}
    left = MAX_WARNINGS
    for value in values:
        part, left = value[:left], max(left - len(value), 0)
        position = 0
        while match := _WARNING.match(part, position):
            code, agent, quoted = match.groups()
            text = printable(re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL), MAX_WARNINGS).strip()
            if code == "299" and agent == "-" and text:
                texts[text] = None
            position = match.end()
    return tuple(texts)
