"""A request as the rules of strict mode see it, with what its client was told before."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.types import Scope

from oci_distribution.testing.record import RecordedRequest

__all__ = ["Conversation", "Exchange"]

_ENDPOINT = re.compile(
    r"/v2/(?P<name>.+)/(?P<kind>manifests|blobs/uploads|blobs|referrers|tags)/(?P<argument>[^/]*)", re.DOTALL
)
_CHUNK = re.compile(r"([0-9]{1,18})-([0-9]{1,18})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a client was told of an upload, and what it did there that later requests are judged by.

    Args:
        start_length: `Content-Length` of the POST that started it.
        minimum: Least bytes of a chunk that is not the last.
        locations: Every Location that was sent, newest last.
        offset: Bytes that the registry had when it sent the newest.
        had_short_chunk: A chunk had fewer bytes than the minimum, so it was the last.
    """

    start_length: str | None
    minimum: int
    locations: tuple[str, ...] = ()
    offset: int = 0
    had_short_chunk: bool = False


@dataclass(slots=True)
class Exchange:
    """A request as the rules see it.

    Args:
        record: Its record; its status and error are those of the answer.
        kind: Part of the path that says what is asked for, as `blobs/uploads`; empty for other endpoints.
        name: Name of the repository.
        argument: Last part of the path.
        raw_path: Path as it was spelled.
        query: Query as it was spelled.
        headers: Headers, secret ones too.
        parameters: Names and values of the query, decoded.
        conversation: What the client knows of the upload; None when that is not known here.
        upload_size: Bytes that the upload had when the request came.
        body: Body of a pushed manifest.
        is_whole: Whether that is all of it.
        is_judged: Whether the rules have had their say.
    """

    record: RecordedRequest
    kind: str
    name: str
    argument: str
    raw_path: bytes
    query: str
    headers: Headers
    parameters: list[tuple[str, str]]
    conversation: Conversation | None = None
    upload_size: int = 0
    body: bytearray = field(default_factory=bytearray)
    is_whole: bool = False
    is_judged: bool = False

    @classmethod
    def of(cls, record: RecordedRequest, path: str, scope: Scope) -> Exchange:
        """Return what the scope of a request says."""
        slash = "/" if path.endswith("/blobs/uploads") else ""  # without it, too, it starts an upload
        match = _ENDPOINT.fullmatch(path + slash)
        name, kind, argument = match.group("name", "kind", "argument") if match else ("", "", "")
        query = scope["query_string"].decode("latin-1")
        parameters = parse_qsl(query, keep_blank_values=True)
        raw_path = scope.get("raw_path") or b""
        return cls(record, kind, name, argument, raw_path, query, Headers(scope=scope), parameters)

    @property
    def method(self) -> str:
        """HTTP method."""
        return self.record.method

    @property
    def is_upload(self) -> bool:
        """Whether it is about uploads."""
        return self.kind == "blobs/uploads"

    @property
    def is_manifest_push(self) -> bool:
        """Whether it pushes a manifest."""
        return self.kind == "manifests" and self.method == "PUT"

    @property
    def upload_id(self) -> str:
        """Identifier of the upload; empty when there is none yet."""
        return self.argument if self.is_upload else ""

    @property
    def has_body(self) -> bool:
        """Whether its headers announce a body."""
        return "transfer-encoding" in self.headers or self.headers.get("content-length", "0") != "0"

    @property
    def content_range(self) -> str | None:
        """`Content-Range` of a chunk; None when this is none."""
        is_chunk = self.method in {"PATCH", "PUT"} and self.upload_id
        return self.headers.get("content-range") if is_chunk else None

    @property
    def chunk(self) -> tuple[int, int] | None:
        """First byte and length of a chunk; None when this is none, or that is malformed."""
        match = _CHUNK.fullmatch(self.content_range or "")
        if match is None or int(match[2]) < int(match[1]):
            return None
        return int(match[1]), int(match[2]) - int(match[1]) + 1

    @property
    def is_short_chunk(self) -> bool:
        """Whether it is a chunk that may only be the last."""
        return (
            self.chunk is not None
            and self.conversation is not None
            and self.chunk[1] < self.conversation.minimum
        )

    def values(self, name: str) -> Iterator[str]:
        """Return the values of a query parameter."""
        return (value for key, value in self.parameters if key == name)

    def has(self, name: str) -> bool:
        """Say whether there is a query parameter."""
        return any(True for _ in self.values(name))

    def digests(self) -> Iterator[str]:
        """Return everything that has to be a digest."""
        if self.kind in {"blobs", "referrers"} or (self.kind == "manifests" and ":" in self.argument):
            yield self.argument
        if self.is_upload:
            yield from self.values("digest")
            yield from self.values("mount")

    def tags(self) -> Iterator[str]:
        """Return everything that has to be a tag."""
        if self.kind == "manifests":
            if ":" not in self.argument:
                yield self.argument
            yield from self.values("tag")
