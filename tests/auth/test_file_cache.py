"""The token cache in a file: what one process leaves to the next, and what it does not."""

from __future__ import annotations

import json
import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest

from oci_distribution.auth import file_cache
from oci_distribution.auth.authorizer import Authorizer
from oci_distribution.auth.cache import Token, TokenKey
from oci_distribution.auth.credentials import ANONYMOUS, Credential
from oci_distribution.auth.file_cache import FileTokenCache
from oci_distribution.auth.scope import Scope
from oci_distribution.errors import CredentialError, InvalidArgument
from tests.auth.scripted import ANN, BEARER, NAME, ORIGIN, PULL, Clock, Provider, Tokens

KEY = TokenKey(ORIGIN, "https://auth.example/token", "reg", Scope.parse(PULL), "ann")


def key(number: int) -> TokenKey:
    return TokenKey(ORIGIN, f"https://auth.example/{number}", "reg", Scope.parse(PULL), "ann")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "tokens.json"


class Machine:
    """A machine with a wall clock; each process on it has a monotonic clock of its own."""

    def __init__(self, path: Path) -> None:
        self.path, self.wall = path, Clock()

    def process(self, started: float = 1000.0, **options: Any) -> tuple[FileTokenCache, Clock]:
        clock = Clock()
        clock.now = started
        return FileTokenCache(self.path, clock=clock, now=self.wall, **options), clock


@pytest.fixture
def machine(path: Path) -> Machine:
    return Machine(path)


async def test_the_next_process_needs_no_token(path: Path) -> None:
    """The same credential is served from the file; another one, and nobody, is not."""
    tokens = Tokens()
    for credential in (ANN, ANN, Credential("ann", "other"), ANONYMOUS, ANONYMOUS):
        authorizer = Authorizer(Provider(credential), fetch=tokens, token_cache=FileTokenCache(path))
        await authorizer.answer(ORIGIN, NAME, PULL, [BEARER], None)
    assert len(tokens.requests) == 3


async def test_an_old_token_that_is_refused_is_no_denial(path: Path) -> None:
    """The registry may have forgotten it since: another one is made, and only that one's refusal is final."""
    tokens = Tokens()
    for _ in range(2):
        authorizer = Authorizer(Provider(ANN), fetch=tokens, token_cache=FileTokenCache(path))
        old = await authorizer.answer(ORIGIN, NAME, PULL, [BEARER], None)
    assert old == "Bearer token-1"
    assert not authorizer.is_denial(ORIGIN, NAME, PULL, old)
    new = await authorizer.answer(ORIGIN, NAME, PULL, [BEARER], old, again=True)
    assert new == "Bearer token-2"
    assert authorizer.is_denial(ORIGIN, NAME, PULL, new)
    assert await authorizer.answer(ORIGIN, NAME, PULL, [BEARER], new, again=True) is None


async def test_times_are_those_of_each_process(machine: Machine) -> None:
    """A token has the rest of its life on the next one's clock, and is as old as it is."""
    one, _ = machine.process(started=5000)
    await one.set(KEY, Token("t", 5300, 300))
    machine.wall.now += 100
    other, _ = machine.process(started=7)
    assert await other.get(KEY) == Token("t", 207, 300)
    machine.wall.now += 200
    assert await other.get(KEY) is None


@pytest.mark.parametrize("seconds", [-1.0, -1e9, 301.0, 1e9])
async def test_a_wall_clock_that_jumps_makes_no_token_live_longer(seconds: float, machine: Machine) -> None:
    """What comes from the future is not used; what has ended by any clock has ended."""
    cache, _ = machine.process()
    await cache.set(KEY, Token("t", 1300, 300))
    machine.wall.now += seconds
    assert await cache.get(KEY) is None


async def test_the_file_is_ours_alone(path: Path) -> None:
    """Its folder, too; and no file of a moment stays."""
    cache = FileTokenCache(path)
    assert await cache.get(KEY) is None
    assert not path.parent.exists()
    await cache.set(KEY, Token("t", 1e9))
    assert [stat.S_IMODE(place.stat().st_mode) for place in (path, path.parent)] == [0o600, 0o700]
    assert sorted(place.name for place in path.parent.iterdir()) == ["tokens.json", "tokens.json.lock"]


async def test_no_secret_but_the_token_is_in_it(path: Path) -> None:
    """Neither password nor identity token, nor what could be guessed from quickly."""
    tokens = Tokens()
    credential = Credential("ann", "s3cr3t", identity_token="1d3nt1ty")
    authorizer = Authorizer(Provider(credential), fetch=tokens, token_cache=FileTokenCache(path))
    await authorizer.answer(ORIGIN, NAME, PULL, [BEARER], None)
    text = path.read_text()
    assert "token-1" in text
    assert not any(word in text for word in ("s3cr3t", "1d3nt1ty", "ann"))


async def test_a_name_is_of_one_file(tmp_path: Path) -> None:
    """Two files name the same credential differently, two processes with one file alike."""
    files = [FileTokenCache(tmp_path / name) for name in ("a", "a", "b")]
    one, again, elsewhere = [await cache.identify(ANN) for cache in files]
    assert one == again != elsewhere
    assert await files[0].identify(Credential("ann", "other")) != one
    assert await files[0].identify(ANONYMOUS) == ""


