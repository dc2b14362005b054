"""The bytes of a blob on their way: where the connection breaks, another one goes on from there."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from oci_distribution.errors import (
    Attempt,
    BlobUnknown,
    ContentError,
    NameUnknown,
    NotFound,
    ProtocolError,
    RequestError,
    SizeMismatch,
    TimeoutExceeded,
    TransportError,
)
from oci_distribution.events import emit
from oci_distribution.remote.failover import MirrorFailed, Place, exclude
from oci_distribution.spec import endpoints
from oci_distribution.spec.digest import Digest
from oci_distribution.spec.endpoints import Endpoint
from oci_distribution.spec.headers import (
    ContentRange,
    parse_content_length,
    parse_content_range,
    range_header,
)
from oci_distribution.transport.answers import OpenAnswer
from oci_distribution.transport.calls import Host
from oci_distribution.transport.deadline import Deadline, following
from oci_distribution.transport.sender import Sender

__all__ = ["BlobBody", "whole_length"]

PROGRESS = 1 << 20
"""Bytes after which a break counts as the first again: by one at a time a registry could keep us for ever."""
LEAST_PART = 1 << 16
"""Bytes that a registry must serve of a range that it cuts short, as it may (RFC 9110 section 15.3.7), to be
asked for the rest."""


class BlobBody:
    """A part of a blob, in as many answers as it takes: one, unless it breaks.

    Args:
        sender: Sends the requests.
        places: Where to ask, in order: mirrors, and at last the registry itself.
        digest: Which blob.
        size: Length of the whole blob in bytes, if it is known.
        served: Which of the places bytes came from: filled here, and shared by the parts of one stream.
        urls: Other places to get it from, when the registry does not hold it; asked without authorization.
        start: First byte wanted.
        stop: Where to stop; None for the end. Of the whole, from its first byte to its end, all that comes is
            passed on, for who verifies it to see; of a part, never more than was asked for.
    """

    def __init__(
        self,
        sender: Sender,
        places: Sequence[Place],
        digest: Digest,
        *,
        size: int | None,
        served: set[int],
        urls: tuple[str, ...] = (),
        start: int = 0,
        stop: int | None = None,
    ) -> None:
        self._sender = sender
        self._places = places
        self._at = 0
        self._digest = digest
        self._size = size
        self._urls = urls
        self._start = start
        self._stop = stop
        self._etag: str | None = None
        self._foreign: str | None = None
        self._served = served
        self.deadline: Deadline | None = None
        """When all of it has to be over; None before the first request, and for no limit."""
        self.answer: OpenAnswer | None = None
        """The newest answer; None before there is one."""

    @property
    def _host(self) -> Host:
        return self._places[self._at].host

    @property
    def _home(self) -> Host:
        return self._places[-1].host

    @property
    def _is_mirror(self) -> bool:
        return self._at < len(self._places) - 1

    @property
    def _endpoint(self) -> Endpoint:
        endpoint = endpoints.get_blob(self._places[self._at].repository, self._digest)
        return endpoint if self._foreign is None else replace(endpoint, target=self._foreign)

    async def open(self) -> OpenAnswer:
        """Ask for the first time, and return the answer.

        Raises:
            BlobUnknown: Neither the registry nor another place has it.
        """
        try:
            return await self._ask_in_turn(self._start)
        except (BlobUnknown, NameUnknown) as error:
            return await self._ask_elsewhere(error)

    async def _ask_in_turn(self, position: int) -> OpenAnswer:
        """Ask where we are, and from there on at the next places until one answers."""
        while self._is_mirror:
            try:
                answer = await self._ask(position)
                self._check_length(answer)
            except (ContentError, NotFound, RequestError) as error:
                await self.aclose()
                self._leave_mirror(error)
            else:
                return answer
        return await self._ask(position)

    def _check_length(self, answer: OpenAnswer) -> None:
        length = whole_length(answer)
        if length is not None and self._size is not None and length != self._size:
            raise SizeMismatch(f"{self._digest} is announced with {length} bytes, not {self._size}")

    def _leave_mirror(self, error: Exception) -> None:
        if isinstance(error, ContentError):
            exclude(self._sender, self._home, self._host, error)
        else:
            failed = MirrorFailed(self._home.registry, self._host.registry, str(error), excluded=False)
            emit(failed, self._sender.observer)
        self._at += 1
        self._etag = None

    def blame(self, error: ContentError) -> bool:
        """Exclude the mirrors that wrong bytes may have come from; False when there were none."""
        mirrors = [self._places[index].host for index in self._served if index < len(self._places) - 1]
        for mirror in mirrors:
            exclude(self._sender, self._home, mirror, error)
        return bool(mirrors)

    async def _ask_elsewhere(self, refusal: BlobUnknown | NameUnknown) -> OpenAnswer:
        """Ask at the places that the descriptor names ("foreign layers"), which get no authorization."""
        for url in self._urls:
            try:
                self._sender.check_target(self._home, url, refusal.context)
                self._foreign = url
                answer = await self._ask(self._start)
                self._check_length(answer)
            except (ContentError, RequestError) as error:
                await self.aclose()
                refusal.add_note(f"{url}: {error}")
            else:
                return answer
        raise refusal

    async def _ask(self, position: int) -> OpenAnswer:
        """Ask for the blob from `position` on; what comes may be the whole all the same."""
        headers: list[tuple[str, str]] = []
        # No header can ask for an empty part; who wants one learns from the answer how long the blob is.
        if position != self._stop and (position or self._stop is not None):
            headers.append(("Range", range_header(position, self._stop)))
            if self._etag is not None:
                headers.append(("If-Range", self._etag))
        self.deadline = self.deadline or self._sender.deadline(self._home)
        with following(self.deadline):
            answer = await self._sender.open(self._host, self._endpoint, headers=headers)
        self.answer = answer
        self._served.add(self._at)
        if answer.status == 206:
            shown = answer.headers.get("Content-Range")
            if not self._is_wanted(parse_content_range(shown), position):
                await answer.aclose()
                message = f"asked for the blob from byte {position} on, the registry answered {shown!r}"
                raise ProtocolError(message, context=answer.context)
        etag: str | None = answer.headers.get("ETag")
        self._etag = etag if etag is not None and not etag.startswith("W/") else None
        return answer

    def _is_wanted(self, given: ContentRange | None, position: int) -> bool:
        if given is None or given.start != position:
            return False
        return given.total is None or self._size is None or given.total == self._size

    def widen(self, stop: int) -> None:
        """Hand out the bytes up to `stop`, since the answer is the whole blob all the same."""
        self._stop = stop

    async def aclose(self) -> None:
        """Close the connection; again does nothing."""
        if self.answer is not None:
            await self.answer.aclose()

    async def pieces(self, size: int) -> AsyncGenerator[bytes]:
        """Hand out the bytes as they come.

        Args:
            size: Length of the whole blob in bytes, by its descriptor.

        Raises:
            TransportError: It broke more often than our patience lasts without getting on.
            ProtocolError: The registry went on with something else.
            SizeMismatch: It ended before its end.
        """
        self._sender.home.check()
        self._size = size
        position = counted_from = self._start
        stop = size if self._stop is None else self._stop
        attempts: list[Attempt] = []
        answer = self.answer if self.answer is not None else await self.open()
        while True:
            begin, failure = position, None
            try:
                async with aclosing(self._bytes_from(answer, position, stop)) as body:
                    async for piece in body:
                        position += len(piece)
                        yield piece
            except TransportError as error:
                failure = error
            await answer.aclose()  # before any wait: a slot is for those who use it
            if position >= stop:
                return
            if failure is None:
                if answer.status != 206 or position - begin < LEAST_PART:
                    raise SizeMismatch(f"the blob ended at byte {position}, before {stop}").about(
                        answer.context
                    )
            else:
                if position - counted_from >= PROGRESS:
                    attempts.clear()
                    counted_from = position
                await self._get_over(failure, attempts)
            answer = await self._ask_in_turn(position)

    async def _get_over(self, error: TransportError, attempts: list[Attempt]) -> None:
        """Leave a mirror that broke, or wait until the registry may be asked again."""
        if self._is_mirror:
            self._leave_mirror(error)
            return
        with following(self.deadline):
            await self._sender.wait_to_repeat(self._host, self._endpoint, error, attempts)

    async def _bytes_from(self, answer: OpenAnswer, position: int, stop: int) -> AsyncGenerator[bytes]:
        """Hand out an answer from `position` on; of a whole blob that comes instead, the rest is dropped."""
        skip = 0 if answer.status == 206 else position
        is_whole = self._start == 0 and self._stop is None
        left = None if is_whole else stop - position
        timeouts = self._sender.timeouts_of(self._host)
        watch = _Watch(timeouts.minimum_rate, timeouts.rate_window, answer)
        async with aclosing(aiter(answer)) as body:
            watch.wait()
            async for piece in body:
                watch.got(len(piece))
                rest = piece[skip:][:left]
                skip = max(skip - len(piece), 0)
                if left is not None:
                    left -= len(rest)
                if rest:
                    yield rest
                if left == 0:
                    return
                watch.wait()


def whole_length(answer: OpenAnswer) -> int | None:
    """Return how long the whole blob is, as an answer with all or a part of it says."""
    if answer.status != 206:
        return parse_content_length(answer.headers.get("Content-Length"))
    given = parse_content_range(answer.headers.get("Content-Range"))
    return None if given is None else given.total


class _Watch:
    """Sees whether a body comes too slowly; the time that its reader takes does not count."""

    def __init__(self, rate: float, window: float, answer: OpenAnswer) -> None:
        self._rate = rate
        self._window = window
        self._answer = answer
        self._began = 0.0
        self._waited = 0.0
        self._bytes = 0

    def wait(self) -> None:
        # What a cap of the user's holds back has come, and is no slowness of the host's.
        self._began = time.monotonic() - self._answer.held_back

    def got(self, count: int) -> None:
        self._waited += time.monotonic() - self._answer.held_back - self._began
        self._bytes += count
        if self._waited < self._window:
            return
        if self._bytes < self._rate * self._waited:
            message = f"only {self._bytes} bytes came in {self._waited:.0f} seconds"
            raise TimeoutExceeded(message, context=self._answer.context)
        self._waited, self._bytes = 0.0, 0
