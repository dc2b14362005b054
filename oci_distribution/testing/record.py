"""A record of the requests that a registry got."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Generator, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from threading import Lock
from typing import Any

__all__ = ["RecordedRequest", "RequestLog"]

_SECRET = re.compile(
    r"authorization|cookie|token|passw|secret|signature|credential|assertion|api-?key|^sig$", re.IGNORECASE
)
"""Names of headers and query parameters whose values are not kept."""
_WITH_SCHEME = frozenset({"authorization", "proxy-authorization"})
_HIDDEN = "***"


@dataclass(slots=True, repr=False)
class RecordedRequest:
    """One request.

    Args:
        method: HTTP method.
        path: Decoded path.
        query: Query as it was spelled, without the question mark and the values of secret parameters.
        headers: By lower-case name, repeated ones joined by commas; of secret ones only the scheme is kept.
        body_size: Bytes of body that the registry took in.
        status: Status of the answer; None while there is none, and for ever when the client left before.
        answer_size: Bytes of body that were sent.
        connection: Address and port of the client: the same for all requests of a TCP connection.
        error: The specification's code with which the registry refused; None when it did not.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body_size: int = 0
    status: int | None = None
    answer_size: int = 0
    connection: str = ""
    error: str | None = None

    @classmethod
    def of(cls, scope: MutableMapping[str, Any]) -> RecordedRequest:
        """Return the record of a request by its ASGI scope."""
        headers: dict[str, str] = {}
        for raw_name, raw_value in scope["headers"]:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            value = _without_secret(name, value)
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        address, port = scope.get("client") or ("", "")
        return cls(
            scope["method"],
            scope["path"],
            _redact_query(scope["query_string"].decode("latin-1")),
            headers,
            connection=f"{address}:{port}",
        )

    @property
    def line(self) -> str:
        """Method, path and status, as in `HEAD /v2/a/manifests/v1 -> 404`."""
        return f"{self.method} {self.path} -> {self.status}"

    @property
    def request_line(self) -> str:
        """Method, path and query."""
        return f"{self.method} {self.path}?{self.query}" if self.query else f"{self.method} {self.path}"

    def __repr__(self) -> str:
        error = f" {self.error}" if self.error else ""
        sizes = f"{self.body_size} bytes in, {self.answer_size} out"
        return f"<{self.request_line} -> {self.status}{error}, {sizes}, from {self.connection}>"


def _without_secret(name: str, value: str) -> str:
    if _SECRET.search(name) is None:
        return value
    scheme, space, _ = value.partition(" ")
    return f"{scheme} {_HIDDEN}" if space and name in _WITH_SCHEME else _HIDDEN


def _redact_query(query: str) -> str:
    pairs = [pair.partition("=") for pair in query.split("&")]
    return "&".join(
        f"{name}={_HIDDEN}" if value and _SECRET.search(name) else name + equals + value
        for name, equals, value in pairs
    )


class RequestLog:
    """The newest requests, in the order they came.

    It may be read in another thread than the server's, which goes on adding to it: whoever iterates sees the
    requests of that moment. What a request says of its answer is there before the client has the answer.

    Args:
        limit: How many to keep.
    """

    def __init__(self, limit: int = 100_000) -> None:
        self._limit = limit
        self._requests: deque[RecordedRequest] = deque(maxlen=limit)
        self._captures: list[tuple[str, RequestLog]] = []
        self._lock = Lock()

    def append(self, request: RecordedRequest) -> None:
        """Add a request."""
        with self._lock:
            self._requests.append(request)
            for path, capture in self._captures:
                if fnmatchcase(request.path, path):
                    capture.append(request)

    def clear(self) -> None:
        """Forget all requests."""
        with self._lock:
            self._requests.clear()

    def lines(self) -> list[str]:
        """Return method, path and status of each request, as in `HEAD /v2/a/manifests/v1 -> 404`."""
        return [request.line for request in self]

    def matching(
        self, method: str | None = None, path: str = "*", *, status: int | None = None
    ) -> RequestLog:
        """Return the requests, of those that came so far, for which all of this is so.

        Args:
            method: This is their method.
            path: Their path matches this pattern, where `*` also matches slashes.
            status: This is the status of their answer.
        """
        log = RequestLog(self._limit)
        for request in self:
            if (
                method in (None, request.method)
                and status in (None, request.status)
                and fnmatchcase(request.path, path)
            ):
                log.append(request)
        return log

    def count(self, method: str | None = None, path: str = "*", *, status: int | None = None) -> int:
        """Count requests; the arguments are those of `matching`."""
        return len(self.matching(method, path, status=status))

    @property
    def connections(self) -> list[str]:
        """The TCP connections that requests came over, each once, in the order of their first requests."""
        return list(dict.fromkeys(request.connection for request in self))

    @contextmanager
    def capture(self, path: str = "*") -> Generator[RequestLog]:
        """Give a log of the requests that come while the context is open.

        It is filled as they come, and stays when this log is cleared.

        Args:
            path: Only requests whose path matches this pattern, where `*` also matches slashes.
        """
        capture = RequestLog(self._limit)
        with self._lock:
            self._captures.append((path, capture))
        try:
            yield capture
        finally:
            with self._lock:
                self._captures = [entry for entry in self._captures if entry[1] is not capture]

    def __iter__(self) -> Iterator[RecordedRequest]:
        with self._lock:
            return iter(list(self._requests))

    def __len__(self) -> int:
        return len(self._requests)

    def __getitem__(self, index: int) -> RecordedRequest:
        with self._lock:
            return self._requests[index]

    def __repr__(self) -> str:
        return "\n".join(map(repr, self)) or "<no requests>"
