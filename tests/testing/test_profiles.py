"""Profiles: every registry stumbles where the real one was seen to."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from oci_distribution.testing import PROFILES, RegistryApp, serve_registry
from tests.testing.conftest import Remote


@asynccontextmanager
async def behaving_like(profile: str) -> AsyncGenerator[Remote]:
    async with serve_registry(profile=profile) as registry, aiohttp.ClientSession(registry.url) as session:
        yield Remote(session, registry)


def test_unknown_profile() -> None:
    """The error lists the names that there are."""
    with pytest.raises(ValueError, match="no profile 'gchr'; there are specification, "):
        RegistryApp(profile="gchr")


@pytest.mark.parametrize("name", PROFILES)
def test_every_quirk_has_a_source(name: str) -> None:
    """Each says where it was reported."""
    assert all(quirk.source and quirk.what and quirk.on for quirk in PROFILES[name].quirks)


@pytest.mark.parametrize("name", PROFILES)
async def test_every_registry_takes_an_image(name: str) -> None:
    """Whatever its quirks, blobs in one PUT, a manifest by tag, and reads by GET work."""
    async with behaving_like(name) as remote:
        raw = await remote.push_image("org/a", "v1")
        answer = await remote.ask("GET", "/v2/org/a/manifests/v1")
        assert (answer.status, answer.body) == (200, raw)


async def test_page_that_is_too_long() -> None:
    """Quay answers 413 to a page of more than 100 tags."""
    async with behaving_like("quay") as remote:
        await remote.push_image("a", "v1")
        answer = await remote.ask("GET", "/v2/a/tags/list?n=101")
        assert answer.error == (413, "TOO_MANY_TAGS_REQUESTED")
        assert (await remote.ask("GET", "/v2/a/tags/list?n=100")).status == 200
