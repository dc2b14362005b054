"""The rules of strict mode: what clients must not do, each with the section that says so.

Most are a MUST, a MUST NOT or a grammar. Those that cite a SHOULD are there because real registries insist on
them: an upload whose Location was changed, for instance, ends there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ValidationError

from oci_distribution.errors import InvalidDigest, InvalidReference
from oci_distribution.spec.digest import Digest
from oci_distribution.spec.headers import parse_content_length, parse_media_type
from oci_distribution.spec.reference import MAX_NAME_LENGTH, check_repository, check_tag
from oci_distribution.testing.exchange import Exchange

__all__ = ["RULES", "Rule"]

_DIGEST = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+")
_REGISTERED = ("sha256:", "sha512:")
_SPEC = r"(?:[0-9]+-[0-9]*|-[0-9]+)"
_BYTE_RANGES = re.compile(rf"bytes=[ \t]*{_SPEC}(?:[ \t]*,[ \t]*{_SPEC})*", re.IGNORECASE)
_OTHER_RANGES = re.compile(r"(?!bytes=)[!#$%&'*+.^_`|~0-9A-Za-z-]+=[\x21-\x7e]+", re.IGNORECASE)
_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_ENTITY_TAGS = re.compile(rf"\*|{_TAG}(?:[ \t]*,[ \t]*{_TAG})*")


class Rule(NamedTuple):
    """A rule: its name, where it is written, and what says what is wrong with a request, if anything is."""

    name: str
    section: str
    check: Callable[[Exchange], str | None]


def _no_content(exchange: Exchange) -> str | None:
    if exchange.method in {"GET", "HEAD", "DELETE"} and exchange.has_body:
        return f"{exchange.method} has a body"
    return None


def _range(exchange: Exchange) -> str | None:
    text = exchange.headers.get("range")
    if text is None or _OTHER_RANGES.fullmatch(text):
        return None
    if _BYTE_RANGES.fullmatch(text) is None:
        return f"the Range {text!r} is malformed"
    ends = re.findall(r"([0-9]+)-([0-9]+)", text)
    is_backwards = any(_magnitude(last) < _magnitude(first) for first, last in ends)
    return f"the Range {text!r} ends before it starts" if is_backwards else None


def _magnitude(digits: str) -> tuple[int, str]:
    """Return what numbers are compared by: Python refuses to read endless ones."""
    significant = digits.lstrip("0")
    return len(significant), significant


def _if_range(exchange: Exchange) -> str | None:
    text = exchange.headers.get("if-range")
    if text is None:
        return None
    if "range" not in exchange.headers:
        return "If-Range without Range"
    return "If-Range has a weak entity tag" if text.startswith("W/") else None


def _entity_tags(exchange: Exchange) -> str | None:
    for name in ("If-Match", "If-None-Match"):
        text = ", ".join(exchange.headers.getlist(name))
        if text and _ENTITY_TAGS.fullmatch(text) is None:
            return f"{name}: {text} is no list of quoted entity tags"
    return None


def _name(exchange: Exchange) -> str | None:
    if b"%2f" in exchange.raw_path.lower():
        return "a slash of the path is encoded"
    names = [exchange.name] if exchange.kind else []
    names += exchange.values("from") if exchange.is_upload else ()
    for name in names:
        if len(name) <= MAX_NAME_LENGTH:  # longer ones are only unwise
            try:
                check_repository(name)
            except InvalidReference as error:
                return str(error)
    return None


def _tag(exchange: Exchange) -> str | None:
    for tag in exchange.tags():
        try:
            check_tag(tag)
        except InvalidReference as error:
            return str(error)
    return None


def _digest(exchange: Exchange) -> str | None:
    for digest in exchange.digests():
        try:
            Digest(digest)
        except InvalidDigest as error:
            # An algorithm that we do not know is no mistake.
            if digest.startswith(_REGISTERED) or _DIGEST.fullmatch(digest) is None:
                return str(error)
    return None


def _page_size(exchange: Exchange) -> str | None:
    if exchange.kind == "tags":
        for text in exchange.values("n"):
            if re.fullmatch("[0-9]+", text) is None:
                return f"n is {text!r}, and no number"
    return None


def _start(exchange: Exchange) -> str | None:
    is_start = exchange.is_upload and exchange.method == "POST" and not exchange.has("digest")
    return "a POST without digest has a body" if is_start and exchange.has_body else None


def _start_length(exchange: Exchange) -> str | None:
    conversation, chunk = exchange.conversation, exchange.chunk
    if conversation is None or chunk is None or chunk[0] != 0 or conversation.start_length == "0":
        return None
    return "the POST that started this upload in chunks had no Content-Length: 0"


def _single_post(exchange: Exchange) -> str | None:
    is_push = exchange.is_upload and exchange.method == "POST" and exchange.has("digest")
    is_open = "content-length" not in exchange.headers
    return "a POST with digest has no Content-Length" if is_push and is_open else None


def _location(exchange: Exchange) -> str | None:
    conversation, method = exchange.conversation, exchange.method
    if conversation is None or method not in {"GET", "PATCH", "PUT", "DELETE"}:
        return None
    # An answer that was sent may be lost on its way: to ask where it stands, or to give up, any will do.
    usable = conversation.locations[-1:] if method in {"PATCH", "PUT"} else conversation.locations
    if any(_goes_to(exchange, location) for location in usable):
        return None
    if any(_goes_to(exchange, location) for location in conversation.locations):
        return "this Location is old: a later answer had another"
    return "this is not the Location that an answer had: its path or a part of its query is not there"


def _goes_to(exchange: Exchange, location: str) -> bool:
    parts = urlsplit(location)
    query = set(parts.query.split("&")) - {""}
    return unquote(parts.path) == exchange.record.path and query <= set(exchange.query.split("&"))


def _chunk_form(exchange: Exchange) -> str | None:
    text = exchange.content_range
    if text is None or exchange.chunk is not None:
        return None
    return f"the Content-Range {text!r} is not <first>-<last>"


def _chunk_length(exchange: Exchange) -> str | None:
    if exchange.content_range is None:
        return None
    if "content-length" not in exchange.headers:
        return "a chunk has no Content-Length"
    length = parse_content_length(exchange.headers["content-length"])
    if exchange.chunk is None or exchange.chunk[1] == length:
        return None
    return (
        f"Content-Range {exchange.content_range} is of {exchange.chunk[1]} bytes, Content-Length of {length}"
    )


def _chunk_order(exchange: Exchange) -> str | None:
    conversation, chunk = exchange.conversation, exchange.chunk
    # After an answer that was lost, the client knows of less than is there.
    if conversation is None or chunk is None or chunk[0] in {conversation.offset, exchange.upload_size}:
        return None
    what = "the chunk" if conversation.offset else "the first chunk"
    return f"{what} starts at {chunk[0]}, not at {conversation.offset}"


def _chunk_minimum(exchange: Exchange) -> str | None:
    conversation = exchange.conversation
    if conversation is None or not conversation.had_short_chunk or exchange.content_range is None:
        return None
    return f"the chunk before this one had fewer bytes than OCI-Chunk-Min-Length: {conversation.minimum}"


def _closing(exchange: Exchange) -> str | None:
    is_closing = exchange.method == "PUT" and exchange.upload_id
    return "a PUT to an upload has no digest" if is_closing and not exchange.has("digest") else None


def _content(exchange: Exchange) -> str | None:
    """Other digests that the registry refuses are malformed, or of an algorithm that it does not know."""
    if exchange.record.error != "DIGEST_INVALID" or exchange.method not in {"POST", "PUT"}:
        return None
    digests = list(exchange.digests())
    try:
        for digest in digests:
            Digest(digest)
    except InvalidDigest:
        return None
    return f"the digest is not the content's: {digests[0]}" if digests else None


def _manifest_type(exchange: Exchange) -> str | None:
    if not exchange.is_manifest_push:
        return None
    sent = parse_media_type(exchange.headers.get("content-type"))
    if sent is None:
        return "a manifest has no Content-Type"
    declared = _declared_type(exchange)
    if declared is None or parse_media_type(declared) == sent:
        return None
    return f"the Content-Type is {sent}, the manifest's mediaType {declared}"


class _Document(BaseModel):
    mediaType: str  # noqa: N815 (as the manifest spells it)


def _declared_type(exchange: Exchange) -> str | None:
    if not exchange.is_whole:
        return None
    try:
        return _Document.model_validate_json(bytes(exchange.body)).mediaType
    except ValidationError:
        return None  # what is wrong with it is no business of the distribution specification


def _of(title: str, level: str = "") -> str:
    return f'distribution-spec "{title}"{level}'


_SHOULD = " (SHOULD)"
_CHUNKS = "Pushing a blob in chunks"

RULES: tuple[Rule, ...] = (
    Rule("no-content", "RFC 9110 sections 9.3.1, 9.3.2, 9.3.5 (SHOULD NOT)", _no_content),
    Rule("range", "RFC 9110 section 14.1", _range),
    Rule("if-range", "RFC 9110 section 13.1.5", _if_range),
    Rule("entity-tag", "RFC 9110 sections 8.8.3, 13.1", _entity_tags),
    Rule("name", _of("Pulling manifests"), _name),
    Rule("tag", _of("Pulling manifests"), _tag),
    Rule("digest", _of("Pulling blobs") + ' and image-spec "Digests"', _digest),
    Rule("page-size", _of("Listing Tags"), _page_size),
    Rule("upload-start", _of("POST then PUT"), _start),
    Rule("upload-start-length", _of(_CHUNKS), _start_length),
    Rule("single-post-length", _of("Single POST"), _single_post),
    Rule("upload-location", _of("POST then PUT", _SHOULD), _location),
    Rule("chunk-range", _of(_CHUNKS), _chunk_form),
    Rule("chunk-length", _of(_CHUNKS), _chunk_length),
    Rule("chunk-order", _of(_CHUNKS), _chunk_order),
    Rule("chunk-minimum", _of(_CHUNKS, _SHOULD), _chunk_minimum),
    Rule("upload-digest", _of(_CHUNKS), _closing),
    Rule("content-digest", _of("Single POST"), _content),
    Rule("manifest-type", _of("Pushing Manifests"), _manifest_type),
)
"""Every rule of strict mode."""
