"""Rates: how many requests, or bytes, pass in a second, in the order of asking."""

from __future__ import annotations

import math
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

__all__ = ["LearnedRate", "Timing", "Turns"]

CREDIT = 0.1
"""Seconds whose share may be used later: a wake-up is never on time, and would cost a part of the rate."""
LONGEST_NAP = 1.0
"""Seconds after which whoever waits for a turn looks again: the rate may be another one."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Clock, sleep and chance, so that tests wait for nothing.

    Args:
        now: Monotonic seconds.
        sleep: Waits for so many seconds.
        random: A number between 0 and 1.
    """

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    random: Callable[[], float] = random.random


class Turns:
    """A token bucket whose waiters stand in line: only the first sleeps, and a cancelled one costs nothing.

    Args:
        timing: Clock and sleep.
        rate: Says how much may pass in a second, each time that it is asked; None for as much as you like.
    """

    def __init__(self, timing: Timing, rate: Callable[[], float | None]) -> None:
        self._timing = timing
        self._rate = rate
        self._line = anyio.Lock(fast_acquire=True)
        self._free_at = 0.0

    async def take(self, amount: float = 1.0) -> None:
        """Wait until it is our turn; the next one's comes when `amount` has passed."""
        async with self._line:
            while (left := self.left()) > 0:
                await self._timing.sleep(min(left, LONGEST_NAP))
            self.charge(amount)

    def charge(self, amount: float) -> None:
        """Note that so much passed, whosever turn it was: those who come later make up for it."""
        rate = self._rate()
        if rate is not None:
            self._free_at = max(self._free_at, self._timing.now() - CREDIT) + amount / rate

    def left(self) -> float:
        """Return the seconds until the next turn."""
        return 0.0 if self._rate() is None else self._free_at - self._timing.now()

    def expected(self) -> float:
        """Return the seconds that somebody who comes now has to wait, if each one before takes 1."""
        rate = self._rate()
        if rate is None:
            return 0.0
        return max(0.0, self.left()) + self._line.statistics().tasks_waiting / rate


class LearnedRate:
    """How many requests a host lets through in a second, learned from its refusals.

    Between two moments at which it refuses, it lets through just what it gives. A little less than that is
    the rate from then on; it grows, slowly at first and then ever faster, until it limits nothing any more.

    Args:
        now: Monotonic seconds.
    """

    WINDOW = 10.0
    """Seconds that are looked back on: what a host bore before an idle hour says nothing."""
    LEAST_SPAN = 1.0
    """Seconds over which no rate is measured: most hosts let a burst through before they count."""
    SHARE = 0.9
    """Of what was measured: a host that refuses has nothing left, and some again when we are back there."""
    LEAST, MOST = 0.1, 1000.0
    """Requests a second that are tried in any case, and that no program of ours reaches."""
    FIRST_DOUBT, DOUBT = 5.0, 20.0
    """Seconds after which the rate is e times what was learned: the first refusal says the least."""

    __slots__ = ("_doubt", "_now", "_rate", "_since", "_successes")

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._successes: deque[float] = deque(maxlen=1024)
        self._since = 0.0
        self._rate: float | None = None
        self._doubt = self.FIRST_DOUBT

    def succeeded(self) -> None:
        """Note that a request was let through."""
        self._successes.append(self._now())

    def refused(self, wait: float) -> None:
        """Note that a request was refused, the first one of those that were on their way together.

        Args:
            wait: Seconds for which the host wants nothing more.
        """
        now, before = self._now(), self.current()
        if before is not None and now < self._since + self.LEAST_SPAN:
            return
        self._since = now + wait
        moments = [moment for moment in self._successes if moment >= now - self.WINDOW]
        if not moments:
            self._rate = before  # a host that refuses everything does not tell how much it would bear
            return
        self._doubt = self.FIRST_DOUBT if before is None else self.DOUBT
        measured = len(moments) / max(self._since - moments[0], self.LEAST_SPAN)
        self._rate = max(self.LEAST, measured * self.SHARE)
        self._successes.clear()

    def current(self) -> float | None:
        """Return requests a second; None for no limit."""
        if self._rate is None:
            return None
        age = min(max(0.0, self._now() - self._since) / self._doubt, 10.0)  # e**100 is still a number
        rate = self._rate * math.exp(age**2)
        if rate > self.MOST:
            self._rate = None
        return None if self._rate is None else rate
