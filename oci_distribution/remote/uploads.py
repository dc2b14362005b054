"""The upload ladder: how a blob gets into a repository with the least work.

Known there: nothing. In another repository of the registry: mount. Else a session, and the whole blob
in one streamed PUT, the one form that no registry refuses (features differ for everything else).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

import anyio

from oci_distribution.content.protocols import MountPoint, PushOutcome, Source
from oci_distribution.errors import (
    DigestMismatch,
    NotFound,
    OCIError,
    ProtocolError,
    RangeInvalid,
    ResponseError,
    SizeMismatch,
    TokenError,
)
from oci_distribution.spec import endpoints
from oci_distribution.spec.endpoints import Endpoint
from oci_distribution.spec.headers import DOCKER_CONTENT_DIGEST
from oci_distribution.spec.models import Descriptor
from oci_distribution.spec.urls import resolve_url
from oci_distribution.transport.answers import Answer
from oci_distribution.transport.calls import Host
from oci_distribution.transport.sender import Sender

__all__ = ["Upload"]

SMALL_ANSWER = 64 << 10
"""Bytes of an answer that has nothing to say but its headers."""
ACCEPTED = 202
"""Status of an answer that opened a session."""
CLEAN_UP_PAUSE = 0.05
"""Seconds before a session is given up once more."""
CLEAN_UP_DEADLINE = 3.0
"""Seconds for giving a session up, so that Ctrl-C ends well within five."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One blob on its way into one repository.

    Args:
        sender: Sends.
        host: The registry.
        name: The repository.
        blob: What it must be.
        source: Where its bytes come from.
    """

    sender: Sender
    host: Host
    name: str
    blob: Descriptor
    source: Source

    async def run(self, *, mount_from: str | None = None) -> PushOutcome:
        """Bring the blob there.

        Args:
            mount_from: A repository of the same registry that holds it.
        """
        if self.source.size != self.blob.size:
            raise SizeMismatch(
                f"the source of {self.blob.digest} has {self.source.size} bytes, not {self.blob.size}"
            )
        if await self.exists():
            return PushOutcome.EXISTED
        location = None
        if mount_from is not None:
            mounted, location = await self._mount(mount_from)
            if mounted:
                return PushOutcome.MOUNTED

        async def attempt(number: int) -> None:
            # After a failure nobody knows whether the registry had it all (ECR has, ggcr#431).
            if number > 1 and await self.exists():
                return
            await self._send(location if number == 1 else None)

        await self.sender.repeat(self.host, endpoints.start_upload(self.name), attempt)
        return PushOutcome.COPIED

    async def exists(self) -> bool:
        """Ask whether the repository holds the blob."""
        try:
            await self.sender.request(
                self.host, endpoints.head_blob(self.name, self.blob.digest), limit=SMALL_ANSWER
            )
        except NotFound:
            return False
        return True

    async def _mount(self, from_name: str) -> tuple[bool, str | None]:
        """Ask for a mount: whether it was done, else the location of the session that was opened instead.

        A refusal is no failure: the blob can still be sent (GitLab answers 401 for a foreign `from`).
        """
        endpoint = endpoints.mount_blob(self.name, self.blob.digest, from_name)
        try:
            answer = await self._start(endpoint)
        except (ResponseError, TokenError):
            return False, None
        return (True, None) if answer.status == 201 else (False, self._location(answer))

    async def _send(self, location: str | None) -> None:
        """Send the whole blob in a session, a new one unless there is one."""
        if location is None:
            endpoint = endpoints.start_upload(self.name, digest_algorithm=self.blob.digest.algorithm)
            location = self._location(await self._start(endpoint))
        endpoint = endpoints.put_upload(self.name, location, self.blob.digest)
        try:
            answer = await self.sender.request(self.host, endpoint, limit=SMALL_ANSWER, body=self.source)
        except BaseException:
            await self._give_up(location)
            raise
        stored = answer.headers.get(DOCKER_CONTENT_DIGEST)
        if stored is not None and stored != self.blob.digest:
            raise DigestMismatch(f"the registry stored {stored}, not {self.blob.digest}").about(
                answer.context
            )

    def _location(self, answer: Answer) -> str:
        location = answer.headers.get("Location")
        if location is None:
            raise ProtocolError("the registry opened an upload without a Location", context=answer.context)
        try:
            target = resolve_url(answer.url, location)
        except ValueError as error:
            raise ProtocolError(f"the upload has a bad Location: {error}", context=answer.context) from None
        self.sender.check_target(self.host, target, answer.context)
        return target

    async def _start(self, endpoint: Endpoint) -> Answer:
        """Ask for a session. Cancelled meanwhile, wait for its location: nobody else could give it up."""
        starting = asyncio.ensure_future(self.sender.request(self.host, endpoint, limit=SMALL_ANSWER))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            with anyio.move_on_after(CLEAN_UP_DEADLINE, shield=True), suppress(OCIError):
                answer = await asyncio.shield(starting)
                if answer.status == ACCEPTED:
                    await self._give_up(self._location(answer))
            starting.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([starting])
            raise

    async def _give_up(self, location: str) -> None:
        """Delete the session. That it fails is no news: the specification lets a registry drop it first."""
        with anyio.move_on_after(CLEAN_UP_DEADLINE, shield=True), suppress(OCIError):
            while not await self._cancelled(location):
                # distribution is still taking in what it got of the PUT, and moves the offset once more.
                await self.sender.timing.sleep(CLEAN_UP_PAUSE)

    async def _cancelled(self, location: str) -> bool:
        """Delete the session, unless its location has become another one meanwhile."""
        # distribution binds the location to an offset, and the PUT moved it: only a fresh one is good.
        endpoint = endpoints.upload_status(self.name, location)
        status = await self.sender.request(self.host, endpoint, limit=SMALL_ANSWER)
        newest = self._location(status) if "Location" in status.headers else location
        try:
            endpoint = endpoints.cancel_upload(self.name, newest)
            await self.sender.request(self.host, endpoint, limit=SMALL_ANSWER)
        except RangeInvalid:
            return False
        return True


def mount_name(point: MountPoint | None, domain: object, name: str) -> str | None:
    """Return the repository to mount from, if `point` is another one in the same registry."""
    return point.name if point is not None and point.domain == domain and point.name != name else None
