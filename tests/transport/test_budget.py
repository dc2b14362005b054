"""Slots: as many as a host bears, given out in order, and never lost."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from oci_distribution.transport.budget import Budget


async def taken(budget: Budget) -> None:
    """Take a slot, after waiting for one where it has to be."""
    if not budget.take():
        await budget.wait()


async def test_slots_are_given_out_in_the_order_of_asking() -> None:
    """Who asked first is first, and nobody overtakes those who wait."""
    budget, order = Budget(1), list[int]()
    await taken(budget)

    async def ask(number: int) -> None:
        await taken(budget)
        order.append(number)
        assert budget.used == 1
        budget.release()

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(ask, number)
        await anyio.wait_all_tasks_blocked()
        budget.release()
        assert not budget.take()

    assert order == list(range(20))
    assert budget.used == 0


async def test_a_refusal_halves_what_was_in_use() -> None:
    """Half of what there might have been would change nothing where little was in use."""
    budget = Budget(32)
    for _ in range(8):
        assert budget.take()

    assert budget.shrink(budget.epoch)

    assert budget.size == 4


async def test_refusals_of_one_burst_count_once() -> None:
    """Thirty requests that were refused together say no more than one."""
    budget = Budget(32)
    epochs = [budget.epoch for _ in range(30) if budget.take()]

    news = [budget.shrink(epoch) for epoch in epochs]

    assert news == [True] + [False] * 29
    assert budget.size == 15


async def test_one_slot_is_always_left() -> None:
    """However often a host refuses."""
    budget = Budget(4)
    assert budget.take()
    for _ in range(5):
        budget.shrink(budget.epoch)
    budget.release()

    assert budget.size == 1
    assert budget.take()
    assert not budget.take()


async def test_it_grows_by_one_slot_a_round() -> None:
    """As many successes as there are slots give another one, up to all that there were."""
    budget = Budget(4)
    assert budget.take()
    budget.shrink(budget.epoch)
    budget.release()

    sizes = []
    for _ in range(12):
        budget.grow()
        sizes.append(int(budget.size))

    assert sizes[0] == 2
    assert sizes[-1] == budget.size == 4


async def test_who_waits_gets_what_has_grown() -> None:
    """A success that makes room for one more lets the next one in at once."""
    budget = Budget(2)
    assert budget.take()
    budget.shrink(budget.epoch)
    async with anyio.create_task_group() as group:
        group.start_soon(budget.wait)
        await anyio.wait_all_tasks_blocked()
        budget.grow()

    assert budget.used == 2


async def test_more_in_use_than_there_are_drain_first() -> None:
    """After a decrease, slots that come back are not given out before few enough are in use."""
    budget = Budget(4)
    for _ in range(4):
        assert budget.take()
    budget.shrink(budget.epoch)
    async with anyio.create_task_group() as group:
        group.start_soon(budget.wait)
        await anyio.wait_all_tasks_blocked()
        for used in (3, 2):
            budget.release()
            assert budget.used == used
        budget.release()

    assert budget.used == 2


@pytest.mark.parametrize("is_granted", [False, True], ids=["in line", "at its turn"])
async def test_a_cancelled_waiter_loses_no_slot(is_granted: bool) -> None:
    """Neither the one that it waited for, nor the one that it was just given: the next in line has it."""
    budget = Budget(1)
    assert budget.take()
    first, second = asyncio.create_task(budget.wait()), asyncio.create_task(budget.wait())
    await anyio.wait_all_tasks_blocked()

    if is_granted:
        budget.release()
        first.cancel()
    else:
        first.cancel()
        await asyncio.wait({first})
        budget.release()
    await second

    assert first.cancelled()
    assert budget.used == 1


async def test_a_slot_given_out_while_a_waiter_is_being_cancelled_goes_to_the_next() -> None:
    """Between `cancel` and the waiter's next turn of the loop, it is passed over."""
    budget = Budget(1)
    assert budget.take()
    first, second = asyncio.create_task(budget.wait()), asyncio.create_task(budget.wait())
    await anyio.wait_all_tasks_blocked()

    first.cancel()
    budget.release()
    await second
    await asyncio.wait({first})

    assert first.cancelled()
    assert budget.used == 1
