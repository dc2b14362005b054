"""Events reach the sinks of their own context, and no others."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from typing import Any

import anyio
import pytest

import oci_distribution as oci
from oci_distribution.events import emit, listening

EVENT = oci.RequestSent(7, "GET", "https://registry.example/v2/", 1)


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
            emit(oci.RequestFailed(7, "GET", name, 1, "BrokenAnswer", "", 0.1))

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


async def test_a_sink_that_raises_breaks_nothing_and_is_told() -> None:
    """The other sinks hear the event, and the event loop's exception handler gets what was raised."""
    heard: list[oci.Event] = []
    told: list[dict[str, Any]] = []

    def broken(event: oci.Event) -> None:
        raise ZeroDivisionError

    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    try:
        with oci.observe(broken), oci.observe(heard.append):
            emit(EVENT)
    finally:
        asyncio.get_running_loop().set_exception_handler(None)

    assert heard == [EVENT]
    assert [type(context["exception"]) for context in told] == [ZeroDivisionError]
    assert "broken" in told[0]["message"]


def test_a_sink_that_stops_the_program_stops_it() -> None:
    """What is no `Exception`, Ctrl-C above all, is nobody's to keep."""

    def interrupted(event: oci.Event) -> None:
        raise KeyboardInterrupt

    with oci.observe(interrupted), pytest.raises(KeyboardInterrupt):
        emit(EVENT)


def test_who_observes_twice_hears_once() -> None:
    """A client's observer may be a sink of the context, too."""
    heard: list[oci.Event] = []
    sink = heard.append

    with oci.observe(sink), oci.observe(sink):
        emit(EVENT, also=sink)

    assert heard == [EVENT]


@pytest.mark.parametrize(
    ("event", "level", "line"),
    [
        (EVENT, logging.DEBUG, "#7 GET https://registry.example/v2/"),
        (
            oci.RequestSent(8, "PUT", "https://x/y", 2, resends=3),
            logging.DEBUG,
            "#8 PUT https://x/y (attempt 2)",
        ),
        (
            oci.ResponseReceived(7, "GET", "https://x/y", 1, 404, 0.0126),
            logging.DEBUG,
            "#7 GET https://x/y: status 404 after 0.013 s",
        ),
        (
            oci.ResponseEnded(7, "GET", "https://x/y", 1, 200, 12, 1.5, is_whole=True),
            logging.DEBUG,
            "#7 GET https://x/y: whole after 12 bytes and 1.500 s",
        ),
        (
            oci.ResponseEnded(7, "GET", "https://x/y", 1, 200, 12, 1.5, is_whole=False),
            logging.DEBUG,
            "#7 GET https://x/y: left after 12 bytes and 1.500 s",
        ),
        (
            oci.ResponseEnded(7, "GET", "https://x/y", 1, 200, 12, 1.5, is_whole=False, error="ReadError"),
            logging.DEBUG,
            "#7 GET https://x/y: broken by ReadError after 12 bytes and 1.500 s",
        ),
        (
            oci.RequestFailed(7, "GET", "https://x/y", 1, "ConnectError", "refused", 0.1),
            logging.DEBUG,
            "#7 GET https://x/y: ConnectError: refused",
        ),
        (
            oci.RequestFailed(7, "GET", "https://x/y", 1, "CancelledError", "", 0.1),
            logging.DEBUG,
            "#7 GET https://x/y: CancelledError",
        ),
        (
            oci.Redirected(7, "GET", "https://x/y", 1, "https://cdn/z?sig=***"),
            logging.DEBUG,
            "#7 GET https://x/y: redirected to https://cdn/z?sig=***",
        ),
        (
            oci.RetryScheduled("GET", "https://x/y", 1, "status 503", 0.25),
            logging.WARNING,
            "GET https://x/y: attempt 1 failed (status 503), the next follows in 0.25 s",
        ),
        (
            oci.TokenRequested("x", "https://auth/token", "repository:a:pull"),
            logging.DEBUG,
            "asking https://auth/token for a token for x (repository:a:pull)",
        ),
        (
            oci.TokenReceived("x", "https://auth/token", "", 0.5),
            logging.DEBUG,
            "https://auth/token gave a token for x (no scope) after 0.500 s",
        ),
        (
            oci.MirrorFailed("x", "mirror", "status 500", excluded=False),
            logging.WARNING,
            "the mirror mirror of x did not help, the next place is asked: status 500",
        ),
    ],
)
def test_each_event_is_a_line_of_the_log(
    caplog: pytest.LogCaptureFixture, event: oci.Event, level: int, line: str
) -> None:
    """On the level of its class, with the event itself for who wants more than its text."""
    caplog.set_level(logging.DEBUG, "oci_distribution")

    emit(event)

    (record,) = caplog.records
    assert (record.name, record.levelno, record.getMessage()) == ("oci_distribution", level, line)
    assert record.args == (event,)
    assert str(event) == line


def test_progress_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A line for every piece of a blob would hide all others."""
    caplog.set_level(logging.NOTSET, "oci_distribution")

    emit(oci.Uploaded(oci.EMPTY_DESCRIPTOR, 2))

    assert caplog.records == []


def test_nothing_is_printed_where_nobody_configured_logging() -> None:
    """A library is silent: also a warning goes nowhere then."""
    code = """
import oci_distribution as oci
from oci_distribution.events import emit
emit(oci.RetryScheduled("GET", "https://x/y", 1, "status 503", 0.25))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    assert (run.stdout, run.stderr) == (b"", b"")


def test_events_are_values() -> None:
    """Compared by what they say, and never changed."""
    assert oci.RequestSent(7, "GET", "https://registry.example/v2/", 1) == EVENT
    with pytest.raises(AttributeError):
        EVENT.attempt = 2  # type: ignore[misc]
