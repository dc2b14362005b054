"""Events reach the sinks of their own context, and no others."""

from __future__ import annotations

import asyncio

import anyio
import pytest

import oci_distribution as oci
from oci_distribution.events import emit, listening

EVENT = oci.RequestSent("GET", "https://registry.example/v2/", 1)


def test_who_observes_hears() -> None:
    """Under the `with`, and not before or after."""
    heard: list[oci.Event] = []

    emit(EVENT)
    assert not listening()
    with oci.observe(heard.append):
        assert listening()
        emit(EVENT)
    emit(EVENT)

    assert heard == [EVENT]
    assert not listening()


def test_sinks_further_out_hear_it_too() -> None:
    """In the order they were put up."""
    heard: list[str] = []

    with oci.observe(lambda _: heard.append("outer")):
        with oci.observe(lambda _: heard.append("inner")):
            emit(EVENT)
        emit(EVENT)

    assert heard == ["outer", "inner", "outer"]


async def test_tasks_started_inside_are_heard() -> None:
    """anyio's and asyncio's, even when they go on longer than the `with`."""
    heard: list[oci.Event] = []
    released = asyncio.Event()

    async def work() -> None:
        await released.wait()
        emit(EVENT)

    async with anyio.create_task_group() as group:
        with oci.observe(heard.append):
            group.start_soon(work)
            task = asyncio.create_task(work())
        released.set()
    await task

    assert heard == [EVENT, EVENT]


async def test_tasks_beside_are_not_heard() -> None:
    """Two copies at once have two progress displays."""
    heard: dict[str, list[oci.Event]] = {"one": [], "two": []}
    both = anyio.Event()

    async def work(name: str) -> None:
        with oci.observe(heard[name].append):
            if name == "one":
                await both.wait()
            both.set()
            emit(oci.RequestFailed("GET", name, 1, "broken"))

    async with anyio.create_task_group() as group:
        for name in heard:
            group.start_soon(work, name)

    assert {name: [getattr(event, "url", "") for event in events] for name, events in heard.items()} == {
        "one": ["one"],
        "two": ["two"],
    }


def test_an_exception_inside_ends_the_observation() -> None:
    """And comes through."""
    with pytest.raises(KeyError), oci.observe(lambda _: None):
        raise KeyError

    assert not listening()


def test_events_are_values() -> None:
    """Compared by what they say, and never changed."""
    assert oci.RequestSent("GET", "https://registry.example/v2/", 1) == EVENT
    with pytest.raises(AttributeError):
        EVENT.attempt = 2  # type: ignore[misc]
