"""Where something lives: one event loop of one process, from its first use until it is closed."""

from __future__ import annotations

import asyncio
import os

__all__ = ["Home"]


class Home:
    """Says when something is used where it cannot work; locks and connections would fail strangely there.

    Args:
        what: What lives there, in the words of an error: `this client`.
    """

    __slots__ = ("_loop", "_process", "_what", "is_closed")

    def __init__(self, what: str) -> None:
        self._what = what
        self._loop: asyncio.AbstractEventLoop | None = None
        self._process = 0
        self.is_closed: bool = False
        """Whether it is over."""

    def check(self) -> None:
        """Settle here at the first use, and make sure later that this is still the place.

        Raises:
            RuntimeError: It is closed, or belongs to another event loop or process.
        """
        if self.is_closed:
            raise RuntimeError(f"{self._what} is closed: open a new one")
        loop, process = asyncio.get_running_loop(), os.getpid()
        if self._loop is None:
            self._loop, self._process = loop, process
        if self._process != process:
            raise RuntimeError(
                f"{self._what} was used before a fork: open a new one in the child process, after the fork"
            )
        if self._loop is not loop:
            raise RuntimeError(
                f"{self._what} belongs to another event loop: open one in each, within what asyncio.run gets"
            )

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else "open" if self._loop is not None else "not used yet"
        return f"<Home of {self._what}, {state}>"
