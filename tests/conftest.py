"""What every test has."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The library is for asyncio."""
    return "asyncio"
