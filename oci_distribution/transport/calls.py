"""Calls: one request on its way, and what a redirect or a retry changes of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol, TypeAlias

import httpx

from oci_distribution.auth.credentials import Unpicklable
from oci_distribution.errors import RequestContext, redact_url
from oci_distribution.spec.endpoints import Endpoint, Kind, repository_of
from oci_distribution.spec.urls import Origin
from oci_distribution.transport.metering import ByteCap
from oci_distribution.transport.pacing import Limits, Slots
from oci_distribution.transport.profiles import SPECIFICATION, RegistryProfile

if TYPE_CHECKING:
    from oci_distribution.transport.watch import Watch

__all__ = [
    "Body",
    "BodyStream",
    "Call",
    "HeaderList",
    "Host",
    "MirrorHost",
    "Timeouts",
    "changed_by_httpx",
    "parsed_url",
    "split_url",
]

HeaderList: TypeAlias = Sequence[tuple[str, str]]


class Body(Protocol):
    """A request's body: its exact length, and a way to open it again for a retry."""

    @property
    def size(self) -> int:
        """Length in bytes."""
        ...

    def open(self, offset: int = 0) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open the bytes from `offset` on."""
        ...


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a host may stay silent, and how long all of it may take, in seconds.

    Args:
        connect: Until a connection stands, TLS included.
        read: Between two pieces of an answer, and before its first.
        write: Between two pieces of a body that the host takes.
        commit: Before the answer to an upload, while the host stores what it got.
        minimum_rate: Bytes a second that a blob must come with, or its connection is replaced. The default
            is less than any line gives that is not broken; 0 for no minimum.
        rate_window: How long that is measured, in seconds.
        total: For one operation: a request with all that it takes, retries and waits included, and its answer
            to the last byte; a blob that is read, or pushed, to its end. None for no limit, as nobody knows
            how long a transfer takes.
    """

    connect: float = 10.0
    read: float = 60.0
    write: float = 60.0
    commit: float = 300.0
    minimum_rate: float = 1024.0
    rate_window: float = 60.0
    total: float | None = None

    def __post_init__(self) -> None:
        """Refuse limits that nothing could keep."""
        patience: tuple[float, ...] = (self.connect, self.read, self.write, self.commit, self.rate_window)
        if self.total is not None:
            patience += (self.total,)
        if not all(seconds > 0 for seconds in patience) or not self.minimum_rate >= 0:
            msg = "every time of Timeouts must be more than 0, and minimum_rate not less"
            raise ValueError(msg)

    def of(self, kind: Kind) -> dict[str, float | None]:
        """Return the `timeout` extension of a request."""
        read = self.commit if kind is Kind.UPLOAD else self.read
        return {"connect": self.connect, "read": read, "write": self.write, "pool": None}


@dataclass(frozen=True, slots=True)
class Host(Unpicklable):
    """A registry to send to.

    Args:
        registry: Its canonical name, which credentials are stored under.
        origin: Where it answers.
        mirrors: Other hosts with its content, in the order in which they are asked.
        profile: What it is known to do.
        headers: Sent with each request to it, and to nobody else, in the place of the sender's of that name.
        timeouts: How long it may stay silent; None for the sender's.
        slots: How many requests it gets at once; None for the sender's.
        limits: How fast it is talked to; None for what holds for every host.

    Two are equal when they are the same place: blobs can be mounted between them.
    """

    registry: str
    origin: Origin
    mirrors: tuple[MirrorHost, ...] = field(default=(), compare=False)
    profile: RegistryProfile = field(default=SPECIFICATION, compare=False)
    headers: HeaderList = field(default=(), compare=False, repr=False)
    timeouts: Timeouts | None = field(default=None, compare=False)
    slots: Slots | None = field(default=None, compare=False)
    limits: Limits | None = field(default=None, compare=False)

    def url(self, target: str) -> str:
        """Return the absolute URL of an endpoint's target."""
        return f"{_root(self.origin)}{target}" if target.startswith("/") else target


