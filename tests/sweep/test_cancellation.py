"""The cancellation sweep's machine: it cancels where it says, and finds what is left."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable

import anyio
import pytest

import oci_distribution as oci
from tests.sweep import attempts, cancellation, slow, world
from tests.sweep.__main__ import Report, show
from tests.sweep.attempts import ALL_JOBS, Aim, Outcome, attempt_all
from tests.sweep.cancellation import Tally, plan
from tests.sweep.jobs import JOBS, Job
from tests.sweep.suspensions import Line, await_lines
from tests.sweep.world import World


def test_slice_of_the_sweep() -> None:
    """A few of the points of a job: cancelled there, in both ways, nothing is left, and it can be done again."""
    tally = Tally()
    tally.add("mount", attempt_all([Aim("mount")]))
    tally.add("mount", attempt_all(plan("mount", tally.seen["mount"])[::12]))
    assert not tally.failed
    assert len(tally.hit["mount"]) > 5
    assert tally.cancelled_at < tally.reached < await_lines()


def test_place_is_the_way_from_the_job_to_the_engine() -> None:
    """Coroutines, generators and context managers on the way are seen: here from a layout to a request."""
    (outcome,) = attempt_all([Aim("pull")])
    ways = [[line.path for line in place] for place in outcome.seen]
    asking = [way for way in ways if "content/layout.py" in way and way[-1] == "transport/engine.py"]
    assert asking
    assert set(asking[0]) > {
        "mirror/copy.py",
        "content/sources.py",
        "remote/blob_reader.py",
        "remote/blob_body.py",
        "transport/sender.py",
        "transport/http_client.py",
    }


def test_plan_has_every_suspension() -> None:
    """The k-th for every k, and the first of each place in the other way, too."""
    place, other = (Line("a.py", 1),), (Line("a.py", 2), Line("b.py", 3))
    aims = plan("pull", {place: 3, other: 1})
    assert [(aim.places, aim.before) for aim in aims if not aim.in_company] == [
        (frozenset([place]), 0),
        (frozenset([place]), 1),
        (frozenset([place]), 2),
        (frozenset([other]), 0),
    ]
    for known in (place, other):
        assert {aim.how for aim in aims if aim.places == {known} and not aim.before} == {"task", "scope"}


def test_summary_counts_runs() -> None:
    """The summary has every count once; too few of the lines or a failed run are a failure, which says so."""
    near, far = (Line("a.py", 1),), (Line("a.py", 2),)
    tally, aim = Tally(), Aim("pull", frozenset([near]))
    tally.add("pull", [Outcome(aim, near, Counter([near]))])
    assert cancellation.summary(tally) == (
        "cancellation: 1 runs, 1 awaits of 1 reached (100 %), 0 wrong, 0 leaked, 0 hung"
    )
    assert not list(cancellation.failures(tally))
    tally.add("pull", [Outcome(aim, None, Counter([far]))])
    too_few = "cancellation failed: 1 of 2 awaits were cancelled at, and 95% must be"
    assert list(cancellation.failures(tally)) == [too_few]
    assert list(cancellation.problems(tally)) == ["not cancelled at: a.py:2"]
    tally.add("pull", [Outcome(aim, far, leaked=["this", "that"], hung=["there"])])
    assert list(cancellation.failures(tally)) == ["cancellation failed: 1 of 3 runs left something wrong"]
    assert cancellation.summary(tally).endswith(
        "3 runs, 2 awaits of 2 reached (100 %), 0 wrong, 1 leaked, 1 hung"
    )


def test_sweep_that_reached_nothing_failed() -> None:
    """Nothing is not enough."""
    nothing = "cancellation failed: 0 of 0 awaits were cancelled at, and 95% must be"
    assert list(cancellation.failures(Tally())) == [nothing]


def test_what_matters_is_printed_last(capsys: pytest.CaptureFixture[str]) -> None:
    """The tables are long, and the end of a log is what is kept: problems, failures, sums."""
    right = Report(["table"], [], [], "sum")
    wrong = Report(["long table", "of two lines"], ["leaked: this"], ["it failed"], "other sum")
    assert show([right]) == 0
    assert capsys.readouterr().out.split("\n") == ["table", "sum", ""]
    assert show([wrong, right]) == 1
    assert capsys.readouterr().out.split("\n") == [
        "long table",
        "of two lines",
        "table",
        "leaked: this",
        "it failed",
        "other sum",
        "sum",
        "",
    ]


async def test_machine_that_stands_still_does_not_make_a_job_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience is counted in moments: a long one is one."""
    monkeypatch.setattr(attempts, "PATIENCE", 0.2)

    async def go_on_after_a_pause() -> None:
        time.sleep(0.3)  # noqa: ASYNC251 - as if nobody on this machine did anything
        for _ in range(10):
            await asyncio.sleep(0)

    task = asyncio.ensure_future(go_on_after_a_pause())
    assert await attempts._ends(task)
    await task


