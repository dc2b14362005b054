"""Pacing: how many requests a host gets at once and in a second, and when it is left alone for a while.

There is one `Pace` for each origin. What it does without being told: fewer at once after 429 and 503
(`Budget`) and in a second (`LearnedRate`), nothing while a `Retry-After` lasts, and what is left of a rate
limit spread over the time until there is more. What a user says is never exceeded.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from oci_distribution.events import Paused, RateLimitLow, emit
from oci_distribution.spec.endpoints import Kind
from oci_distribution.spec.headers import parse_retry_after
from oci_distribution.spec.rate_limit import RATE_LIMIT_NAMES, RateLimit, parse_rate_limit
from oci_distribution.transport.budget import Budget
from oci_distribution.transport.deadline import doing
from oci_distribution.transport.metering import ByteCap
from oci_distribution.transport.rates import LearnedRate, Timing, Turns

__all__ = ["Admission", "Limits", "Pace", "Slots", "Timing"]

REFUSALS = frozenset({429, 503})
"""Statuses that say that it is too much: nginx, told to limit a rate, answers 503 beyond it."""
NOTICED = 0.01
"""Seconds from which on a wait is worth an event."""
PATIENCE, LOOK_EVERY = 64, 16
"""Answers of a host, none of which tells a rate limit, after which only one in so many is looked at."""
_NAME_LENGTHS = frozenset(map(len, RATE_LIMIT_NAMES))


@dataclass(frozen=True, slots=True)
class Slots:
    """How many requests of each kind a host gets at once, at most: it gets fewer when it refuses them.

    Reading and writing draw on separate budgets, and small requests on their own: a copy within one
    host goes on with one slot of each, because whoever waits for a slot holds none that another needs.

    Args:
        requests: Small requests; 8 and 16 were 13 % slower against distribution than 32, and 64 no faster.
        downloads: Streams read at once; many, because a service may hold them open for slow clients.
        uploads: Streams written at once.
    """

    requests: int = 32
    downloads: int = 128
    uploads: int = 32

    def __post_init__(self) -> None:
        """Refuse budgets that would let nothing through."""
        if min(self.requests, self.downloads, self.uploads) < 1:
            msg = "every budget of Slots must be at least 1"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Limits:
    """How fast a host is talked to, whatever it would bear; by default as fast as it does.

    Args:
        requests_per_second: Requests, retries included, for hosts whose limit is known; None for no limit.
        bytes_per_second: Bytes of bodies that are read from it, and as many that are written to it, wherever
            it redirects to; None for no limit.
    """

    requests_per_second: float | None = None
    bytes_per_second: float | None = None

    def __post_init__(self) -> None:
        """Refuse limits that would let nothing through."""
        for limit in (self.requests_per_second, self.bytes_per_second):
            if limit is not None and not 0 < limit < math.inf:
                msg = "every limit of Limits must be a positive number, or None for no limit"
                raise ValueError(msg)


class Pace:
    """The state of one host, shared by every task that talks to it.

    Args:
        host: What it is called in events.
        slots: How many requests it gets at once.
        limits: How fast it is talked to.
        timing: Clock and sleep.
        max_wait: Longest time, in seconds, for which all is held back because the host says so.
    """

    def __init__(
        self, host: str, slots: Slots, limits: Limits, *, timing: Timing, max_wait: float = 60.0
    ) -> None:
        self._host = host
        self._timing = timing
        self._max_wait = max_wait
        self._requests_per_second = limits.requests_per_second
        self._learned = LearnedRate(timing.now)
        self.note_success: Callable[[], None] = self._learned.succeeded
        self._spread: float | None = None
        self._spread_until = 0.0
        self._closed_until = 0.0
        self._is_limited = limits.requests_per_second is not None
        self._was_low = False
        self._silent = 0
        self.unanswered: int = 0
        """Requests that are on their way, and of which it has not said yet that they are counted."""
        self._turns = Turns(timing, self._rate)
        self._budgets = {
            Kind.REQUEST: Budget(slots.requests),
            Kind.DOWNLOAD: Budget(slots.downloads),
            Kind.UPLOAD: Budget(slots.uploads),
        }
        self.rate_limit: RateLimit | None = None
        """What the host said last of its rate limit."""
        rate = limits.bytes_per_second
        self.reads: ByteCap | None = None if rate is None else ByteCap(timing, rate)
        """The cap on what is read from it."""
        self.writes: ByteCap | None = None if rate is None else ByteCap(timing, rate)
        """The cap on what is written to it."""

    async def acquire(self, kind: Kind) -> Admission:
        """Wait until the host may be asked, and return the slot for it."""
        budget = self._budgets[kind]
        has_turn = self._is_limited and await self._wait_for_turn()
        if not budget.take():
            await self._wait_for_slot(budget, has_turn=has_turn)
        self.unanswered += 1
        return Admission(self, budget)

    async def _wait_for_slot(self, budget: Budget, *, has_turn: bool) -> None:
        doing(f"waiting for one of the slots of {self._host}")
        await budget.wait()
        while self._is_limited and (self._closed_for() > 0 or not has_turn):
            # Nobody sleeps with a slot: another kind of caller may need it to finish.
            budget.release()
            has_turn = await self._wait_for_turn() or has_turn
            if not budget.take():
                await budget.wait()

    async def _wait_for_turn(self) -> bool:
        """Wait until the host may be asked; say whether there is a rate, and this was our turn."""
        await self._wait_while_closed()
        if self._rate() is None:
            self._is_limited = False
            return False
        self._tell(self._reason(), self._turns.expected())
        await self._turns.take()
        await self._wait_while_closed()
        return True

    async def _wait_while_closed(self) -> None:
        while (left := self._closed_for()) > 0:
            self._tell("retry-after", left)
            await self._timing.sleep(left)

    def _closed_for(self) -> float:
        return self._closed_until - self._timing.now() if self._closed_until else 0.0

    def _tell(self, reason: str, seconds: float) -> None:
        if seconds >= NOTICED:
            doing(f"waiting for {self._host}: {reason}")
            emit(Paused(self._host, reason, seconds))

    def _rate(self) -> float | None:
        """Return how many requests a second it gets now; None for as many as we have."""
        if self._spread is not None and self._timing.now() >= self._spread_until:
            self._spread = None
        rates = (self._requests_per_second, self._spread, self._learned.current())
        return min((rate for rate in rates if rate is not None), default=None)

    def _reason(self) -> str:
        """Return what the rate comes from."""
        rate = self._rate()
        if rate == self._requests_per_second:
            return "requests-per-second"
        return "rate-limit" if rate == self._spread else "refused-before"

    def hold_off(self, seconds: float) -> None:
        """Leave the host alone for so many seconds: it asked one of us to wait, and means all.

        It is not left alone for longer than our patience lasts: who asks then is told so at once.
        """
        if 0 < seconds <= self._max_wait:
            self._closed_until = max(self._closed_until, self._timing.now() + seconds)
            self._is_limited = True

    def charge(self, count: int) -> None:
        """Note bytes that are written at once, for which what follows has to make up."""
        if self.writes is not None:
            self.writes.charge(count)

    def note_refusal(self, budget: Budget, epoch: int, wait: float) -> None:
        """Take less at once, and in a second: once for all that was refused together."""
        self.hold_off(wait)
        if budget.shrink(epoch):
            self._learned.refused(min(wait, self._max_wait))
            self._is_limited = True

    def note_headers(self, headers: httpx.Headers) -> None:
        """Take note of a rate limit that an answer tells; where none does, only some are looked at."""
        self._silent += 1
        if self._silent > PATIENCE and self._silent % LOOK_EVERY:
            return
        for name, _ in headers.raw:
            # By the length first: most hosts have no such header.
            if len(name) in _NAME_LENGTHS and name.lower() in RATE_LIMIT_NAMES:
                told = parse_rate_limit(headers)
                if told is not None:
                    self._silent = 0
                    self._note_rate_limit(told)
                return

    def _note_rate_limit(self, told: RateLimit) -> None:
        """Slow down before a limit is reached."""
        before, self.rate_limit = self.rate_limit, told
        if told.remaining > max(self.unanswered, (told.limit or 0) / 10):
            self._was_low = False
            return
        if before is None or told.remaining >= before.remaining:
            return  # what was asked for is not counted: a HEAD of a manifest is free on Docker Hub
        if told.reset is not None and 0 < told.reset <= self._max_wait:
            self._spread_out(told.remaining - self.unanswered, told.reset)
        elif not self._was_low:
            emit(RateLimitLow(self._host, told.remaining, told.limit, told.reset))
        self._was_low = True

    def _spread_out(self, requests: int, seconds: float) -> None:
        if requests < 1:
            self.hold_off(seconds)
            return
        self._spread, self._spread_until = requests / seconds, self._timing.now() + seconds
        self._is_limited = True


class Admission:
    """A slot of a host, held by a request.

    Args:
        pace: The host's.
        budget: Where the slot is from.
    """

    __slots__ = ("_budget", "_epoch", "_is_answered", "_pace")

    def __init__(self, pace: Pace, budget: Budget) -> None:
        self._pace = pace
        self._budget = budget
        self._epoch = budget.epoch
        self._is_answered = False

    def answered(self, status: int, headers: httpx.Headers) -> None:
        """Learn from the head of the answer."""
        self._is_answered = True
        self._pace.unanswered -= 1
        if status in REFUSALS:
            wait = parse_retry_after(headers.get("Retry-After")) or 0.0
            self._pace.note_refusal(self._budget, self._epoch, wait)
        else:
            if self._budget.size < self._budget.most:
                self._budget.grow()
            self._pace.note_success()
        self._pace.note_headers(headers)

    def release(self) -> None:
        """Give it back; to be called once."""
        if not self._is_answered:
            self._pace.unanswered -= 1
        self._budget.release()