async def test_a_slow_name_is_computed_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty tasks that ask at once wait for one computation."""
    computed: list[Credential] = []

    def slow(credential: Credential, salt: bytes) -> str:
        computed.append(credential)
        return "name"

    monkeypatch.setattr(file_cache, "_slow_name", slow)
    cache = FileTokenCache(path)
    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(cache.identify, ANN)
    await cache.identify(ANN)
    assert computed == [ANN]


async def test_discarded_is_gone_for_all(path: Path) -> None:
    """In the file, too; and discarding what is not there writes nothing."""
    one, other = FileTokenCache(path), FileTokenCache(path)
    await one.set(KEY, Token("t", 1e9))
    assert await other.get(KEY) is not None
    await one.discard(KEY)
    assert await other.get(KEY) is None
    before = path.stat().st_mtime_ns
    await one.discard(KEY)
    assert path.stat().st_mtime_ns == before


async def test_it_is_bounded(machine: Machine) -> None:
    """The oldest go first, ended ones before them, and what no registry would take is not kept."""
    cache, clock = machine.process(capacity=2)
    await cache.set(key(0), Token("t", clock.now + 5))
    machine.wall.now += 10
    clock.now += 10
    for number in (1, 2, 3):
        await cache.set(key(number), Token("t", 1e9))
    assert [await cache.get(key(number)) is not None for number in range(4)] == [False, False, True, True]
    await cache.set(key(3), Token("x" * (file_cache.MAX_TOKEN + 1), 1e9))
    assert await cache.get(key(3)) is None
    assert len(json.loads(machine.path.read_text())["tokens"]) == 1


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"version": 2}', '{"key": 1}', '{"key": "no hex"}', '{"tokens": [1]}', "\0" * 100, "{}"],
)
async def test_a_broken_file_is_begun_anew(text: str, path: Path) -> None:
    """Nothing is lost but tokens."""
    path.parent.mkdir()
    path.write_text(text)
    path.chmod(0o600)
    cache = FileTokenCache(path)
    assert await cache.get(KEY) is None
    await cache.set(KEY, Token("t", 1e9))
    assert await FileTokenCache(path).get(KEY) is not None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o777])
async def test_a_file_that_others_can_touch_is_an_error(mode: int, path: Path) -> None:
    """They could read our tokens, or put theirs there; the error names file and mode, from each method."""
    cache = FileTokenCache(path)
    await cache.set(KEY, Token("t", 1e9))
    path.chmod(mode)
    for action in (
        cache.get(KEY),
        cache.set(KEY, Token("u", 1e9)),
        cache.discard(KEY),
        cache.identify(ANN),
    ):
        with pytest.raises(CredentialError, match=rf"tokens\.json has the mode {mode:04o}"):
            await action


async def test_a_file_of_somebody_else_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose it is, is said."""
    cache = FileTokenCache(path)
    await cache.set(KEY, Token("t", 1e9))
    me = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: me + 1)
    with pytest.raises(CredentialError, match="belongs to another user"):
        await FileTokenCache(path).get(KEY)


async def test_what_cannot_be_a_file_is_an_error(tmp_path: Path) -> None:
    """A folder in its place, a file in the place of its folder, and one without end."""
    (tmp_path / "file").write_text("")
    huge = tmp_path / "huge"
    with huge.open("wb") as file:
        file.truncate(1 << 40)
    huge.chmod(0o600)
    for place in (tmp_path, tmp_path / "file" / "tokens.json", huge):
        with pytest.raises(CredentialError, match=str(place)):
            await FileTokenCache(place).set(KEY, Token("t", 1e9))


SCRIPT = """
import asyncio, sys
from oci_distribution.auth.cache import Token, TokenKey
from oci_distribution.auth.credentials import Credential
from oci_distribution.auth.file_cache import FileTokenCache
from oci_distribution.auth.scope import Scope
from oci_distribution.spec.urls import Origin
async def main():
    cache = FileTokenCache(sys.argv[1])
    name = await cache.identify(Credential("ann", "secret"))
    for number in range(20):
        key = TokenKey(Origin.of("https://r.example"), f"https://{sys.argv[2]}.example/{number}", "", Scope(), name)
        await cache.set(key, Token("t", 1e12))
asyncio.run(main())
"""


def test_processes_lose_nothing_of_each_other(path: Path) -> None:
    """Two that write at once both end up in the file, and name Ann alike."""
    running = [subprocess.Popen([sys.executable, "-c", SCRIPT, str(path), name]) for name in ("one", "two")]
    assert [process.wait(30) for process in running] == [0, 0]
    entries = json.loads(path.read_text())["tokens"]
    assert len(entries) == 40
    assert len({entry["identity"] for entry in entries}) == 1


async def test_it_shows_no_token(path: Path) -> None:
    """Neither it nor what it holds in memory, and that is not pickled."""
    cache = FileTokenCache(path)
    await cache.set(KEY, Token("s3cr3t", 1e9))
    await cache.get(KEY)
    assert repr(cache) == f"FileTokenCache('{path}')"
    assert cache._known is not None
    assert "s3cr3t" not in repr(cache._known)
    with pytest.raises(TypeError, match="holds secrets"):
        pickle.dumps(cache)


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_cache_that_keeps_nothing_is_refused(capacity: int, tmp_path: Path) -> None:
    """Counted from the end of a list, it would keep everything."""
    with pytest.raises(InvalidArgument):
        FileTokenCache(tmp_path / "tokens.json", capacity=capacity)
