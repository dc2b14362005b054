"""Where something lives: one event loop of one process, from its first use until it is closed."""

from __future__ import annotations

import asyncio
import os

__all__ = ["Home"]

_forks: list[None] = []
"""One for each fork that lies between the first process and this one; asking for the process costs more."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _forks.append(None))


class Home:
    """Says when something is used where it cannot work; locks and connections would fail strangely there.

    Args:
        what: What lives there, in the words of an error: `this client`.
    """

    __slots__ = ("_forks", "_loop", "_what", "is_closed")

    def __init__(self, what: str) -> None:
        self._what = what
        self._loop: asyncio.AbstractEventLoop | None = None
        self._forks = 0
        self.is_closed: bool = False
        """Whether it is over."""

    def check(self) -> None:
        """Settle here at the first use, and make sure later that this is still the place.

        Raises:
            RuntimeError: It is closed, or belongs to another event loop or process.
        """
        if self.is_closed:
            raise RuntimeError(f"{self._what} is closed: open a new one")
        if self._loop is None:
            self._loop, self._forks = asyncio.get_running_loop(), len(_forks)
        # First the process: after a fork, the loop of the parent does not even run.
        elif self._forks != len(_forks):
            raise RuntimeError(f"{self._what} was used before a fork: open a new one in the child process")
        elif self._loop is not asyncio.get_running_loop():
            raise RuntimeError(
                f"{self._what} belongs to another event loop: open one in each, within what asyncio.run gets"
            )

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else "open" if self._loop is not None else "not used yet"
        return f"<Home of {self._what}, {state}>"