@pytest.fixture
def slow_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a server pause for longer than a thousand idle turns of the event loop take."""
    monkeypatch.setattr(slow, "PAUSE", 0.05)


@pytest.mark.parametrize(("moments", "left"), [(world.MOMENTS, 0), (1, 1)], ids=["in time", "too late"])
async def test_server_has_time_to_notice(
    moments: int, left: int, slow_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request whose client is gone is left behind when the server is still at it after a while."""
    monkeypatch.setattr(world, "MOMENTS", moments)
    layer = max(world.image().content.items(), key=lambda item: len(item[1]))[0]
    async with world.open_world(slow.SlowApp) as where, world.new_client() as client:
        repository = client.registry(where.source.url).repository(world.SOURCE)
        async with repository.blobs.open(layer):
            pass
        found = await world.leaks(where, client)
    assert [what.partition(" at ")[0] for what in found] == ["a request in progress"] * left


KEPT: list[object] = []
"""What nothing else refers to, and would be collected."""


async def _ask(client: oci.Client, world: World) -> None:
    with contextlib.suppress(oci.NotFound):
        await client.registry(world.target.url).repository("a").resolve("v1")


async def _swallow(client: oci.Client, world: World) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await _ask(client, world)
    await JOBS["push"].run(client, world)


async def _break(client: oci.Client, world: World) -> None:
    try:
        await _ask(client, world)
    except asyncio.CancelledError:
        raise oci.NotFound("nowhere") from None


async def _leave_task(client: oci.Client, world: World) -> None:
    try:
        await _ask(client, world)
    finally:
        KEPT.append(asyncio.ensure_future(anyio.sleep(60)))


async def _leave_file(client: oci.Client, world: World) -> None:
    (world.folder / ".ingest-left").touch()
    await _ask(client, world)


async def _leave_generator(client: oci.Client, world: World) -> None:
    tags: AsyncGenerator[str] = oci.Layout(world.source_layout).tags()
    KEPT.append(tags)
    await anext(tags)
    await _ask(client, world)


async def _hang(client: oci.Client, world: World) -> None:
    try:
        await _ask(client, world)
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(60)


@pytest.mark.parametrize(
    ("run", "kind", "what"),
    [
        (_swallow, "wrong", "swallowed"),
        (_break, "wrong", "raised NotFound"),
        (_leave_task, "leaked", "the task sleep"),
        (_leave_file, "leaked", ".ingest-left"),
        (_leave_generator, "leaked", "Layout.tags"),
        (_hang, "hung", "the task"),
    ],
)
def test_what_is_left_is_found(
    run: Callable[[oci.Client, World], Awaitable[None]],
    kind: str,
    what: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A job that is cancelled and does not clean up does not pass."""
    monkeypatch.setattr(attempts, "PATIENCE", 0.3 if kind == "hung" else attempts.PATIENCE)
    monkeypatch.setitem(ALL_JOBS, "bad", Job("bad", run, JOBS["push"].result))
    (recorded,) = attempt_all([Aim("bad")])
    asking = frozenset(place for place in recorded.seen if place and place[-1].path == "transport/engine.py")
    (outcome,) = attempt_all([Aim("bad", asking)])
    assert outcome.hit
    assert any(what in found for found in getattr(outcome, kind)), outcome
