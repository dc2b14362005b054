"""A client and a registry in one event loop whose clock jumps: half a minute of waiting passes in a second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import oci_distribution as oci
from oci_distribution.transport.engine import AiohttpTransport
from oci_distribution.transport.pacing import Timing
from tests.sweep.clock import JumpingLoop

__all__ = ["JUMPING", "jumping_client"]

JUMPING: tuple[str, dict[str, Any]] = ("asyncio", {"loop_factory": JumpingLoop})
"""What the fixture `anyio_backend` of such tests returns."""


@asynccontextmanager
async def jumping_client(
    *,
    hosts: Mapping[str, oci.HostConfig] | None = None,
    slots: oci.Slots | None = None,
    timeouts: oci.Timeouts | None = None,
    auth_provider: oci.AuthProvider | None = None,
) -> AsyncGenerator[oci.Client]:
    """Open a client whose clock is the loop's, and who works in no thread: the loop would jump meanwhile."""
    async with oci.Client(
        transport=AiohttpTransport(proxies={}),
        auth_provider=auth_provider or _nobody,
        hosts=hosts,
        slots=slots,
        timeouts=timeouts,
    ) as client:
        client._sender.timing = Timing(now=asyncio.get_running_loop().time)
        yield client


async def _nobody(host: str, repository: str | None) -> oci.Credential:
    return oci.Credential()
