"""How many requests a host gets at once, and when it is left alone."""

from __future__ import annotations

import anyio
import pytest

from oci_distribution.spec.endpoints import Kind
from oci_distribution.transport.pacing import Limits, Pace, Slots, Timing


class Clock:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    @property
    def timing(self) -> Timing:
        return Timing(now=lambda: self.now, sleep=self.sleep, random=lambda: 0.0)


def new_pace(clock: Clock | None = None, slots: Slots | None = None, limits: Limits | None = None) -> Pace:
    timing = (clock or Clock()).timing
    return Pace("registry.test", slots or Slots(), limits or Limits(), timing=timing)


async def test_a_budget_lets_so_many_through_and_the_next_waits() -> None:
    """The third of two slots is free only when one is given back."""
    pace = new_pace(slots=Slots(requests=2))
    first = await pace.acquire(Kind.REQUEST)
    await pace.acquire(Kind.REQUEST)
    with anyio.move_on_after(0) as scope:
        await pace.acquire(Kind.REQUEST)
    assert scope.cancelled_caught

    first.release()

    await pace.acquire(Kind.REQUEST)


async def test_kinds_do_not_wait_for_each_other() -> None:
    """Reading, writing and small requests have budgets of their own."""
    pace = new_pace(slots=Slots(requests=1, downloads=1, uploads=1))

    for kind in Kind:
        await pace.acquire(kind)


async def test_a_host_that_asked_for_a_pause_is_left_alone_by_all() -> None:
    """A `Retry-After` that one task got holds for every other."""
    clock = Clock()
    pace = new_pace(clock)
    pace.hold_off(7.0)
    pace.hold_off(3.0)

    await pace.acquire(Kind.REQUEST)
    await pace.acquire(Kind.DOWNLOAD)

    assert clock.slept == [7.0]


async def test_nobody_sleeps_with_a_slot() -> None:
    """While one waits for the pause to end, the slot is free."""
    clock = Clock()
    asleep = anyio.Event()

    async def sleep(seconds: float) -> None:
        asleep.set()
        await anyio.sleep_forever()

    timing = Timing(now=lambda: clock.now, sleep=sleep, random=lambda: 0.0)
    pace = Pace("registry.test", Slots(requests=1), Limits(), timing=timing)
    pace.hold_off(5.0)
    async with anyio.create_task_group() as group:
        group.start_soon(pace.acquire, Kind.REQUEST)
        await asleep.wait()
        clock.now = 6.0

        await pace.acquire(Kind.REQUEST)
        group.cancel_scope.cancel()


def test_an_empty_budget_is_refused() -> None:
    """A budget of nothing would hang for ever."""
    with pytest.raises(ValueError, match="at least 1"):
        Slots(uploads=0)