@dataclass(frozen=True, slots=True)
class MirrorHost:
    """A host with the content of another.

    Args:
        host: Where it answers.
        prefix: Comes before the names of repositories there; empty for none.
        tags: Whether it is trusted to say what a tag points at, and not only with content by digest.
    """

    host: Host
    prefix: str = ""
    tags: bool = False

    def name_of(self, repository: str) -> str:
        """Return what a repository is called at the mirror."""
        return f"{self.prefix}/{repository}" if self.prefix else repository


# What may travel to another origin: the rest (a user's own headers) may be a secret of the registry's.
_HARMLESS_HEADERS = frozenset({"accept", "accept-encoding", "range", "if-range", "content-type"})


@dataclass(frozen=True, slots=True, repr=False)
class Call:
    """One request on its way: what stays the same over redirects and retries, and what does not."""

    host: Host
    endpoint: Endpoint
    url: str
    headers: HeaderList
    body: Body | bytes | None
    attempt: int = 1
    is_home: bool = True
    """Whether it goes to the registry itself, for what we asked for: only then it may be authorised."""
    sent_by: Origin | None = None
    """The registry that named this token server; None where `host` is the registry."""
    watch: Watch | None = None
    """Tells what becomes of it; None when nobody listens."""

    def sent_to(self, url: str) -> Call:
        """Return the same request at a place that the registry named."""
        name, asked = repository_of(url), repository_of(self.endpoint.target)
        # A credential may be for one repository: none goes along to another (oras-go#1430).
        is_home = Origin.of(url) == self.host.origin and (name is None or asked is None or name == asked)
        return replace(self, url=url, is_home=is_home)

    def without_header(self, name: str) -> Call:
        """Return the same request without a header, whose name is in lower case."""
        return replace(self, headers=[header for header in self.headers if header[0].lower() != name])

    def headers_to_send(self, authorization: str | None) -> HeaderList:
        """Return the headers that may go where it goes, `Authorization` with this value among them."""
        if not self.is_home:
            return [header for header in self.headers if header[0].lower() in _HARMLESS_HEADERS]
        return self.headers if authorization is None else [*self.headers, ("Authorization", authorization)]

    @property
    def context(self) -> RequestContext:
        """Which request it is, for errors and events."""
        return RequestContext(self.endpoint.method, redact_url(self.url), self.host.registry)

    def __repr__(self) -> str:
        return f"<Call of {self.endpoint.method} {redact_url(self.url)}, attempt {self.attempt}>"


class BodyStream(httpx.AsyncByteStream):
    """A body on its way: opened already, and opened again when httpx's own auth sends it again."""

    def __init__(
        self,
        body: Body,
        opened: AsyncIterator[bytes],
        stack: AsyncExitStack,
        cap: ByteCap | None = None,
    ) -> None:
        self._cap = cap
        self._body = body
        self._opened: AsyncIterator[bytes] | None = opened
        self._stack = stack
        self.is_finished: bool = False
        """Whether the body was read to its end."""

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        pieces, self._opened = self._opened, None
        if pieces is None:
            pieces = await self._stack.enter_async_context(self._body.open(0))
        if self._cap is not None:
            pieces = await self._stack.enter_async_context(aclosing(self._cap.passing(pieces)))
        async for piece in pieces:
            yield piece
        self.is_finished = True


@lru_cache(maxsize=1024)
def _root(origin: Origin) -> str:
    return str(origin)


@lru_cache(maxsize=4096)
def parsed_url(url: str) -> httpx.URL:
    """Return a URL as httpx has it; parsing is a sixth of the cost of a small request, and many recur."""
    return httpx.URL(url)


@lru_cache(maxsize=4096)
def split_url(url: str) -> tuple[Origin, bytes]:
    """Return origin, and path with query byte for byte: httpx would re-encode what a registry signed."""
    rest = url.partition("://")[2]
    starts = [index for index in (rest.find("/"), rest.find("?")) if index >= 0]
    target = rest[min(starts) :] if starts else "/"
    return Origin.of(url), (target if target.startswith("/") else f"/{target}").encode()


@lru_cache(maxsize=4096)
def changed_by_httpx(url: str) -> bool:
    """Say whether httpx would send another target than the URL's own, and has to be told.

    Told without need, httpcore would send it to a forward proxy, too, which wants the whole URL there.
    """
    return parsed_url(url).raw_path != split_url(url)[1]
