"""How many requests a host gets at once and in a second, and when it is left alone."""

from __future__ import annotations

import anyio
import httpx
import pytest

import oci_distribution as oci
from oci_distribution.spec.endpoints import Kind
from oci_distribution.spec.rate_limit import RateLimit
from oci_distribution.transport.pacing import Admission, Limits, Pace, Slots, Timing


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


@pytest.mark.parametrize("limit", [0, -1, float("inf"), float("nan")])
def test_a_limit_that_lets_nothing_through_is_refused(limit: float) -> None:
    """No limit is None; nothing, or no number, would hang for ever."""
    with pytest.raises(ValueError, match="positive number"):
        Limits(requests_per_second=limit)
    with pytest.raises(ValueError, match="positive number"):
        Limits(bytes_per_second=limit)


def answer(admission: Admission, status: int = 200, **headers: str) -> None:
    """Let a host answer a request, with `ratelimit_remaining="5"` for a header."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    admission.answered(status, httpx.Headers(named))
    admission.release()


async def test_a_refusal_halves_what_goes_at_once() -> None:
    """Four in flight, all refused: two slots are left, and not none."""
    pace = new_pace(slots=Slots(requests=4))
    together = [await pace.acquire(Kind.REQUEST) for _ in range(4)]

    for admission in together:
        answer(admission, 503)

    assert [await free(pace) for _ in range(3)] == [True, True, False]


async def test_one_kind_of_request_pays_for_itself() -> None:
    """A refused upload leaves as many downloads as there were."""
    pace = new_pace(slots=Slots(downloads=2, uploads=2))
    for _ in range(2):
        answer(await pace.acquire(Kind.UPLOAD), 503)

    assert [await free(pace, Kind.UPLOAD) for _ in range(2)] == [True, False]
    assert [await free(pace, Kind.DOWNLOAD) for _ in range(2)] == [True, True]


async def test_successes_give_slots_back() -> None:
    """After a refusal, a round of successes gives one more, up to all."""
    pace = new_pace(slots=Slots(requests=3))
    answer(await pace.acquire(Kind.REQUEST), 503)
    assert pace._budgets[Kind.REQUEST].size == 1
    for _ in range(6):
        answer(await pace.acquire(Kind.REQUEST))

    assert [await free(pace) for _ in range(4)] == [True, True, True, False]


async def free(pace: Pace, kind: Kind = Kind.REQUEST) -> bool:
    """Take a slot if one is free."""
    with anyio.move_on_after(0) as scope:
        await pace.acquire(kind)
    return not scope.cancelled_caught


async def test_requests_per_second_are_a_users_limit() -> None:
    """Ten a second: thirty-one need three."""
    clock = Clock()
    pace = new_pace(clock, limits=Limits(requests_per_second=10))

    for _ in range(31):
        (await pace.acquire(Kind.REQUEST)).release()

    assert clock.now == pytest.approx(3.0)


async def test_turns_come_in_the_order_of_asking() -> None:
    """Who asked first goes first, whatever the kind of the request."""
    pace, order = new_pace(limits=Limits(requests_per_second=10)), list[int]()

    async def ask(number: int) -> None:
        admission = await pace.acquire(list(Kind)[number % 3])
        order.append(number)
        admission.release()

    async with anyio.create_task_group() as group:
        for number in range(30):
            group.start_soon(ask, number)

    assert order == list(range(30))


async def test_who_is_cancelled_in_line_takes_no_turn() -> None:
    """A hundred that give up leave no gap of ten seconds."""
    clock, hold = Clock(), anyio.Event()

    async def sleep(seconds: float) -> None:
        await hold.wait()
        await clock.sleep(seconds)

    timing = Timing(now=lambda: clock.now, sleep=sleep)
    pace = Pace("registry.test", Slots(), Limits(requests_per_second=10), timing=timing)
    (await pace.acquire(Kind.REQUEST)).release()
    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(pace.acquire, Kind.REQUEST)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    hold.set()
    (await pace.acquire(Kind.REQUEST)).release()

    assert clock.now == pytest.approx(0.1)
    assert pace._budgets[Kind.REQUEST].used == 0


async def test_a_429_teaches_what_a_host_gives() -> None:
    """Twenty in a second, then refused: from then on a little fewer than twenty a second."""
    clock = Clock()
    pace = new_pace(clock)
    for _ in range(20):
        answer(await pace.acquire(Kind.REQUEST))
    answer(await pace.acquire(Kind.REQUEST), 429)
    began = clock.now
    for _ in range(19):
        answer(await pace.acquire(Kind.REQUEST))

    assert 0.8 < clock.now - began < 1.1


async def test_a_host_that_refuses_everything_teaches_no_rate() -> None:
    """Who has nothing to give is not asked once a second for an hour: each task gives up when its patience ends."""
    clock = Clock()
    pace = new_pace(clock)
    for _ in range(100):
        answer(await pace.acquire(Kind.REQUEST), 429)

    assert clock.slept == []


async def test_what_was_learned_is_forgotten() -> None:
    """A limit of an hour ago limits nothing now."""
    clock = Clock()
    pace = new_pace(clock)
    answer(await pace.acquire(Kind.REQUEST))
    answer(await pace.acquire(Kind.REQUEST), 429)
    clock.now = 3600.0
    for _ in range(100):
        answer(await pace.acquire(Kind.REQUEST))

    assert clock.slept == []


@pytest.mark.parametrize("rate", [None, 10], ids=["as fast as it goes", "in turn"])
async def test_a_pause_that_comes_while_waiting_for_a_slot_is_kept(rate: float | None) -> None:
    """Who gets a slot of a host that was closed meanwhile gives it back, and waits."""
    clock = Clock()
    pace = new_pace(clock, slots=Slots(requests=1), limits=Limits(requests_per_second=rate))
    first = await pace.acquire(Kind.REQUEST)
    async with anyio.create_task_group() as group:
        group.start_soon(pace.acquire, Kind.REQUEST)
        await anyio.wait_all_tasks_blocked()
        answer(first, 503, retry_after="9")

    assert sum(clock.slept) == pytest.approx(9.0 if rate is None else 9.1)


async def test_nobody_is_held_back_for_longer_than_patience_lasts() -> None:
    """A host that asks for an hour is asked by the next one, who is told the same and gives up."""
    clock = Clock()
    pace = new_pace(clock)
    answer(await pace.acquire(Kind.UPLOAD), 503, retry_after="3600")

    (await pace.acquire(Kind.UPLOAD)).release()

    assert clock.slept == []


async def test_what_is_left_of_a_rate_limit_is_spread_over_the_time_left() -> None:
    """Five left for ten seconds: none of them is refused, and after ten seconds it goes on as before."""
    clock = Clock()
    pace = new_pace(clock)
    for remaining in (6, 5):
        answer(
            await pace.acquire(Kind.REQUEST),
            ratelimit=f"limit=100, remaining={remaining}, reset=10",
        )
    times = []
    for _ in range(40):
        (await pace.acquire(Kind.REQUEST)).release()
        times.append(clock.now)

    assert sum(moment < 10 for moment in times) == 5
    assert times[-1] == pytest.approx(10, abs=2)
    assert pace.rate_limit == RateLimit(5, limit=100, reset=10)


async def test_streams_that_are_being_read_are_counted_already() -> None:
    """Fifty open downloads use up nothing of the forty requests that are left."""
    clock = Clock()
    pace = new_pace(clock)
    for _ in range(50):
        (await pace.acquire(Kind.DOWNLOAD)).answered(200, httpx.Headers())
    for remaining in (41, 40):
        answer(await pace.acquire(Kind.REQUEST), ratelimit=f"limit=60, remaining={remaining}, reset=10")
    (await pace.acquire(Kind.REQUEST)).release()

    assert clock.slept == []


async def test_requests_under_way_use_up_what_is_left() -> None:
    """Three left, and three on their way: there is nothing for a fourth until there are more."""
    clock = Clock()
    pace = new_pace(clock)
    under_way = [await pace.acquire(Kind.REQUEST) for _ in range(3)]
    for remaining in (4, 3):
        answer(await pace.acquire(Kind.REQUEST), ratelimit=f"limit=60, remaining={remaining}, reset=10")
    (await pace.acquire(Kind.REQUEST)).release()
    for admission in under_way:
        admission.release()

    assert sum(clock.slept) == pytest.approx(10)
    assert pace.unanswered == 0


async def test_nothing_left_is_waited_for() -> None:
    """With none left, everybody waits until there are more."""
    clock = Clock()
    pace = new_pace(clock)
    for remaining in ("1", "0"):
        answer(
            await pace.acquire(Kind.REQUEST),
            x_ratelimit_limit="60",
            x_ratelimit_remaining=remaining,
            x_ratelimit_reset="7",
        )
    (await pace.acquire(Kind.DOWNLOAD)).release()

    assert sum(clock.slept) == pytest.approx(7)


async def test_what_costs_nothing_is_not_slowed_down() -> None:
    """A HEAD of a manifest is free on Docker Hub: while the number does not fall, nothing waits."""
    clock = Clock()
    pace = new_pace(clock)
    for _ in range(50):
        answer(await pace.acquire(Kind.REQUEST), ratelimit="limit=100, remaining=3, reset=30")

    assert clock.slept == []


async def test_a_window_of_hours_is_told_and_not_waited_for() -> None:
    """Docker Hub's six hours: it goes on as before, and an event says once what is coming."""
    clock, events = Clock(), list[oci.Event]()
    pace = new_pace(clock)
    with oci.observe(events.append):
        for remaining in range(12, -1, -1):
            answer(
                await pace.acquire(Kind.REQUEST),
                ratelimit_limit="100;w=21600",
                ratelimit_remaining=f"{remaining};w=21600",
            )

    assert clock.slept == []
    assert events == [oci.RateLimitLow("registry.test", 10, 100, None)]
    assert pace.rate_limit == RateLimit(0, limit=100, window=21600)


async def test_waits_are_told() -> None:
    """Each wait is an event, with its reason and its seconds."""
    clock, events = Clock(), list[oci.Event]()
    pace = new_pace(clock, limits=Limits(requests_per_second=1))
    with oci.observe(events.append):
        pace.hold_off(5)
        (await pace.acquire(Kind.REQUEST)).release()
        (await pace.acquire(Kind.REQUEST)).release()

    waits = [(event.reason, round(event.seconds, 3)) for event in events if isinstance(event, oci.Paused)]
    assert waits == [("retry-after", 5.0), ("requests-per-second", 0.9)]
