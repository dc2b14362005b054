"""The fault sweep's machine: it finds what is wrong, and waits for nothing."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import pytest

import oci_distribution as oci
from tests.sweep import faults
from tests.sweep.clock import JumpingLoop
from tests.sweep.expected import COMPLETES
from tests.sweep.jobs import JOBS, Job
from tests.sweep.targets import Shot, Target, aim
from tests.sweep.world import World

PUT_MANIFEST = Target("target", "PUT", "manifest", "/v2/team/target/manifests/*", 1)


def fire(job: str, target: Target, fault: str) -> faults.Outcome:
    (outcome,) = faults.fire_all([Shot(job, target, fault)], seed=1)
    return outcome


def test_clock_that_jumps() -> None:
    """Hours pass in no time, in the order of the timers."""

    async def sleep(hours: float) -> float:
        await asyncio.sleep(hours * 3600)
        return hours

    async def sleep_all() -> list[float]:
        return [await done for done in asyncio.as_completed([sleep(3), sleep(1), sleep(2)])]

    began = time.monotonic()
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        assert runner.run(sleep_all()) == [1, 2, 3]
    assert time.monotonic() - began < 5


def test_clock_that_jumps_waits_for_threads() -> None:
    """What a thread does is not jumped over."""

    async def race() -> str:
        async with asyncio.timeout(3600):
            return await asyncio.get_running_loop().run_in_executor(None, Path(__file__).read_text)

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        assert runner.run(race())


@pytest.mark.parametrize("job", JOBS)
def test_every_request_of_a_job_is_a_target(job: str) -> None:
    """Each kind is found, and faults that have to do with its body only where it has one."""
    shots = aim(job, seed=1)
    labels = {shot.target.label for shot in shots}
    assert "GET token" in labels
    assert {shot.fault for shot in shots} >= {"reset", "silence", "429 with a date", "expired token"}
    assert not {"answer corrupted"} & {shot.fault for shot in shots if shot.target.method != "GET"}


@pytest.mark.parametrize("fault", ["reset", "silence", "answer lost", "429 with a date", "request reset"])
def test_what_passes_is_survived(fault: str) -> None:
    """A job completes, whole, and leaves nothing."""
    outcome = fire("push", PUT_MANIFEST, fault)
    assert (outcome.ending, list(faults.problems([outcome]))) == (COMPLETES, [])


def test_final_refusal_is_the_error_that_the_table_names() -> None:
    """What does not pass ends a job, and it can be started again."""
    outcome = fire("push", PUT_MANIFEST, "403")
    assert (outcome.ending, list(faults.problems([outcome]))) == ("Denied", [])


def test_fault_that_strikes_nothing_is_noticed() -> None:
    """A run that nothing went wrong with proves nothing."""
    outcome = fire("push", PUT_MANIFEST._replace(nth=99), "reset")
    assert outcome.lost == ["the fault did not strike"]


async def _swallow(client: oci.Client, world: World) -> None:
    with contextlib.suppress(oci.OCIError):
        await JOBS["push"].run(client, world)


async def _hang(client: oci.Client, world: World) -> None:
    await asyncio.Event().wait()


async def _leave_open(client: oci.Client, world: World) -> None:
    await JOBS["push"].run(client, world)
    if not world.target.app.uploads:
        await client.http.post(f"{world.target.url}/v2/a/blobs/uploads/")


def _judged(monkeypatch: pytest.MonkeyPatch, run: object, fault: str) -> faults.Outcome:
    assert callable(run)
    monkeypatch.setitem(JOBS, "bad", Job("bad", run, JOBS["push"].result))
    return fire("bad", PUT_MANIFEST, fault)


def test_failure_that_is_hidden_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that says that it is done, and is not, has lost something."""
    outcome = _judged(monkeypatch, _swallow, "403")
    assert any("missing" in what for what in outcome.lost)
    assert any("it ended with completes, and not with Denied" in what for what in outcome.lost)


def test_job_that_hangs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that waits for nothing is told from one that is slow."""
    outcome = _judged(monkeypatch, _hang, "reset")
    assert outcome.ending == "hung"
    assert outcome.hung


def test_session_that_stays_open_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upload session that a job leaves at a registry is a leak."""
    outcome = _judged(monkeypatch, _leave_open, "reset")
    assert any("an upload session" in what for what in outcome.leaked)


def test_summary_counts_runs() -> None:
    """The last line has every count once, and what is wrong is a failure, which says so."""
    shot = Shot("push", PUT_MANIFEST, "reset")
    outcomes = [
        faults.Outcome(shot, COMPLETES),
        faults.Outcome(shot, "Denied", lost=["a", "b"]),
        faults.Outcome(shot, "hung", hung=["somewhere"]),
        faults.Outcome(shot, COMPLETES, leaked=["a task"]),
    ]
    assert faults.summary(outcomes) == "sweep: 4 runs, 2 completed, 1 typed errors, 1 lost, 1 leaked, 1 hung"
    assert len(list(faults.problems(outcomes))) == 4
    assert list(faults.failures(outcomes)) == [
        "faults failed: 3 of 4 runs lost something, left something behind or hung"
    ]
    assert not list(faults.failures(outcomes[:1]))
    assert any("PUT manifest" in line for line in faults.table(outcomes))
