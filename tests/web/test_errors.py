"""What clients are told when there is nothing to send."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import httpx
import pytest
from starlette.requests import Request

import oci_distribution as oci
from oci_distribution.testing import Fault, RunningRegistry
from oci_distribution.web import oci_error_handler
from tests.hostile import Exchange, hostile

if TYPE_CHECKING:
    from tests.web.conftest import Backend

DIGEST = oci.Digest.of(b"nowhere")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/team/app/blobs/{DIGEST}", 404),
        ("/team/app/manifests/nowhere", 404),
        (f"/team/app/manifests/{DIGEST}", 404),
        ("/team/app/blobs/sha256:abc", 400),
        (f"/team/app/manifests/{DIGEST}a", 400),
        ("/team/app/manifests/no tag", 400),
        (f"/Team/../App/blobs/{DIGEST}", 400),
    ],
)
async def test_what_is_not_there_or_no_name(
    web: httpx.AsyncClient, registry: RunningRegistry, method: str, path: str, status: int
) -> None:
    """404, and 400 before anybody was asked."""
    request = web.build_request(method, "/")
    request.url = request.url.copy_with(raw_path=path.replace(" ", "%20").encode())
    answer = await web.send(request)

    assert answer.status_code == status
    assert len(registry.requests) == (status == 404)


@pytest.mark.parametrize(
    ("fault", "status", "retry_after"),
    [
        (Fault(status=429, retry_after=100), 429, "100"),
        (Fault(status=503, retry_after=100), 503, "100"),
        (Fault(status=503), 503, None),
        (Fault(status=500), 502, None),
        (Fault(status=401), 502, None),
        (Fault(status=403), 502, None),
        (Fault(status=418), 502, None),
        (Fault(reset=True), 502, None),
    ],
)
@pytest.mark.parametrize("kind", ["blobs", "manifests"])
async def test_registry_that_fails_us(
    web: httpx.AsyncClient,
    backend: Backend,
    registry: RunningRegistry,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    fault: Fault,
    status: int,
    retry_after: str | None,
) -> None:
    """Its patience is passed on, its failures are a bad gateway's, and the log says what happened."""
    registry.faults.add(fault)

    with caplog.at_level(logging.WARNING, logger="oci_distribution.web"):
        answer = await web.get(f"/team/app/{kind}/{DIGEST}")

    assert answer.status_code == status
    assert answer.headers.get("retry-after") == retry_after
    assert "www-authenticate" not in answer.headers
    assert registry.host not in answer.text
    assert f"{registry.url}/v2/team/app/{kind}/" in caplog.text
    assert backend.left() == []


async def test_secrets_of_the_registry_stay_here(
    web: httpx.AsyncClient, registry: RunningRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Where it sends us, and what it says, is not passed on; a signature is not even logged."""
    async with hostile(_refuse) as storage:
        registry.faults.add(Fault(method="GET", redirect=f"{storage.url}/x?signature=hunter2"))
        answer = await web.get(f"/team/app/blobs/{DIGEST}")

    assert answer.status_code == 502
    assert answer.json() == {"detail": "the registry refused, or gave no usable answer"}
    assert "hunter2" not in caplog.text


async def _refuse(exchange: Exchange) -> None:
    await exchange.answer(403, b'{"errors": [{"code": "DENIED", "message": "you@example.com may not"}]}')


async def test_registry_that_is_silent() -> None:
    """A gateway's time-out is 504."""
    timeout = oci.TimeoutExceeded("no answer in 60 seconds")

    answer = await oci_error_handler(_request(), timeout)

    assert answer.status_code == 504
    assert bytes(answer.body) == b'{"detail":"the registry did not answer in time"}'


def _request() -> Request:
    return Request({"type": "http", "method": "GET", "headers": []})
