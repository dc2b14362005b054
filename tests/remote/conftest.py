"""A registry, a client, and a repository between them."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

import oci_distribution as oci
from oci_distribution.testing import RunningRegistry, serve_registry


@pytest.fixture
async def registry() -> AsyncGenerator[RunningRegistry]:
    async with serve_registry(strict=True) as registry:
        yield registry


@pytest.fixture
async def client() -> AsyncGenerator[oci.Client]:
    async with oci.Client(retry=oci.RetryPolicy(base_delay=0.001)) as client:
        yield client


@pytest.fixture
def repo(client: oci.Client, registry: RunningRegistry) -> oci.Repository:
    return client.registry(registry.url).repository("team/app")
