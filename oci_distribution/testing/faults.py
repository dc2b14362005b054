"""Faults: what a registry is told to do wrong, and when.

A fault is a value, the same in a test and in the JSON of the admin endpoint. How one is carried out is in
`injection`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, ClassVar, Self

import anyio
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

__all__ = ["Fault", "Faults"]

_Bytes = Annotated[int, Field(ge=0)]
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]

_MATCHING = frozenset({"method", "path", "nth", "times", "per_second", "probability", "seed"})
# Each of these is all that happens to the request; what else is set could never be seen.
_ENDINGS = ("reset", "status", "redirect", "reset_after")
_ANSWER = frozenset(
    {"truncate_after", "corrupt_at", "reset_answer_after", "bytes_per_second", "answer_lost", "expire_token"}
)
_COUNTS = frozenset(
    {"reset_after", "reset_answer_after", "truncate_after", "corrupt_at", "retry_after", "body"}
)


class Fault(BaseModel):
    """Something that goes wrong with requests.

    It strikes requests that match `method` and `path`, every one unless `nth`, `times`, `per_second` or
    `probability` say otherwise. Cuts are real: the connection is reset, and not closed politely.

    Attributes:
        method: Strike only requests with this method.
        path: Strike only requests whose path matches this pattern, in which `*` also matches slashes.
        nth: Strike only the n-th request that matches, counted from 1.
        times: Strike at most so often.
        per_second: Strike only requests beyond so many a second; those of a second are let through at once.
        probability: Strike each request with this probability.
        seed: Of the random numbers for `probability`: the same seed, the same requests.
        delay: Seconds to wait before anything else happens.
        reset: Cut the connection before the request is looked at.
        reset_after: Cut the connection after so many bytes of the request's body, or after all of a shorter.
        status: Answer with this status, and do not look at the request.
        body: Body of that answer; a JSON error of the specification when None.
        headers: Headers that the answer, made up or real, gets in place of its own; None takes one away.
        retry_after: Seconds that the answer asks to wait.
        retry_after_date: Ask for it as a date and not as a number.
        redirect: Answer with a redirect to this URL, with `status` or 307.
        expire_token: Treat the request's Bearer token as one that has expired (with `TokenAuth`).
        answer_lost: Do what is asked, then cut the connection instead of answering.
        reset_answer_after: Cut the connection after so many bytes of the answer's body.
        truncate_after: End the answer's body after so many bytes, with headers that say it was all.
        corrupt_at: Change the byte at this offset of the answer's body.
        bytes_per_second: Send the answer's body no faster.

    Raises:
        ValueError: It would do nothing, or things that exclude each other.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    method: str | None = None
    path: str = "*"
    nth: Annotated[int, Field(ge=1)] | None = None
    times: Annotated[int, Field(ge=1)] | None = None
    per_second: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    probability: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: int = 0
    delay: _Seconds = 0.0
    reset: bool = False
    reset_after: _Bytes | None = None
    status: Annotated[int, Field(ge=200, le=599)] | None = None
    body: bytes | None = None
    headers: Mapping[str, str | None] = {}
    retry_after: _Seconds | None = None
    retry_after_date: bool = False
    redirect: str | None = None
    expire_token: bool = False
    answer_lost: bool = False
    reset_answer_after: _Bytes | None = None
    truncate_after: _Bytes | None = None
    corrupt_at: _Bytes | None = None
    bytes_per_second: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

    @field_validator("method")
    @classmethod
    def _check_method(cls, method: str | None) -> str | None:
        if method is not None and not (method.isalpha() and method.isupper()):
            msg = "a method is in capitals, such as 'PUT'"
            raise ValueError(msg)
        return method

    @field_validator("path")
    @classmethod
    def _check_path(cls, path: str) -> str:
        if not path.startswith(("/", "*")):
            msg = "a path pattern starts with '/' or '*'"
            raise ValueError(msg)
        return path

    @model_validator(mode="after")
    def _check(self) -> Self:
        # Cutting after 0 bytes is something; waiting 0 seconds and changing no header is not.
        does = {
            name
            for name in self.model_fields_set - _MATCHING
            if (value := getattr(self, name)) or (name in _COUNTS and value is not None)
        }
        if not does:
            msg = "a fault has to do something: cut, answer, delay, or change the answer"
            raise ValueError(msg)
        endings = [name for name in _ENDINGS if name in does]
        if len(endings) > 1 and endings != ["status", "redirect"]:
            msg = f"{' and '.join(endings)} exclude each other"
            raise ValueError(msg)
        if endings and (unseen := sorted(does & _ANSWER)):
            msg = f"{unseen[0]} needs the real answer, and {endings[0]} leaves none"
            raise ValueError(msg)
        if "body" in does and self.status is None:
            msg = "body needs a status"
            raise ValueError(msg)
        if self.retry_after_date and self.retry_after is None:
            msg = "retry_after_date needs retry_after"
            raise ValueError(msg)
        return self

    def matches(self, method: str, path: str) -> bool:
        """Say whether a request is one that this fault is about."""
        return self.method in {None, method} and fnmatchcase(path, self.path)


class Faults:
    """The faults of a registry, in the order they were added. The first that strikes a request has it."""

    def __init__(self) -> None:
        self._active: list[_Active] = []

    def add(self, fault: Fault) -> Fault:
        """Add a fault, and return it."""
        self._active.append(_Active(fault))
        return fault

    def remove(self, fault: Fault) -> None:
        """Take a fault away, however often it was added."""
        self._active = [active for active in self._active if active.fault != fault]

    def clear(self) -> None:
        """Take all faults away."""
        self._active.clear()

    def strikes(self, fault: Fault) -> int:
        """Return how many requests a fault has struck."""
        return sum(active.strikes for active in self._active if active.fault == fault)

    def choose(self, method: str, path: str) -> Fault | None:
        """Return the fault that strikes a request; every fault that it matches counts it."""
        matching = [active for active in self._active if active.fault.matches(method, path)]
        willing = [active for active in matching if active.counts_and_wants()]
        if not willing:
            return None
        willing[0].strikes += 1
        return willing[0].fault

    def __iter__(self) -> Iterator[Fault]:
        return iter([active.fault for active in self._active])

    def __len__(self) -> int:
        return len(self._active)

    def __repr__(self) -> str:
        return f"<Faults {[active.fault for active in self._active]}>"


class _Active:
    """A fault, and what it has seen and done."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.strikes = 0
        self._seen = 0
        self._full_at = 0.0
        self._random = random.Random(fault.seed)  # noqa: S311 (no secret)

    def counts_and_wants(self) -> bool:
        self._seen += 1
        lucky = self._random.random() < self.fault.probability
        in_turn = self.fault.nth in {None, self._seen}
        is_left = self.fault.times is None or self.strikes < self.fault.times
        return lucky and in_turn and is_left and not self._is_within_rate()

    def _is_within_rate(self) -> bool:
        """Say whether a request is one of those that are let through, and count it."""
        if self.fault.per_second is None:
            return False
        # A bucket with a second's worth of requests, by the moment at which it will be full again.
        now, share = anyio.current_time(), 1 / self.fault.per_second
        full_at = max(self._full_at, now) + share
        if full_at - now > max(1.0, share) + 1e-9:  # twenty times a twentieth is a little more than one
            return False
        self._full_at = full_at
        return True
