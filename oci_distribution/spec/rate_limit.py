"""Rate limits: what hosts say of them in headers and messages; all pure.

Nobody agrees on one form: Docker Hub's `RateLimit-Remaining: 76;w=21600`, the fields of the IETF's drafts
(draft-ietf-httpapi-ratelimit-headers, up to 06, 07, and from 08 on), GitHub's `X-RateLimit-Remaining`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["RATE_LIMIT_NAMES", "RateLimit", "parse_rate_limit", "retry_after_in"]

RATE_LIMIT_NAMES = frozenset({b"ratelimit", b"ratelimit-remaining", b"x-ratelimit-remaining"})
"""Headers, in lower case, one of which is there where a host says how many requests are left."""

_EPOCH = 1_000_000_000
"""A "reset" from here on is a moment and no length of time (GitHub, GitLab): that was in 2001."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What a host says of its rate limit.

    Args:
        remaining: Requests that are left.
        limit: Requests in a window; None where it is not said.
        window: Seconds of a window; None where it is not said.
        reset: Seconds, from the answer on, until there are more again; None where it is not said.
    """

    remaining: int
    limit: int | None = None
    window: float | None = None
    reset: float | None = None


def parse_rate_limit(headers: Mapping[str, str], *, now: float | None = None) -> RateLimit | None:
    """Return the rate limit that the headers of an answer tell; None when they tell none, or nonsense.

    Args:
        headers: Of the answer, in a mapping that takes names in any case.
        now: Seconds since 1970, for hosts that name the moment of the reset.
    """
    told = _combined(headers) if "RateLimit" in headers else _apart(headers)
    remaining, limit, window, reset = map(_number, told)
    if remaining is None:
        return None
    if reset is not None and reset >= _EPOCH:
        reset = max(0, reset - int(time.time() if now is None else now))
    return RateLimit(remaining, limit, window, reset)


_Told = tuple[str | None, str | None, str | None, str | None]


def _combined(headers: Mapping[str, str]) -> _Told:
    """Read `RateLimit: limit=100, remaining=50, reset=5`, or `"default";r=50;t=30`, and its policy."""
    told, policy = _parameters(headers["RateLimit"]), headers.get("RateLimit-Policy", "")
    rules = _parameters(policy)
    limit = told.get("limit") or rules.get("q") or _first(policy)
    return told.get("remaining") or told.get("r"), limit, rules.get("w"), told.get("reset") or told.get("t")


def _apart(headers: Mapping[str, str]) -> _Told:
    """Read a header for each number, `RateLimit-Remaining: 76;w=21600` or `X-RateLimit-Remaining: 76`."""
    prefix = "RateLimit-" if "RateLimit-Remaining" in headers else "X-RateLimit-"
    limit, remaining, reset = (headers.get(prefix + name, "") for name in ("Limit", "Remaining", "Reset"))
    policy = headers.get("RateLimit-Policy", "")
    window = _parameters(remaining).get("w") or _parameters(limit).get("w") or _parameters(policy).get("w")
    return _first(remaining), _first(limit), window, _first(reset)


def _first(value: str) -> str:
    """Return what comes before the parameters of the first item."""
    return re.split("[;,]", value, maxsplit=1)[0].strip()


def _parameters(value: str) -> dict[str, str]:
    """Return the parameters of a header, whatever separates them; of several of a name the first."""
    found: dict[str, str] = {}
    for part in re.split("[;,]", value[:1000]):
        name, equals, text = part.partition("=")
        if equals:
            found.setdefault(name.strip().lower(), text.strip().strip('"'))
    return found


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch("[0-9]{1,12}", text, re.ASCII) else None


_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_AMOUNT = r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ns|us|µs|μs|ms|s|m|h)"
_RETRY_AFTER = re.compile(rf"(?i:retry-after): *((?:{_AMOUNT})+)", re.ASCII)


def retry_after_in(text: str) -> float | None:
    """Return the seconds that a refusal's message asks to wait; None when it does not.

    GHCR says `retry-after: 880.092µs, allowed: 44000/minute` there, and nothing in a header.
    """
    said = _RETRY_AFTER.search(text)
    if said is None:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(_AMOUNT, said[1]))
