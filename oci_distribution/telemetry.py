"""OpenTelemetry: a span and a measurement for every request (the extra `otel`).

    client = oci.Client(observer=OpenTelemetry())

By the semantic conventions for HTTP clients: a request that is sent again is a span of its own, and spans
belong to the one that is current where the request is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from opentelemetry import metrics, trace
from opentelemetry.trace import SpanKind, StatusCode

from oci_distribution.events import Event, RequestEvent, RequestFailed, RequestSent, ResponseEnded
from oci_distribution.transport.http_client import installed_version

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider

__all__ = ["OpenTelemetry"]

_SCHEMA: Final = "https://opentelemetry.io/schemas/1.23.1"
"""Where the conventions for HTTP became stable."""
_BOUNDARIES: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Seconds between the buckets of `http.client.request.duration`, as the conventions advise."""


class _Open(NamedTuple):
    """A request that is on its way."""

    span: Span
    attributes: dict[str, str | int]
    """Those that the measurement has in common with the span."""


class OpenTelemetry:
    """Makes OpenTelemetry's spans and metrics of requests: an observer of a client, or a sink for `observe`.

    A span named by its method lasts from when the request leaves until its answer is read or closed, with
    `http.request.method`, `server.address`, `server.port`, `url.full` (redacted),
    `http.response.status_code`, `error.type` and `http.request.resend_count`; the same seconds are measured
    as `http.client.request.duration`. Nothing is added to the requests themselves.

    Args:
        tracer_provider: Makes the spans; by default the global one.
        meter_provider: Measures; by default the global one.
    """

    def __init__(
        self, *, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
    ) -> None:
        name, version = "oci_distribution", installed_version()
        self._tracer = trace.get_tracer(name, version, tracer_provider, schema_url=_SCHEMA)
        meter = metrics.get_meter(name, version, meter_provider, schema_url=_SCHEMA)
        self._duration = meter.create_histogram(
            "http.client.request.duration",
            unit="s",
            description="Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=_BOUNDARIES,
        )
        self._open: dict[int, _Open] = {}

    def __call__(self, event: Event) -> None:
        """Take in what happened."""
        match event:
            case RequestSent():
                self._begin(event)
            case RequestFailed():
                self._end(event, event.seconds, error=event.error)
            case ResponseEnded():
                refused = str(event.status) if event.status >= 400 else None
                self._end(event, event.seconds, status=event.status, error=event.error or refused)
            case _:
                pass

    def _begin(self, event: RequestSent) -> None:
        parts = urlsplit(event.url)
        common: dict[str, str | int] = {
            "http.request.method": event.method,
            "server.address": parts.hostname or "",
            "server.port": parts.port or (443 if parts.scheme == "https" else 80),
        }
        attributes = {**common, "url.full": event.url}
        if event.resends:
            attributes["http.request.resend_count"] = event.resends
        span = self._tracer.start_span(event.method, kind=SpanKind.CLIENT, attributes=attributes)
        self._open[event.number] = _Open(span, common)

    def _end(
        self, event: RequestEvent, seconds: float, *, status: int | None = None, error: str | None = None
    ) -> None:
        known = self._open.pop(event.number, None)
        if known is None:
            # It left before anybody listened.
            return
        span, attributes = known
        outcome: dict[str, str | int] = {}
        if status is not None:
            outcome["http.response.status_code"] = status
        if error is not None:
            outcome["error.type"] = error
            span.set_status(StatusCode.ERROR)
        span.set_attributes(outcome)
        span.end()
        context = trace.set_span_in_context(span)
        self._duration.record(seconds, {**attributes, **outcome}, context=context)
