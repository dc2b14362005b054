"""Retry: which failures pass by themselves, and how long to wait for that."""

from __future__ import annotations

from dataclasses import dataclass

from oci_distribution.errors import (
    ConnectError,
    DeadlineExceeded,
    RequestError,
    ResponseError,
    TLSError,
    TooManyRequests,
    TransportError,
)
from oci_distribution.spec.endpoints import Endpoint

__all__ = ["PASSING_STATUSES", "RetryPolicy"]

# 499 and 522 are nginx's and Cloudflare's words for a connection that broke behind them.
PASSING_STATUSES = frozenset({408, 429, 499, 500, 502, 503, 504, 522})


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How patient we are.

    Args:
        attempts: Tries of one request, the first included; 1 for no retry.
        base_delay: Seconds before the second try, doubled before each further one.
        max_delay: Longest pause of our own choice, in seconds.
        max_retry_after: Longest pause that a host may ask for, in seconds; when it asks for more, we give
            up at once and say so, because a hidden wait of minutes looks like a hang.
    """

    attempts: int = 5
    base_delay: float = 0.2
    max_delay: float = 15.0
    max_retry_after: float = 60.0

    def __post_init__(self) -> None:
        """Refuse a policy that would never send anything."""
        if self.attempts < 1:
            msg = "RetryPolicy.attempts must be at least 1"
            raise ValueError(msg)

    def delay(self, failed: int, retry_after: float | None, chance: float) -> float:
        """Return the seconds to wait after `failed` tries.

        Half of our own delay is chance, so that tasks that failed together do not come back together.
        What the host asked for is a minimum.
        """
        doubled = 2.0 ** min(failed - 1, 60)  # a float has no room for more than a thousand of them
        own: float = min(self.max_delay, self.base_delay * doubled)
        return max(own * (0.5 + chance / 2), retry_after or 0.0)

    def allows(self, error: RequestError, endpoint: Endpoint, failed: int) -> bool:
        """Say whether a request that failed `failed` times may be sent again."""
        if failed >= self.attempts or (error.retry_after or 0.0) > self.max_retry_after:
            return False
        return self.may_repeat(error, endpoint)

    @staticmethod
    def may_repeat(error: RequestError, endpoint: Endpoint) -> bool:
        """Say whether `error` may pass by itself, and repeating the request does no harm."""
        if isinstance(error, ConnectError):
            return not isinstance(error, TLSError)
        if isinstance(error, TransportError):
            return endpoint.repeatable and not isinstance(error, DeadlineExceeded)
        passing = isinstance(error, ResponseError) and error.status in PASSING_STATUSES
        return passing and (endpoint.repeatable or isinstance(error, TooManyRequests))
