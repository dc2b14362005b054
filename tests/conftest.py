"""What every test has."""

from __future__ import annotations

import gc

import pytest


def pytest_collection_finish() -> None:
    """Let no garbage collection look at what was imported and collected: it stays to the end."""
    gc.freeze()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a registry that stops not wait for a request of which the test knows that it never ends."""
    monkeypatch.setattr("oci_distribution.testing.server._GRACE", 0.01)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The library is for asyncio."""
    return "asyncio"
