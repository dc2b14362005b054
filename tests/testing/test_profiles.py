"""Profiles: every registry is named, takes an image, and says where its quirks were reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from oci_distribution.testing import PROFILES, RegistryApp
from tests.testing.conftest import BehavingLike

DOCUMENT = Path(__file__).parents[2] / "docs" / "testing.md"


def test_unknown_profile() -> None:
    """The error lists the names that there are."""
    with pytest.raises(ValueError, match="no profile 'gchr'; there are specification, "):
        RegistryApp(profile="gchr")


@pytest.mark.parametrize("name", PROFILES)
def test_every_quirk_has_a_source(name: str) -> None:
    """Each says where it was reported."""
    assert all(quirk.source and quirk.what and quirk.on for quirk in PROFILES[name].quirks)


@pytest.mark.parametrize("name", PROFILES)
async def test_every_registry_takes_an_image(name: str, behaving_like: BehavingLike) -> None:
    """Whatever its quirks, blobs in one PUT, a manifest by tag, and reads by GET work."""
    async with behaving_like(name) as remote:
        raw = await remote.push_image("org/a", "v1")
        answer = await remote.ask("GET", "/v2/org/a/manifests/v1")
        assert (answer.status, answer.body) == (200, raw)
        blob = await remote.ask("GET", f"/v2/org/a/blobs/{remote.digest_of(b'layer')}")
        assert (blob.status, blob.body) == (200, b"layer")


def test_document_lists_every_quirk() -> None:
    """The tables in docs/testing.md are those that the profiles make."""
    sections = [
        f"### {profile.name}\n\n| it | reported in |\n|---|---|\n"
        + "".join(f"| {quirk.what} | {quirk.source} |\n" for quirk in profile.quirks)
        for profile in PROFILES.values()
        if profile.quirks
    ]
    _, _, tables = DOCUMENT.read_text(encoding="utf-8").partition("## The profiles\n\n")
    assert tables == "\n".join(sections)
