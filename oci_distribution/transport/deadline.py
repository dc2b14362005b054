"""The deadline of an operation: until when all of it has to be over, retries and waits included.

It is followed by everything that the operation does, in whatever task; and it says what took so long.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

import anyio
import httpx

from oci_distribution.errors import DeadlineExceeded, RequestContext
from oci_distribution.iterating import iterating

__all__ = ["Deadline", "DeadlineStream", "current_deadline", "doing", "following", "without_deadline"]


class Deadline:
    """Until when an operation has to be over.

    Args:
        total: Seconds from now on.
    """

    __slots__ = ("_at", "_total", "doing")

    def __init__(self, total: float) -> None:
        self._total = total
        self._at = anyio.current_time() + total
        self.doing: str = "getting ready"
        """What takes the time just now, to follow "while"."""

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self._at - anyio.current_time()

    def exceeded(self, context: RequestContext) -> DeadlineExceeded:
        """Return the error that says so."""
        return DeadlineExceeded(
            f"not done after {self._total:g} seconds, while {self.doing}", context=context
        )

    @contextmanager
    def enforced(self, context: RequestContext) -> Generator[None]:
        """Cancel what is under this `with` when time is up; not to be held open across a `yield`.

        Raises:
            DeadlineExceeded: Time is up.
        """
        with anyio.CancelScope(deadline=self._at) as scope, following(self):
            yield
        if scope.cancelled_caught:
            raise self.exceeded(context)


_current: ContextVar[Deadline | None] = ContextVar("oci_distribution_deadline", default=None)


def current_deadline() -> Deadline | None:
    """Return the deadline of the operation that we are a part of."""
    return _current.get()


@contextmanager
def following(deadline: Deadline | None) -> Generator[None]:
    """Let what is under this `with` be a part of the operation that has this deadline."""
    token = _current.set(deadline)
    try:
        yield
    finally:
        _current.reset(token)


def without_deadline() -> AbstractContextManager[None]:
    """Let what is under this `with` take its time: what took too long has to be cleaned up."""
    return following(Deadline(math.inf))


def doing(what: str) -> None:
    """Say what the operation that we are a part of spends its time with from now on."""
    deadline = _current.get()
    if deadline is not None:
        deadline.doing = what


class DeadlineStream(httpx.AsyncByteStream):
    """The body of an answer that has to be here by a deadline.

    Args:
        stream: The body.
        deadline: When it has to be over.
        context: Which request it answers.
    """

    def __init__(self, stream: httpx.AsyncByteStream, deadline: Deadline, context: RequestContext) -> None:
        self._stream = stream
        self._deadline = deadline
        self._context = context

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        async with iterating(self._stream) as pieces:
            while True:
                self._deadline.doing = "reading the answer's body"
                if self._deadline.left <= 0:
                    raise self._deadline.exceeded(self._context)  # what is here already is not waited for
                with self._deadline.enforced(self._context):
                    piece = await anext(pieces, None)
                if piece is None:
                    return
                self._deadline.doing = "what was read is being used"
                yield piece

    async def aclose(self) -> None:
        """Close the body."""
        await self._stream.aclose()
