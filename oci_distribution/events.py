"""What happens, as typed values, to whoever listens in this context, and to the log.

`observe(sink)` makes `sink` hear every event of the code under its `with`, and of the tasks started inside.
The same events go to the logger `oci_distribution`, each on the level of its class, with its text.

A sink is called synchronously, on the event loop: it must be quick. What it raises breaks nothing of what it
watches, where it would come up in the middle of a clean-up or a cancellation: it goes to the exception
handler of the event loop, as that of any callback does, which logs it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import ClassVar

__all__ = [
    "Event",
    "EventSink",
    "Paused",
    "RateLimitLow",
    "Redirected",
    "RequestEvent",
    "RequestFailed",
    "RequestSent",
    "ResponseEnded",
    "ResponseReceived",
    "RetryScheduled",
    "TokenReceived",
    "TokenRequested",
    "emit",
    "is_logged",
    "listening",
    "observe",
    "sinks_here",
    "tell",
]

_logger = logging.getLogger("oci_distribution")
_logger.addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class Event:
    """Base of every event; as text it is a line for a log, without secrets.

    Attributes:
        level: The level on which it is logged; `logging.NOTSET` for not at all, as progress is.
    """

    level: ClassVar[int] = logging.NOTSET


EventSink = Callable[[Event], None]
"""Called with each event."""


@dataclass(frozen=True, slots=True)
class RequestEvent(Event):
    """Base of what happens to one request; after `RequestSent` comes `RequestFailed`, or an answer that ends.

    Args:
        number: The same in all events of a request, and in no other's of this process.
        method: Of the request.
        url: Where it went, redacted.
        attempt: Which try it was, from 1; what a redirect or a 401 adds is the same try.
    """

    level: ClassVar[int] = logging.DEBUG

    number: int
    method: str
    url: str
    attempt: int

    def _line(self, what: str) -> str:
        again = f" (attempt {self.attempt})" if self.attempt > 1 else ""
        return f"#{self.number} {self.method} {self.url}{again}{what}"


@dataclass(frozen=True, slots=True)
class RequestSent(RequestEvent):
    """A request leaves for a host.

    Args:
        resends: How many requests the same call took before: tries, redirects, and what a 401 added.
    """

    resends: int = 0

    def __str__(self) -> str:
        return self._line("")


@dataclass(frozen=True, slots=True)
class ResponseReceived(RequestEvent):
    """The head of an answer is here, `seconds` after its request left."""

    status: int
    seconds: float

    def __str__(self) -> str:
        return self._line(f": status {self.status} after {self.seconds:.3f} s")


@dataclass(frozen=True, slots=True)
class ResponseEnded(RequestEvent):
    """An answer is over: its body was read to the end, or left, or it broke.

    Args:
        status: Of the answer.
        size: Bytes of the body that came.
        seconds: Since the request left, the time that a reader took included.
        is_whole: Whether the body was read to its end.
        error: Name of the exception that broke it, if one did.
    """

    status: int
    size: int
    seconds: float
    is_whole: bool
    error: str | None = None

    def __str__(self) -> str:
        how = f"broken by {self.error}" if self.error else "whole" if self.is_whole else "left"
        return self._line(f": {how} after {self.size} bytes and {self.seconds:.3f} s")


@dataclass(frozen=True, slots=True)
class RequestFailed(RequestEvent):
    """A request got no answer.

    Args:
        error: Name of the exception: of our tree, `CancelledError`, or what the source of the body raised.
        reason: What an error of our tree says; empty for others, whose texts are not ours to tell.
        seconds: Since the request left.
    """

    error: str
    reason: str
    seconds: float

    def __str__(self) -> str:
        return self._line(f": {self.error}{f': {self.reason}' if self.reason else ''}")


@dataclass(frozen=True, slots=True)
class Redirected(RequestEvent):
    """An answer sent us on to `target`, which is redacted."""

    target: str

    def __str__(self) -> str:
        return self._line(f": redirected to {self.target}")


@dataclass(frozen=True, slots=True)
class RetryScheduled(Event):
    """A request will be sent again after `delay` seconds, because its try number `attempt` failed."""

    level: ClassVar[int] = logging.WARNING

    method: str
    url: str
    attempt: int
    reason: str
    delay: float

    def __str__(self) -> str:
        failed = f"{self.method} {self.url}: attempt {self.attempt} failed ({self.reason})"
        return f"{failed}, the next follows in {self.delay:.2f} s"


@dataclass(frozen=True, slots=True)
class TokenRequested(Event):
    """A token server is asked for a token; the requests that it takes have events of their own.

    Args:
        registry: Whom the token is for.
        realm: URL of the token server, redacted.
        scope: What it shall allow.
    """

    level: ClassVar[int] = logging.DEBUG

    registry: str
    realm: str
    scope: str

    def __str__(self) -> str:
        return f"asking {self.realm} for a token for {self.registry} ({self.scope or 'no scope'})"


@dataclass(frozen=True, slots=True)
class TokenReceived(Event):
    """A token server gave a token, `seconds` after it was asked; see `TokenRequested`."""

    level: ClassVar[int] = logging.DEBUG

    registry: str
    realm: str
    scope: str
    seconds: float

    def __str__(self) -> str:
        what = f"a token for {self.registry} ({self.scope or 'no scope'})"
        return f"{self.realm} gave {what} after {self.seconds:.3f} s"


@dataclass(frozen=True, slots=True)
class Paused(Event):
    """A request waits for some `seconds` until its `host` may be asked, before it leaves.

    `reason` is `retry-after` (the host asked one of us to wait, and means all), `requests-per-second` (the
    user's limit), `rate-limit` (what is left of it is spread over the time until there is more) or
    `refused-before` (the host refused some, and gets as many as it let through).
    """

    level: ClassVar[int] = logging.INFO

    host: str
    reason: str
    seconds: float

    def __str__(self) -> str:
        return f"waiting {self.seconds:.2f} s for {self.host} ({self.reason})"


@dataclass(frozen=True, slots=True)
class RateLimitLow(Event):
    """A host's rate limit is nearly used up, and it takes too long (or is not known) until there is more.

    Nothing is slowed down: `remaining` requests of `limit` go as fast as ever, `reset` is in seconds.
    """

    level: ClassVar[int] = logging.WARNING

    host: str
    remaining: int
    limit: int | None
    reset: float | None

    def __str__(self) -> str:
        limit = "" if self.limit is None else f" of {self.limit}"
        until = "" if self.reset is None else f", and more follow in {self.reset:.0f} s"
        return f"{self.host} leaves us {self.remaining}{limit} requests{until}"


_sinks: ContextVar[tuple[EventSink, ...]] = ContextVar("oci_distribution_sinks", default=())


@contextmanager
def observe(sink: EventSink) -> Generator[None]:
    """Let `sink` hear what happens under this `with`; sinks further out hear it too."""
    token = _sinks.set(sinks_here(sink))
    try:
        yield
    finally:
        _sinks.reset(token)


def sinks_here(also: EventSink | None = None) -> tuple[EventSink, ...]:
    """Return the sinks of this context, and one more, which hears nothing twice."""
    sinks = _sinks.get()
    return sinks if also is None or any(sink is also for sink in sinks) else (*sinks, also)


def listening() -> bool:
    """Say whether a sink listens here, so that progress need not be built for nobody."""
    return bool(_sinks.get())


def is_logged(event: type[Event]) -> bool:
    """Say whether such events go to the log, so that one need not be built for nobody."""
    return event.level > logging.NOTSET and _logger.isEnabledFor(event.level)


def emit(event: Event, also: EventSink | None = None) -> None:
    """Hand `event` to every sink of this context, to one more, and to the log."""
    tell(event, sinks_here(also))


def tell(event: Event, sinks: tuple[EventSink, ...]) -> None:
    """Hand `event` to these sinks, and to the log."""
    if is_logged(type(event)):
        _logger.log(event.level, "%s", event)
    for sink in sinks:
        try:
            sink(event)
        except Exception as error:  # noqa: BLE001 - it is a callback's: see the top of this module
            failure = {"message": f"{sink!r} raised at {type(event).__name__}", "exception": error}
            asyncio.get_running_loop().call_exception_handler(failure)
