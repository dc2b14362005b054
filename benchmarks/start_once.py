"""Start the embedded registry in a process of its own, and print the seconds to its first answer."""

from __future__ import annotations

import asyncio
from time import perf_counter

from oci_distribution.testing import serve_registry


async def start() -> float:
    """Start, ask, and return how long it took."""
    began = perf_counter()
    async with serve_registry() as registry:
        reader, writer = await asyncio.open_connection(*registry.host.split(":"))
        writer.write(b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = await reader.readline()
        seconds = perf_counter() - began
        writer.close()
    assert answer.split()[1] == b"200"
    return seconds


if __name__ == "__main__":
    print(asyncio.run(start()))
