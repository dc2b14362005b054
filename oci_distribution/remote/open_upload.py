"""An upload that is open at a registry: how it is begun, fed, finished and given up.

(Distribution specification, "Pushing blobs".) Every answer may move an upload to another location, and only
the newest one is good for the next request; distribution binds it to the number of bytes that it holds.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import anyio

from oci_distribution.content.sources import PartSource
from oci_distribution.errors import (
    Attempt,
    OCIError,
    ProtocolError,
    RangeInvalid,
    RequestError,
    ResponseError,
    SizeMismatch,
)
from oci_distribution.remote.announced import check_announced
from oci_distribution.spec import endpoints
from oci_distribution.spec.digest import Digest
from oci_distribution.spec.endpoints import Endpoint
from oci_distribution.spec.headers import (
    OCI_CHUNK_MIN_LENGTH,
    parse_chunk_min_length,
    parse_content_length,
    parse_upload_range,
)
from oci_distribution.spec.urls import resolve_url
from oci_distribution.transport.answers import SMALL_ANSWER, Answer
from oci_distribution.transport.calls import Body, Host
from oci_distribution.transport.deadline import doing, without_deadline
from oci_distribution.transport.learned import Learned
from oci_distribution.transport.sender import Sender
from oci_distribution.waiting import to_its_end

__all__ = ["OpenUpload", "UploadTarget"]

CLEAN_UP_PAUSE = 0.05
"""Seconds before an upload is given up once more."""
CLEAN_UP_DEADLINE = 3.0
"""Seconds for giving an upload up, so that Ctrl-C ends well within five."""
SMALLEST_CHUNK = 16 << 10
"""Bytes below which no chunk is made smaller: a registry that refuses those refuses chunks."""
MAX_MISPLACED = 5
"""Places at which a registry may refuse one chunk, and say that it wants another."""
_FEWEST = 2
"""Bytes of the smallest chunk: of one byte, registries say the same as of none (`parse_upload_range`)."""
_OK, _ACCEPTED = 200, 202
_TOO_LARGE = 413
_MISPLACED_OR_TOO_LARGE = frozenset({_TOO_LARGE, 416})
_NO_CHUNKS = frozenset({405, 501})


@dataclass(frozen=True, slots=True)
class UploadTarget:
    """A repository, as uploads see it.

    Args:
        sender: Sends.
        host: The registry.
        name: The repository.
    """

    sender: Sender
    host: Host
    name: str

    @property
    def learned(self) -> Learned:
        """What the registry has taught us about itself."""
        return self.sender.learned(self.host)

    async def request(self, endpoint: Endpoint, body: Body | bytes | None = None) -> Answer:
        """Send an endpoint, and return an answer that is all headers."""
        return await self.sender.request(self.host, endpoint, limit=SMALL_ANSWER, body=body)

    async def exists(self, digest: Digest, size: int) -> bool:
        """Ask whether the repository holds a blob of so many bytes, as far as it says how many there are."""
        answer = await self.request(endpoints.find_blob(self.name, digest))
        stored = parse_content_length(answer.headers.get("Content-Length"))
        return answer.status == _OK and stored in {None, size}

    async def check_stored(self, digest: Digest, size: int) -> None:
        """Make sure that what was put together of many chunks is what was sent.

        Raises:
            SizeMismatch: The registry holds more or less of it.
            DigestMismatch: It calls it otherwise.
        """
        answer = await self.request(endpoints.head_blob(self.name, digest))
        stored = parse_content_length(answer.headers.get("Content-Length"))
        if stored is not None and stored != size:
            raise SizeMismatch(f"the registry stored {stored} bytes of {digest}, not {size}").about(
                answer.context
            )
        check_announced(answer, digest)

    async def start(
        self, endpoint: Endpoint, *, digest: Digest | None = None, body: bytes | None = None
    ) -> OpenUpload | None:
        """Ask for an upload within the time that there is; None when the registry has the blob at once (201).

        Cancelled meanwhile, or when time is over, wait for its location: nobody else could give it up.

        Args:
            endpoint: What to ask.
            digest: Of the blob, where it may be there at once.
            body: The blob, where it goes along.

        Raises:
            DigestMismatch: The registry says that it has another one.
        """
        start = partial(self._start, endpoint, digest, body)
        return await self.sender.within_total(self.host, endpoint, start)

    async def _start(
        self, endpoint: Endpoint, digest: Digest | None, body: bytes | None
    ) -> OpenUpload | None:
        doing("waiting for the upload to be opened")
        with without_deadline():
            starting = asyncio.ensure_future(self.request(endpoint, body))
        try:
            answer = await asyncio.shield(starting)
            if answer.status != _ACCEPTED and digest is not None:
                check_announced(answer, digest)
            return self._opened(answer)
        except asyncio.CancelledError:
            await to_its_end(self._give_up(starting))
            raise

    async def _give_up(self, starting: asyncio.Future[Answer]) -> None:
        with anyio.move_on_after(CLEAN_UP_DEADLINE), suppress(OCIError):
            upload = self._opened(await asyncio.shield(starting))
            if upload is not None:
                await upload.give_up()
        starting.cancel()
        await asyncio.wait([starting])

    def _opened(self, answer: Answer) -> OpenUpload | None:
        if answer.status != _ACCEPTED:
            return None
        location = self.location(answer)
        if location is None:
            raise ProtocolError("the registry opened an upload without a Location", context=answer.context)
        minimum = parse_chunk_min_length(answer.headers.get(OCI_CHUNK_MIN_LENGTH))
        return OpenUpload(self, location, minimum=minimum)

    def location(self, answer: Answer) -> str | None:
        """Return where an upload is from now on; None when the answer does not say.

        Raises:
            ProtocolError: It is no URL.
            ForbiddenOrigin: The registry may not send us there.
        """
        location = answer.headers.get("Location")
        if location is None:
            return None
        try:
            target = resolve_url(answer.url, location)
        except ValueError as error:
            raise ProtocolError(f"the upload has a bad Location: {error}", context=answer.context) from None
        self.sender.check_target(self.host, target, answer.context)
        return target


@dataclass(slots=True)
class OpenUpload:
    """An upload of a registry that waits for bytes.

    Args:
        target: Where it is.
        location: Its newest location.
        size: Bytes that the registry has acknowledged.
        minimum: Bytes that every chunk but the last must have.
    """

    target: UploadTarget
    location: str = field(repr=False)
    size: int = 0
    minimum: int = 0

    def chunk_size(self, wanted: int) -> int:
        """Return the length of a chunk that the registry takes, as near to `wanted` as it can be.

        What a registry wants at least goes before what it took at most: it has to know.
        """
        largest = self.target.learned.largest_chunk
        return max(wanted if largest is None else min(wanted, largest), self.minimum, _FEWEST)

    async def put(self, digest: Digest, body: Body | bytes = b"") -> None:
        """Send the rest of the blob, and close the upload (end-6)."""
        endpoint = endpoints.put_upload(self.target.name, self.location, digest)
        check_announced(await self.target.request(endpoint, body), digest)

    async def stream(self, body: Body) -> None:
        """Send the whole blob in one PATCH."""
        endpoint = endpoints.stream_upload(self.target.name, self.location)
        self._move(await self.target.request(endpoint, body))
        self.size = body.size

    async def append(self, chunk: Body) -> None:
        """Send the next chunk (end-5); what is lost on the way is found out, and sent again.

        A chunk that is too large for the registry goes in smaller ones.
        """
        begin, end = self.size, self.size + chunk.size
        attempts: list[Attempt] = []
        refused: set[int] = set()
        while self.size < end:
            place, length = self.size, min(end - self.size, self.chunk_size(chunk.size))
            part = PartSource(chunk, place - begin, length)
            endpoint = endpoints.patch_upload(self.target.name, self.location, start=place, length=length)
            try:
                answer = await self.target.request(endpoint, part)
            except RequestError as error:
                # The source may be a registry, too: its GET says nothing about how we send.
                is_refused = error.method == endpoint.method and error.status in _MISPLACED_OR_TOO_LARGE
                if not is_refused:
                    self._note_no_chunks(error, endpoint)
                    await self._wait(error, attempts)
                self.size = await self._held(error, begin, end)
                if is_refused:
                    # Where the place is right, it is the length: GHCR answers 416 to more than 4 MiB.
                    if place in refused or error.status == _TOO_LARGE:
                        self._shrink(length, error)
                    refused.add(place)
                    if len(refused) > MAX_MISPLACED:
                        raise
            else:
                self._move(answer)
                # Our own count: ECR's `Range` stays at the first chunk.
                self.size += length
                self.target.learned.chunks = True
                attempts.clear()

    def _note_no_chunks(self, error: RequestError, endpoint: Endpoint) -> None:
        """Remember that the registry knows no chunks (GAR), so that nobody sends one again.

        One that has taken some knows them, and refused this one for another reason.
        """
        is_unknown = error.method == endpoint.method and error.status in _NO_CHUNKS
        if is_unknown and self.target.learned.chunks is None:
            self.target.learned.chunks = False

    async def _wait(self, error: RequestError, attempts: list[Attempt]) -> None:
        """Wait until the upload may be asked where it stands; raise `error` when it will not pass."""
        target = self.target
        endpoint = endpoints.upload_status(target.name, self.location)
        await target.sender.wait_to_repeat(target.host, endpoint, error, attempts)

    async def _held(self, error: RequestError, begin: int, end: int) -> int:
        """Return how many bytes the registry holds; raise `error` when it will not say, or lost some."""
        try:
            held = await self.ask()
        except (ResponseError, ProtocolError):
            # ECR Public has no status of uploads, and a proxy may answer in its own words.
            raise error from None
        if not begin <= held <= end:
            error.add_note(f"the registry holds {held} bytes of the upload, not {begin} or more")
            raise error
        return held

    def _shrink(self, length: int, error: RequestError) -> None:
        """Send shorter chunks from now on; raise `error` when they are as short as can be."""
        if length // 2 < max(self.minimum, SMALLEST_CHUNK):
            raise error
        self.target.learned.largest_chunk = length // 2

    async def finish(self, digest: Digest) -> None:
        """Close an upload that has all bytes (end-6). In doubt, see what became of it."""
        attempts: list[Attempt] = []
        is_stale = True
        while True:
            try:
                return await self.put(digest)
            except RequestError as error:
                if isinstance(error, RangeInvalid) and is_stale:
                    is_stale = False  # the location may have been; the one that is asked for is not
                else:
                    await self._wait(error, attempts)
                if await self.target.exists(digest, self.size):
                    return None
                await self._held(error, self.size, self.size)

    async def ask(self) -> int:
        """Return how many bytes the registry holds (end-13), and note the newest location.

        Raises:
            BlobUploadUnknown: There is no such upload any more.
            ProtocolError: The registry does not say.
        """
        answer = await self.target.request(endpoints.upload_status(self.target.name, self.location))
        self._move(answer)
        held = parse_upload_range(answer.headers.get("Range"))
        if held is None:
            raise ProtocolError("the registry does not say how much of the upload it holds").about(
                answer.context
            )
        return held

    async def give_up(self) -> None:
        """Delete the upload. That it fails is no news: the specification lets a registry drop it first."""
        await to_its_end(self._given_up())

    async def _given_up(self) -> None:
        with anyio.move_on_after(CLEAN_UP_DEADLINE), without_deadline(), suppress(OCIError):
            while not await self._cancelled():
                # distribution is still taking in what it got of a PUT, and moves the offset once more.
                await self.target.sender.timing.sleep(CLEAN_UP_PAUSE)

    async def _cancelled(self) -> bool:
        """Delete the upload, unless its location has become another one meanwhile."""
        # distribution binds the location to an offset, and a body moved it: only a fresh one is good.
        is_fresh = False
        with suppress(ResponseError):  # ECR Public has no status of uploads
            self._move(await self.target.request(endpoints.upload_status(self.target.name, self.location)))
            is_fresh = True
        try:
            await self.target.request(endpoints.cancel_upload(self.target.name, self.location))
        except RangeInvalid:
            return not is_fresh
        return True

    def _move(self, answer: Answer) -> None:
        self.location = self.target.location(answer) or self.location
