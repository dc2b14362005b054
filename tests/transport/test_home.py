"""Something lives in one event loop of one process, until it is closed."""

from __future__ import annotations

import asyncio

import pytest

from oci_distribution.transport.home import Home


def test_it_settles_where_it_is_used_first() -> None:
    """Not where it was made: there may be no event loop yet."""
    home = Home("this client")
    assert "not used yet" in repr(home)

    async def use() -> None:
        home.check()

    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(use())
        assert "open" in repr(home)
        with pytest.raises(RuntimeError, match="this client belongs to another event loop: open one in each"):
            second.run(use())
        first.run(use())


def test_without_an_event_loop() -> None:
    """That is asyncio's own error, and settles nothing."""
    home = Home("this client")

    with pytest.raises(RuntimeError, match="no running event loop"):
        home.check()

    assert "not used yet" in repr(home)


async def test_closed_comes_first() -> None:
    """What is closed is so everywhere."""
    home = Home("this client")
    home.is_closed = True

    with pytest.raises(RuntimeError, match="this client is closed: open a new one"):
        home.check()
    assert "closed" in repr(home)
