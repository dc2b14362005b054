"""Repeating: things are done until they succeed, or until patience or time is at its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from oci_distribution.errors import Attempt, DeadlineExceeded, RequestContext, RequestError, redact_url
from oci_distribution.events import EventSink, RetryScheduled, emit, observe
from oci_distribution.spec.endpoints import Endpoint
from oci_distribution.transport.calls import Host, Timeouts
from oci_distribution.transport.deadline import Deadline, current_deadline
from oci_distribution.transport.home import Home
from oci_distribution.transport.pacing import Timing
from oci_distribution.transport.retry import RetryPolicy

__all__ = ["Repeating"]

T = TypeVar("T")


@dataclass(slots=True, repr=False, kw_only=True)
class Repeating:
    """Does things as often as it takes.

    Args:
        retry: How patient to be.
        timeouts: How long a host may stay silent, and how long all of it may take.
        timing: Clock, sleep and chance.
        observer: Hears every event of every request, in whatever context it is made.
        home: Where all this may be used.
    """

    retry: RetryPolicy = field(default_factory=RetryPolicy)
    timeouts: Timeouts = field(default_factory=Timeouts)
    timing: Timing = field(default_factory=Timing)
    observer: EventSink | None = None
    home: Home = field(default_factory=lambda: Home("this client"))

    def timeouts_of(self, host: Host) -> Timeouts:
        """Return how long a host, and whoever it sends us to, may stay silent."""
        return host.timeouts or self.timeouts

    async def repeat(self, host: Host, endpoint: Endpoint, once: Callable[[int], Awaitable[T]]) -> T:
        """Do something until it succeeds or our patience ends.

        Args:
            host: Whose pace it keeps.
            endpoint: Says whether it may be repeated when its outcome is unknown.
            once: Does it, given the number of the attempt from 1. What it raises after attempts of its
                own is not tried again.
        """
        attempts: list[Attempt] = []
        if self.deadline(host) is None:
            return await self._until_it_succeeds(host, endpoint, once, attempts)
        trying = partial(self._until_it_succeeds, host, endpoint, once, attempts)
        return await self.within_total(host, endpoint, trying, attempts)

    async def _until_it_succeeds(
        self, host: Host, endpoint: Endpoint, once: Callable[[int], Awaitable[T]], attempts: list[Attempt]
    ) -> T:
        while True:
            # First of all: what waits for a slot or a token would hang or fail strangely elsewhere.
            self.home.check()
            try:
                if self.observer is None:
                    return await once(len(attempts) + 1)
                with observe(self.observer):
                    return await once(len(attempts) + 1)
            except RequestError as error:
                await self.wait_to_repeat(host, endpoint, error, attempts)

    async def within_total(
        self,
        host: Host,
        endpoint: Endpoint,
        operation: Callable[[], Awaitable[T]],
        attempts: Sequence[Attempt] = (),
    ) -> T:
        """Do something until the deadline of what it is a part of, or else within the time that it may take.

        Args:
            host: Who takes the time.
            endpoint: What it is about.
            operation: Does it.
            attempts: The failures on its way.

        Raises:
            DeadlineExceeded: It took longer than `Timeouts.total`.
        """
        deadline = self.deadline(host)
        if deadline is None:
            return await operation()
        context = RequestContext(endpoint.method, redact_url(host.url(endpoint.target)), host.registry)
        try:
            with deadline.enforced(context):
                return await operation()
        except DeadlineExceeded as error:
            raise error if error.attempts else error.with_attempts(attempts) from error.__cause__

    def deadline(self, host: Host) -> Deadline | None:
        """Return the deadline of what we are a part of, or of what begins now; None for no limit."""
        deadline, total = current_deadline(), self.timeouts_of(host).total
        return Deadline(total) if deadline is None and total is not None else deadline

    async def wait_to_repeat(
        self, host: Host, endpoint: Endpoint, error: RequestError, attempts: list[Attempt]
    ) -> None:
        """Wait until something that failed may be tried again.

        Args:
            host: Whose pace it keeps.
            endpoint: What failed; says whether it may be repeated when its outcome is unknown.
            error: Why it failed. With attempts of its own it is not tried again.
            attempts: The failures before, to which this one is added.

        Raises:
            RequestError: `error`, when our patience ends.
        """
        failed = len(attempts) + 1
        if error.attempts or not self.retry.allows(error, endpoint, failed):
            if attempts:
                error.with_attempts(attempts)
            raise error
        delay = self.retry.delay(failed, error.retry_after, self.timing.random())
        reason = f"status {error.status}" if error.status else type(error).__name__
        attempts.append(Attempt(reason, delay))
        url = redact_url(host.url(endpoint.target))
        emit(RetryScheduled(endpoint.method, url, failed, reason, delay), self.observer)
        deadline = current_deadline()
        if deadline is not None:
            deadline.doing = f"waiting {delay:.3g} seconds to try again after {reason}"
            if delay >= deadline.left:
                raise deadline.exceeded(error.context).with_attempts(attempts) from error
        await self.timing.sleep(delay)
