"""Which failures are tried again, and when."""

from __future__ import annotations

import pytest

from oci_distribution.errors import (
    BrokenAnswer,
    ConnectError,
    Denied,
    DigestMismatch,
    RequestContext,
    RequestError,
    ResponseError,
    TLSError,
    TooManyRequests,
)
from oci_distribution.spec import endpoints
from oci_distribution.transport.retry import RetryPolicy

GET = endpoints.get_manifest("a/b", "v1")
PUT = endpoints.put_upload("a/b", "http://h/upload", "sha256:" + "0" * 64)


def failed(cls: type[RequestError], **context: object) -> RequestError:
    return cls("", context=RequestContext(**context))  # type: ignore[arg-type]


@pytest.mark.parametrize("status", [408, 429, 499, 500, 502, 503, 504, 522])
def test_passing_statuses_are_repeated(status: int) -> None:
    """What a server says when it is in trouble for a moment is tried again."""
    assert RetryPolicy().allows(failed(ResponseError, status=status), GET, 1)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 413, 416, 501, 505])
def test_final_statuses_are_not_repeated(status: int) -> None:
    """What a server means is not tried again."""
    assert not RetryPolicy().allows(failed(ResponseError, status=status), GET, 1)


def test_an_unknown_outcome_is_repeated_only_where_that_does_no_harm() -> None:
    """A broken PUT of an upload may have been carried out: its session must be asked first."""
    assert RetryPolicy().allows(failed(BrokenAnswer), GET, 1)
    assert not RetryPolicy().allows(failed(BrokenAnswer), PUT, 1)


def test_what_was_never_sent_is_repeated() -> None:
    """Without a connection nothing was carried out, whatever the endpoint."""
    assert RetryPolicy().allows(failed(ConnectError), PUT, 1)


def test_a_tls_failure_is_final() -> None:
    """A certificate does not become right by asking again."""
    assert not RetryPolicy().allows(failed(TLSError), GET, 1)


def test_too_many_requests_is_repeated_for_every_endpoint() -> None:
    """A 429 says that nothing was done."""
    assert RetryPolicy().allows(failed(TooManyRequests, status=429), PUT, 1)
    assert not RetryPolicy().allows(failed(Denied, status=403), PUT, 1)


def test_patience_ends_after_the_last_attempt() -> None:
    """Five attempts are four repetitions."""
    policy = RetryPolicy(attempts=5)

    assert policy.allows(failed(BrokenAnswer), GET, 4)
    assert not policy.allows(failed(BrokenAnswer), GET, 5)


def test_a_host_that_asks_for_minutes_ends_it() -> None:
    """A hidden wait of minutes looks like a hang, so the error comes at once, with the wish in it."""
    policy = RetryPolicy(max_retry_after=60)

    assert policy.allows(failed(TooManyRequests, status=429, retry_after=60.0), GET, 1)
    assert not policy.allows(failed(TooManyRequests, status=429, retry_after=61.0), GET, 1)


@pytest.mark.parametrize(
    ("chance", "expected"), [(0.0, [0.5, 1.0, 2.0, 4.0, 4.0]), (1.0, [1.0, 2.0, 4.0, 8.0, 8.0])]
)
def test_pauses_double_up_to_a_limit_and_are_half_chance(chance: float, expected: list[float]) -> None:
    """Half of a pause is fixed and half is chance, so that tasks do not come back together."""
    policy = RetryPolicy(base_delay=1.0, max_delay=8.0)

    assert [policy.delay(failed, None, chance) for failed in range(1, 6)] == expected


def test_retry_after_is_a_minimum() -> None:
    """What the host asks for is waited at least, and our own pause when it is longer."""
    policy = RetryPolicy(base_delay=1.0)

    assert policy.delay(1, 30.0, 0.0) == 30.0
    assert policy.delay(1, 0.1, 1.0) == 1.0


def test_patience_without_end() -> None:
    """A delay can be doubled for as long as anybody tries."""
    assert RetryPolicy(attempts=10**6, max_delay=8.0).delay(5000, None, 1.0) == 8.0


def test_a_policy_without_attempts_is_refused() -> None:
    """A policy that sends nothing is a mistake."""
    with pytest.raises(ValueError, match="at least 1"):
        RetryPolicy(attempts=0)


def test_content_errors_are_not_failures_of_requests() -> None:
    """Wrong bytes are not asked for again by the sender: they are no `RequestError`."""
    assert not issubclass(DigestMismatch, RequestError)
