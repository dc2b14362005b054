"""A record of the requests that a registry got."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

__all__ = ["RecordedRequest", "RequestLog"]

_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})


@dataclass(slots=True)
class RecordedRequest:
    """One request.

    Args:
        method: HTTP method.
        path: Decoded path.
        query: Query as it was spelled, without the question mark.
        headers: By lower-case name; of secret ones only the scheme is kept.
        body_size: Bytes of body that arrived.
        status: Status of the answer; None while there is none, and for ever when the client left before.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body_size: int = 0
    status: int | None = None

    @classmethod
    def of(cls, scope: MutableMapping[str, Any]) -> RecordedRequest:
        """Return the record of a request by its ASGI scope."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        for name in _SECRET_HEADERS & headers.keys():
            headers[name] = f"{headers[name].partition(' ')[0]} ***" if name != "cookie" else "***"
        return cls(scope["method"], scope["path"], scope["query_string"].decode("latin-1"), headers)


class RequestLog:
    """The newest requests, in the order they came.

    Args:
        limit: How many to keep.
    """

    def __init__(self, limit: int = 100_000) -> None:
        self._requests: deque[RecordedRequest] = deque(maxlen=limit)

    def append(self, request: RecordedRequest) -> None:
        """Add a request."""
        self._requests.append(request)

    def clear(self) -> None:
        """Forget all requests."""
        self._requests.clear()

    def count(self, method: str | None = None, path: str = "*") -> int:
        """Count requests.

        Args:
            method: Only those with this method.
            path: Only those whose path matches this pattern, where `*` also matches slashes.
        """
        return sum(
            method in (None, request.method) and fnmatchcase(request.path, path) for request in self._requests
        )

    def __iter__(self) -> Iterator[RecordedRequest]:
        return iter(self._requests)

    def __len__(self) -> int:
        return len(self._requests)

    def __getitem__(self, index: int) -> RecordedRequest:
        return self._requests[index]

    def __repr__(self) -> str:
        return "\n".join(f"{request.method} {request.path} -> {request.status}" for request in self._requests)
