"""OpenTelemetry's spans and measurements, as its own exporters see them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import oci_distribution as oci
from oci_distribution.telemetry import OpenTelemetry
from oci_distribution.testing import Fault, RunningRegistry, TokenAuth, serve_registry
from tests.hostile import Exchange, hostile


async def ann(host: str, repository: str | None) -> oci.Credential:
    return oci.Credential(username="ann", password="secret")


class Collected:
    """A telemetry, and what comes out of it."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._meters = MeterProvider([self._reader])
        self.sink = OpenTelemetry(tracer_provider=self.tracers, meter_provider=self._meters)

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    @property
    def measured(self) -> Any:
        """The one metric."""
        data = self._reader.get_metrics_data()
        assert data is not None
        ((metric,),) = ([*scope.metrics] for item in data.resource_metrics for scope in item.scope_metrics)
        return metric

    @property
    def points(self) -> list[HistogramDataPoint]:
        return list(self.measured.data.data_points)

    def close(self) -> None:
        self.tracers.shutdown()
        self._meters.shutdown()


@pytest.fixture
def collected() -> Any:
    collected = Collected()
    yield collected
    collected.close()


@pytest.fixture
async def registry() -> AsyncGenerator[RunningRegistry]:
    async with serve_registry() as registry:
        yield registry


async def test_a_request_is_a_span(collected: Collected, registry: RunningRegistry) -> None:
    """Named by its method, with the attributes of the conventions, from its start to the end of its answer."""
    async with oci.Client(auth_provider=ann, observer=collected.sink) as client:
        await client.registry(registry.url).ping()

    (span,) = collected.spans
    host, _, port = registry.host.partition(":")
    assert (span.name, span.kind, span.status.status_code) == ("GET", SpanKind.CLIENT, StatusCode.UNSET)
    assert dict(span.attributes or {}) == {
        "http.request.method": "GET",
        "server.address": host,
        "server.port": int(port),
        "url.full": f"{registry.url}/v2/",
        "http.response.status_code": 200,
    }
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == "oci_distribution"
    assert span.instrumentation_scope.version == oci.__version__
    assert span.end_time is not None
    assert span.start_time is not None
    assert span.end_time > span.start_time


async def test_its_duration_is_measured(collected: Collected, registry: RunningRegistry) -> None:
    """In seconds, with the advised buckets, by method, server and status; never by URL."""
    async with oci.Client(auth_provider=ann, observer=collected.sink) as client:
        for _ in range(3):
            await client.registry(registry.url).ping()

    metric = collected.measured
    (point,) = metric.data.data_points
    assert (metric.name, metric.unit) == ("http.client.request.duration", "s")
    assert point.count == 3
    spans = {span.context.span_id for span in collected.spans if span.context}
    assert {exemplar.span_id for exemplar in point.exemplars} <= spans
    assert point.exemplars
    assert 0 < point.sum < 10
    assert point.explicit_bounds[:3] == (0.005, 0.01, 0.025)
    assert point.explicit_bounds[-1] == 10
    assert set(point.attributes or {}) == {
        "http.request.method",
        "server.address",
        "server.port",
        "http.response.status_code",
    }


async def test_a_resent_request_is_a_span_of_its_own(collected: Collected) -> None:
    """After a failure, a 401 or a redirect, with its ordinal; they are siblings under the user's own span."""
    tracer = collected.tracers.get_tracer("app")
    async with (
        serve_registry(auth=TokenAuth({"ann": "secret"})) as registry,
        oci.Client(
            auth_provider=ann, observer=collected.sink, retry=oci.RetryPolicy(base_delay=0.001)
        ) as client,
    ):
        registry.faults.add(Fault(path="/v2/", nth=2, status=503))
        with tracer.start_as_current_span("job") as job:
            await client.registry(registry.url).ping()

    spans = [span for span in collected.spans if span.name != "job"]
    seen = [
        (
            (span.attributes or {})["http.response.status_code"],
            (span.attributes or {}).get("http.request.resend_count"),
        )
        for span in spans
    ]
    assert seen == [(401, None), (200, None), (503, 1), (200, 2)]  # the second is the token server's
    assert {span.parent.span_id for span in spans if span.parent} == {job.get_span_context().span_id}


async def test_a_refusal_is_an_error(collected: Collected, registry: RunningRegistry) -> None:
    """Its type is the status."""
    async with oci.Client(auth_provider=ann, observer=collected.sink) as client:
        with pytest.raises(oci.NotFound):
            await client.registry(registry.url).repository("a/b").manifests.get("v1")

    (span,) = collected.spans
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "404"
    (point,) = collected.points
    assert (point.attributes or {})["error.type"] == "404"


