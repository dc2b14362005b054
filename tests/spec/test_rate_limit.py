"""Rate limits, in the forms that hosts have for them."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given, strategies as st

from oci_distribution.spec.rate_limit import RateLimit, parse_rate_limit, retry_after_in

NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param(
            {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "76;w=21600"},
            RateLimit(76, limit=100, window=21600),
            id="Docker Hub",
        ),
        pytest.param(
            {"RateLimit-Limit": "100", "RateLimit-Remaining": "50", "RateLimit-Reset": "30"},
            RateLimit(50, limit=100, reset=30),
            id="IETF draft 06",
        ),
        pytest.param(
            {"RateLimit-Limit": "10, 10;w=1, 50;w=60", "RateLimit-Remaining": "9", "RateLimit-Reset": "1"},
            RateLimit(9, limit=10, window=1, reset=1),
            id="IETF draft 06 with policies",
        ),
        pytest.param(
            {"RateLimit": "limit=100, remaining=50, reset=5", "RateLimit-Policy": "100;w=10"},
            RateLimit(50, limit=100, window=10, reset=5),
            id="IETF draft 07",
        ),
        pytest.param(
            {"RateLimit": "remaining=50, reset=5", "RateLimit-Policy": "100;w=10"},
            RateLimit(50, limit=100, window=10, reset=5),
            id="IETF draft 07, limit in the policy",
        ),
        pytest.param(
            {"RateLimit": '"default";r=50;t=30', "RateLimit-Policy": '"default";q=100;w=60'},
            RateLimit(50, limit=100, window=60, reset=30),
            id="IETF draft 10",
        ),
        pytest.param(
            {
                "X-RateLimit-Limit": "60",
                "X-RateLimit-Remaining": "56",
                "X-RateLimit-Reset": "1700000090",
            },
            RateLimit(56, limit=60, reset=90),
            id="GitHub",
        ),
        pytest.param(
            {"RateLimit-Remaining": "1", "RateLimit-Reset": "1699999999"},
            RateLimit(1, reset=0),
            id="a moment that is over",
        ),
        pytest.param({"X-RateLimit-Remaining": "0"}, RateLimit(0), id="only what is left"),
        pytest.param({"RateLimit-Limit": "100;w=60"}, None, id="not what is left"),
        pytest.param({"RateLimit-Remaining": "many"}, None, id="no number"),
        pytest.param({"RateLimit-Remaining": "-1"}, None, id="negative"),
        pytest.param({"RateLimit-Remaining": "9" * 30}, None, id="no number of requests"),
        pytest.param({"RateLimit-Remaining": "٣"}, None, id="no digits"),
        pytest.param({"RateLimit": ""}, None, id="empty"),
        pytest.param({"RateLimit": "remaining"}, None, id="a name alone"),
        pytest.param({}, None, id="nothing"),
    ],
)
def test_the_forms_that_hosts_have(headers: dict[str, str], expected: RateLimit | None) -> None:
    """Each says how many are left; the rest where it is said."""
    encoded = {name: value.encode() for name, value in headers.items()}
    assert parse_rate_limit(httpx.Headers(list(encoded.items())), now=NOW) == expected  # type: ignore[arg-type]


@given(st.text(), st.text())
def test_nonsense_is_no_rate_limit_and_no_error(one: str, other: str) -> None:
    """A host may say anything."""
    for headers in (
        {"RateLimit": one, "RateLimit-Policy": other},
        {"RateLimit-Remaining": one, "RateLimit-Limit": other, "RateLimit-Reset": other},
    ):
        told = parse_rate_limit(headers)
        assert told is None or told.remaining >= 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("retry-after: 880.092µs, allowed: 44000/minute", 880.092e-6),
        ("Retry-After: 2s", 2.0),
        ("toomanyrequests: retry-after: 1m30.5s", 90.5),
        ("retry-after: 250ms", 0.25),
        ("retry-after: 12us", 12e-6),
        ("retry-after: soon", None),
        ("retry-after: 5", None),
        ("retry-after: 5\u017f", None),
        ("You have reached your pull rate limit.", None),
        ("", None),
    ],
)
def test_a_message_may_say_when(text: str, expected: float | None) -> None:
    """GHCR says it there, as Go prints a duration, and in no header."""
    assert retry_after_in(text) == (None if expected is None else pytest.approx(expected))


@given(st.text())
def test_any_message_may_come(text: str) -> None:
    """What follows `retry-after:` may be anything."""
    told = retry_after_in(f"retry-after: {text}")
    assert told is None or told >= 0
