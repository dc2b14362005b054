"""A budget: how many requests of one kind a host gets at once, as many as it bears."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

__all__ = ["Budget"]


class Budget:
    """Slots, given out in the order of asking; fewer after a refusal, and more again with each success.

    It is no semaphore with a lock: all happens on one event loop, between two of its turns.

    Args:
        most: Slots that there are at the best of times; there is always one.
    """

    __slots__ = ("_waiting", "epoch", "most", "size", "used")

    def __init__(self, most: int) -> None:
        self.most: int = most
        self.size: float = most
        """Slots that there are now; a part of one is a step on the way to the next."""
        self.used: int = 0
        """Slots that are taken."""
        self.epoch: int = 0
        """A number that changes with each decrease: what was sent before one says nothing new."""
        self._waiting: deque[asyncio.Future[None]] = deque()

    def take(self) -> bool:
        """Take a slot if one is free; then nobody waits for it, or it would have been theirs."""
        if self.used + 1 > self.size:
            return False
        self.used += 1
        return True

    async def wait(self) -> None:
        """Wait in line for a slot, and take it."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.release()  # it was ours already when we were cancelled: the next one's now
            else:
                with suppress(ValueError):  # whoever gave slots out in between has passed us over
                    self._waiting.remove(turn)
            raise

    def release(self) -> None:
        """Give a slot back."""
        self.used -= 1
        self._hand_out()

    def shrink(self, epoch: int) -> bool:
        """Halve what there is, since the host refused a request; say whether this was news.

        Args:
            epoch: What `epoch` was when the request got its slot. Refusals of requests that were on their way
                together are one.
        """
        if epoch != self.epoch:
            return False
        self.epoch += 1
        # Of what was in use: half of what there might have been would change nothing.
        self.size = max(1.0, min(self.size, self.used) / 2)
        return True

    def grow(self) -> None:
        """Add a slot for every round of successes."""
        self.size = min(float(self.most), self.size + 1 / self.size)
        self._hand_out()

    def _hand_out(self) -> None:
        while self._waiting and self.used + 1 <= self.size:
            turn = self._waiting.popleft()
            if not turn.done():  # else its waiter was cancelled, and has not noticed yet
                self.used += 1
                turn.set_result(None)
