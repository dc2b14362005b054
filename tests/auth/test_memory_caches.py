"""The caches in memory, and requests that go without authorization."""

from __future__ import annotations

import anyio
import pytest

from oci_distribution.auth.cache import MemoryChallengeCache, MemoryTokenCache, Token, TokenKey
from oci_distribution.auth.challenge import Challenge
from oci_distribution.auth.direct import direct_requests, is_direct_request
from oci_distribution.auth.scope import Scope
from oci_distribution.spec.urls import Origin

ORIGINS = [Origin.of(f"https://r{number}.example") for number in range(3)]


async def test_challenges_are_kept_by_origin() -> None:
    """What was used last is kept; what is discarded is gone, and nothing happens when it never was there."""
    cache, challenges = (
        MemoryChallengeCache(capacity=2),
        [Challenge("basic", {"n": str(n)}) for n in range(3)],
    )
    await cache.set(ORIGINS[0], challenges[0])
    await cache.set(ORIGINS[1], challenges[1])
    await cache.get(ORIGINS[0])
    await cache.set(ORIGINS[2], challenges[2])
    assert [await cache.get(origin) for origin in ORIGINS] == [challenges[0], None, challenges[2]]

    for _ in range(2):
        await cache.discard(ORIGINS[0])
    assert await cache.get(ORIGINS[0]) is None


async def test_tokens_are_kept_by_key() -> None:
    """Writing counts as use, too."""
    cache = MemoryTokenCache(capacity=2)
    keys = [TokenKey(origin, "https://a/t", "s", Scope.parse("a:b:c"), "") for origin in ORIGINS]
    for key in (keys[0], keys[1], keys[0], keys[2]):
        await cache.set(key, Token(f"of {key.origin}", 1.0))
    assert [await cache.get(key) is not None for key in keys] == [True, False, True]

    for _ in range(2):
        await cache.discard(keys[0])
    assert await cache.get(keys[0]) is None


def test_direct_requests_end_with_their_block() -> None:
    """However it ends, and in whatever it stands."""
    assert not is_direct_request()
    with pytest.raises(ValueError, match="out"), direct_requests():
        with direct_requests():
            assert is_direct_request()
        assert is_direct_request()
        raise ValueError("out")
    assert not is_direct_request()


async def test_direct_requests_are_followed_by_tasks() -> None:
    """A task has what held where it was started, whatever holds there later."""
    seen: dict[str, bool] = {}
    begin = anyio.Event()

    async def look(name: str) -> None:
        await begin.wait()
        seen[name] = is_direct_request()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look, "outside")
        with direct_requests():
            tasks.start_soon(look, "inside")
        begin.set()

    assert seen == {"outside": False, "inside": True}
