"""The reference has every public name; `tox run -e docs` builds it, and finds what is wrong inside."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import oci_distribution as oci
from oci_distribution import telemetry, testing, web
from oci_distribution.transport.profiles import PROFILES

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
MODULES = {"oci_distribution.errors"}  # its docstring draws the tree


def test_every_public_name_is_in_the_reference_once() -> None:
    """Under the name that users import, on one page."""
    pages = "\n".join(page.read_text() for page in REFERENCE.glob("*.md"))
    documented = Counter(re.findall(r"^::: (\S+)$", pages, re.MULTILINE))
    public = [f"oci_distribution.{name}" for name in oci.__all__]
    public += [f"oci_distribution.testing.{name}" for name in testing.__all__]
    public += [f"oci_distribution.web.{name}" for name in web.__all__]
    public += [f"oci_distribution.telemetry.{name}" for name in telemetry.__all__]

    assert documented == Counter(public) + Counter(MODULES)


def test_every_profile_is_in_the_guide() -> None:
    """By name, in its table, with its hosts."""
    guide = (REFERENCE.parent / "hosts.md").read_text()
    for name, profile in PROFILES.items():
        assert all(f"`{word}`" in guide for word in (name, *profile.hosts)), name
