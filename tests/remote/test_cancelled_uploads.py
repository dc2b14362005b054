"""Uploads that are cancelled by asyncio itself, whose `timeout` and `cancel` do not mind anyio's shields."""

from __future__ import annotations

import asyncio

import pytest

import oci_distribution as oci
from tests.hostile import Exchange, hostile

DIGEST = oci.Digest.of(b"a layer")
UPLOAD = "/v2/team/app/blobs/uploads/1"


class Waiting:
    """A registry that opens an upload instead of a mount, and keeps one request waiting until it is told."""

    def __init__(self, method: str) -> None:
        self._method = method
        self.asked = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self, exchange: Exchange) -> None:
        await exchange.read_body()
        if exchange.method == self._method:
            self.asked.set()
            await self.go.wait()
        match exchange.method:
            case "POST":
                await exchange.answer(202, headers=[("Location", UPLOAD)])
            case "GET":
                await exchange.answer(204, headers=[("Location", UPLOAD), ("Range", "0-0")])
            case _:
                await exchange.answer(204)


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("times", [1, 2, 3])
async def test_upload_is_given_up_however_often_we_are_cancelled(method: str, times: int) -> None:
    """While it is opened as well as while it is given up already; and no task stays behind."""
    registry = Waiting(method)
    async with hostile(registry) as server, oci.Client() as client:
        repo = client.registry(server.url).repository("team/app")
        task = asyncio.create_task(repo.blobs.mount(DIGEST, "team/base"))
        await registry.asked.wait()
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        registry.go.set()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert [request.method for request in server.requests] == ["POST", "GET", "DELETE"]
        assert not [other for other in asyncio.all_tasks() if "UploadTarget" in repr(other)]
