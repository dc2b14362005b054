"""What happens, as typed values, to whoever listens in this context.

`observe(sink)` makes `sink` hear every event of the code under its `with`, and of the tasks started inside.
A sink is called synchronously, on the event loop: it must be quick and must not raise.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

__all__ = [
    "Event",
    "EventSink",
    "Paused",
    "RateLimitLow",
    "RequestFailed",
    "RequestSent",
    "ResponseReceived",
    "RetryScheduled",
    "emit",
    "listening",
    "observe",
]


@dataclass(frozen=True, slots=True)
class Event:
    """Base of every event."""


EventSink = Callable[[Event], None]
"""Called with each event."""


@dataclass(frozen=True, slots=True)
class RequestSent(Event):
    """A request leaves for a host; `url` is redacted, `attempt` counts from 1."""

    method: str
    url: str
    attempt: int


@dataclass(frozen=True, slots=True)
class ResponseReceived(Event):
    """The head of an answer is here, `seconds` after its request left."""

    method: str
    url: str
    attempt: int
    status: int
    seconds: float


@dataclass(frozen=True, slots=True)
class RequestFailed(Event):
    """A request got no answer."""

    method: str
    url: str
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class RetryScheduled(Event):
    """A request will be sent again after `delay` seconds."""

    method: str
    url: str
    attempt: int
    reason: str
    delay: float


@dataclass(frozen=True, slots=True)
class Paused(Event):
    """A request waits for some `seconds` until its `host` may be asked, before it leaves.

    `reason` is `retry-after` (the host asked one of us to wait, and means all), `requests-per-second` (the
    user's limit), `rate-limit` (what is left of it is spread over the time until there is more) or
    `refused-before` (the host answered 429, and gets as many as it let through).
    """

    host: str
    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class RateLimitLow(Event):
    """A host's rate limit is nearly used up, and it takes too long (or is not known) until there is more.

    Nothing is slowed down: `remaining` requests of `limit` go as fast as ever, `reset` is in seconds.
    """

    host: str
    remaining: int
    limit: int | None
    reset: float | None


_sinks: ContextVar[tuple[EventSink, ...]] = ContextVar("oci_distribution_sinks", default=())


@contextmanager
def observe(sink: EventSink) -> Generator[None]:
    """Let `sink` hear what happens under this `with`; sinks further out hear it too."""
    token = _sinks.set((*_sinks.get(), sink))
    try:
        yield
    finally:
        _sinks.reset(token)


def listening() -> bool:
    """Say whether anybody listens, so that an event need not be built for nobody."""
    return bool(_sinks.get())


def emit(event: Event) -> None:
    """Hand `event` to every sink of this context."""
    for sink in _sinks.get():
        sink(event)