async def test_no_answer_is_an_error(collected: Collected) -> None:
    """Its type is the class of our error, and there is no status."""

    async def script(exchange: Exchange) -> None:
        exchange.reset()

    retry = oci.RetryPolicy(attempts=1)
    async with (
        hostile(script) as server,
        oci.Client(auth_provider=ann, observer=collected.sink, retry=retry) as client,
    ):
        with pytest.raises(oci.BrokenAnswer):
            await client.registry(server.url).ping()

    (span,) = collected.spans
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "BrokenAnswer"
    assert "http.response.status_code" not in (span.attributes or {})
    assert (collected.points[0].attributes or {})["error.type"] == "BrokenAnswer"


async def test_a_body_that_breaks_is_an_error(collected: Collected) -> None:
    """Although the answer began well."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(200, b"abc", length=10)
        exchange.reset()

    retry = oci.RetryPolicy(attempts=1)
    async with (
        hostile(script) as server,
        oci.Client(auth_provider=ann, observer=collected.sink, retry=retry) as client,
    ):
        with pytest.raises(oci.BrokenAnswer):
            await client.registry(server.url).ping()

    attributes = collected.spans[0].attributes or {}
    assert attributes["http.response.status_code"] == 200
    assert attributes["error.type"]


async def test_what_is_cancelled_ends(collected: Collected) -> None:
    """No span stays open."""
    arrived = anyio.Event()

    async def script(exchange: Exchange) -> None:
        arrived.set()
        await exchange.hung_up()

    async with (
        hostile(script) as server,
        oci.Client(auth_provider=ann, observer=collected.sink) as client,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(client.registry(server.url).ping)
        await arrived.wait()
        tasks.cancel_scope.cancel()

    (span,) = collected.spans
    assert (span.attributes or {})["error.type"] == "CancelledError"
    assert not collected.sink._open


async def test_three_hundred_tasks_mix_nothing_up(collected: Collected, registry: RunningRegistry) -> None:
    """Each span has the status of its own request, and none stays open."""
    async with oci.Client(auth_provider=ann, observer=collected.sink) as client:
        repo = client.registry(registry.url).repository("a/b")
        there = await repo.blobs.push(b"x")

        async def work(number: int) -> None:
            if number % 2:
                await repo.blobs.read(there)
            else:
                with pytest.raises(oci.BlobUnknown):
                    await repo.blobs.read(oci.Digest.of(b"%d" % number))

        async with anyio.create_task_group() as tasks:
            for number in range(300):
                tasks.start_soon(work, number)

    reads = [span.attributes or {} for span in collected.spans if span.name == "GET"]
    assert len(reads) == 300
    for attributes in reads:
        is_there = str(attributes["url.full"]).endswith(str(there.digest))
        assert attributes["http.response.status_code"] == (200 if is_there else 404)
    assert not collected.sink._open


async def test_urls_are_redacted(collected: Collected) -> None:
    """What a registry signed is in no span."""

    async def script(exchange: Exchange) -> None:
        if exchange.target.startswith("/v2/"):
            await exchange.answer(307, headers=[("Location", f"{server.url}/s?sig=canary\u202e")])
        else:
            await exchange.answer(200, b"abc")

    async with hostile(script) as server, oci.Client(auth_provider=ann, observer=collected.sink) as client:
        await client.registry(server.url).repository("a/b").blobs.read(oci.Digest.of(b"abc"))

    shown = [str((span.attributes or {})["url.full"]) for span in collected.spans]
    assert shown[1] == f"{server.url}/s?sig=***"
    assert "canary" not in "".join(span.to_json() for span in collected.spans)


async def test_a_context_can_be_observed_alone(collected: Collected, registry: RunningRegistry) -> None:
    """It is a sink like any other."""
    async with oci.Client(auth_provider=ann) as client:
        await client.registry(registry.url).ping()
        with oci.observe(collected.sink):
            await client.registry(registry.url).ping()

    assert len(collected.spans) == 1


def test_an_event_of_a_request_that_it_does_not_know(collected: Collected) -> None:
    """It is let by."""
    collected.sink(oci.RequestFailed(10**9, "GET", "http://x/", 1, "ConnectError", "", 0.1))

    assert collected.spans == ()


def test_the_package_does_not_need_it() -> None:
    """Neither the package nor a client loads OpenTelemetry; it is an extra."""
    code = """
import sys, oci_distribution as oci
oci.Client()
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""
    subprocess.run([sys.executable, "-c", code], check=True)
