"""What can be done to a job: each of its requests, and everything that can go wrong with one."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from oci_distribution.testing import Fault, RecordedRequest
from tests.sweep.clock import JumpingLoop
from tests.sweep.jobs import JOBS, Job
from tests.sweep.world import new_client, open_world

__all__ = ["SILENCE", "Shot", "Target", "aim", "faults_at"]

SILENCE = 3600.0
"""Seconds that a server stays silent, longer than every timeout."""

Side = Literal["source", "target"]

# What a path is called in the tables, and the pattern that a fault finds its like with.
_ENDPOINTS = (
    (re.compile(r"/token"), "token", "/token"),
    (re.compile(r"(/v2/.+)/manifests/sha256-[^/]+"), "manifest of referrers", r"\1/manifests/sha256-*"),
    (re.compile(r"(/v2/.+)/manifests/[^/]+"), "manifest", r"\1/manifests/*"),
    (re.compile(r"(/v2/.+)/blobs/uploads/"), "uploads", r"\1/blobs/uploads/"),
    (re.compile(r"(/v2/.+)/blobs/uploads/[^/]+"), "upload", r"\1/blobs/uploads/?*"),
    (re.compile(r"(/v2/.+)/blobs/[^/]+"), "blob", r"\1/blobs/sha*"),
    (re.compile(r"(/v2/.+)/tags/list"), "tags", r"\1/tags/list"),
    (re.compile(r"(/v2/.+)/referrers/[^/]+"), "referrers", r"\1/referrers/*"),
    (re.compile(r"/v2/"), "ping", "/v2/"),
)


class Target(NamedTuple):
    """A request of a job: the nth of its kind.

    Args:
        side: Which registry it goes to.
        method: HTTP method.
        endpoint: What it is about, as the tables say.
        pattern: Matches its path, and those of its like.
        nth: Which of them it is.
    """

    side: Side
    method: str
    endpoint: str
    pattern: str
    nth: int

    @property
    def label(self) -> str:
        """Method and endpoint."""
        return f"{self.method} {self.endpoint}"


class Shot(NamedTuple):
    """One run of a job: what goes wrong, and with which request."""

    job: str
    target: Target
    fault: str

    def __str__(self) -> str:
        target = self.target
        return f"{self.job}: {self.fault} at {target.label} {target.nth} of the {target.side}"


def faults_at(target: Target, seed: int) -> dict[str, Fault]:
    """Return by name what can go wrong with a request; `seed` chooses where bodies break."""
    chance = random.Random(f"{seed} {target}")
    here = {"method": target.method, "path": target.pattern, "nth": target.nth}
    inside, far = chance.randint(1, 5), chance.randint(70_000, 110_000)
    effects: dict[str, dict[str, object]] = {
        "reset": {"reset": True},
        "silence": {"delay": SILENCE},
        "answer lost": {"answer_lost": True},
        "429": {"status": 429},
        "429 in seconds": {"status": 429, "retry_after": 3},
        "429 with a date": {"status": 429, "retry_after": 3, "retry_after_date": True},
        "429 for hours": {"status": 429, "retry_after": 7200},
        "503 in seconds": {"status": 503, "retry_after": 3},
        "502 in HTML": {"status": 502, "body": b"<html>", "headers": {"Content-Type": "text/html"}},
        "redirect to nowhere": {"redirect": "/nowhere"},
        "redirect elsewhere": {"redirect": "http://localhost:9/"},
        "wrong digest header": {"headers": {"Docker-Content-Digest": f"sha256:{'0' * 64}"}},
        "no digest header": {"headers": {"Docker-Content-Digest": None}},
        "wrong type": {"headers": {"Content-Type": "text/html"}},
        "no type": {"headers": {"Content-Type": None}},
    }
    effects |= {str(status): {"status": status} for status in (400, 401, 403, 404, 405, 413, 416, 500, 504)}
    if target.endpoint != "token":
        effects["expired token"] = {"expire_token": True}
    if target.method in {"POST", "PATCH", "PUT"}:
        effects["no location"] = {"headers": {"Location": None}}
        effects["location elsewhere"] = {"headers": {"Location": "http://localhost:9/"}}
    if target.method == "GET":
        effects["answer reset at once"] = {"reset_answer_after": 0}
        effects["answer reset"] = {"reset_answer_after": inside}
        effects["answer reset late"] = {"reset_answer_after": far}
        effects["answer truncated"] = {"truncate_after": inside}
        effects["answer corrupted"] = {"corrupt_at": inside}
        effects["answer corrupted late"] = {"corrupt_at": far}
        effects["answer dripping"] = {"bytes_per_second": 1000}
    if target.label in {"PUT upload", "PATCH upload", "PUT manifest"}:
        effects["request reset at once"] = {"reset_after": 0}
        effects["request reset"] = {"reset_after": inside}
        effects["request reset late"] = {"reset_after": far}
    return {name: Fault.model_validate({**here, **effect}) for name, effect in effects.items()}


def aim(job: str, seed: int) -> list[Shot]:
    """Run a job undisturbed, and return everything that can be done to it, in an order that is the seed's."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        targets = runner.run(_targets(JOBS[job]))
    shots = [Shot(job, target, fault) for target in targets for fault in faults_at(target, seed)]
    random.Random(seed).shuffle(shots)
    return shots


async def _targets(job: Job) -> list[Target]:
    async with open_world() as world, new_client() as client:
        await job.run(client, world)
        assert not job.shortcomings(world)
        return [*_requests("source", world.source.requests), *_requests("target", world.target.requests)]


def _requests(side: Side, requests: Iterable[RecordedRequest]) -> Iterator[Target]:
    seen: Counter[tuple[str, str]] = Counter()
    for request in requests:
        endpoint, pattern = _endpoint(request.path)
        if endpoint == "uploads" and "mount=" in request.query:
            endpoint = "mount"
        seen[request.method, pattern] += 1
        yield Target(side, request.method, endpoint, pattern, seen[request.method, pattern])


def _endpoint(path: str) -> tuple[str, str]:
    for pattern, name, template in _ENDPOINTS:
        match = pattern.fullmatch(path)
        if match is not None:
            return name, match.expand(template)
    raise AssertionError(path)
