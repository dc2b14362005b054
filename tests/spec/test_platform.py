"""Platforms: parsed, and the best of an index chosen."""

from __future__ import annotations

import pytest

import oci_distribution as oci
from oci_distribution.spec.platform import best_match, parse_platform


def entry(platform: str | None, number: int = 0) -> oci.Descriptor:
    digest = oci.Digest.of(f"{platform} {number}".encode())
    parsed = None if platform is None else parse_platform(platform)
    return oci.Descriptor(media_type=oci.MediaType.IMAGE_MANIFEST, digest=digest, size=1, platform=parsed)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("linux/amd64", ("linux", "amd64", None, None)),
        ("linux/arm/v7", ("linux", "arm", "v7", None)),
        ("windows/amd64:10.0.17763.1", ("windows", "amd64", None, "10.0.17763.1")),
    ],
)
def test_platform_is_parsed(text: str, parts: tuple[str | None, ...]) -> None:
    """Operating system, architecture, and what else is named."""
    platform = parse_platform(text)
    assert (platform.os, platform.architecture, platform.variant, platform.os_version) == parts


@pytest.mark.parametrize(
    "text", ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/am d64", "linux/amd64:", "l\n/x"]
)
def test_what_is_no_platform(text: str) -> None:
    """The error says how one is written."""
    with pytest.raises(oci.InvalidArgument, match="os/architecture"):
        parse_platform(text)


@pytest.mark.parametrize(
    ("offered", "wanted", "chosen"),
    [
        (["linux/amd64", "linux/arm64"], "linux/arm64", "linux/arm64"),
        (["linux/amd64", "linux/arm64/v8"], "linux/arm64", "linux/arm64/v8"),
        (["linux/arm64"], "linux/arm64/v8", "linux/arm64"),
        (["linux/arm64/8"], "linux/arm64/v8", "linux/arm64/8"),
        (["linux/amd64"], "linux/x86_64", "linux/amd64"),
        (["linux/aarch64"], "linux/arm64", "linux/aarch64"),
        (["linux/arm/v5", "linux/arm/v6", "linux/arm/v7"], "linux/arm/v6", "linux/arm/v6"),
        (["linux/arm/v5", "linux/arm/v6"], "linux/arm/v7", "linux/arm/v6"),
        (["linux/arm/v5", "linux/arm/v7"], "linux/arm", "linux/arm/v7"),
        (["linux/arm/v7"], "linux/arm/v6", None),
        (["linux/amd64", "linux/amd64/v3"], "linux/amd64", "linux/amd64"),
        (["linux/amd64", "linux/amd64/v2"], "linux/amd64/v3", "linux/amd64/v2"),
        (["linux/amd64/v3"], "linux/amd64", None),
        (["linux/s390x", "linux/ppc64le"], "linux/amd64", None),
        (["linux/amd64"], "windows/amd64", None),
        (["unknown/unknown", None], "linux/amd64", None),
        (
            ["windows/amd64:10.0.17763.1", "windows/amd64:10.0.20348.5", "windows/amd64:10.0.20348.50"],
            "windows/amd64:10.0.20348.1",
            "windows/amd64:10.0.20348.50",
        ),
        (["windows/amd64:10.0.17763.1"], "windows/amd64:10.0.20348.1", None),
        (["windows/amd64:10.0.17763.1"], "windows/amd64", "windows/amd64:10.0.17763.1"),
    ],
)
def test_best_match(offered: list[str | None], wanted: str, chosen: str | None) -> None:
    """The newest that still runs there, and nothing that does not."""
    expected = None if chosen is None else entry(chosen)
    assert best_match([entry(platform) for platform in offered], parse_platform(wanted)) == expected


def test_first_of_equals() -> None:
    """Of entries for the same platform the first is chosen, as every tool does."""
    first, second = entry("linux/amd64", 1), entry("linux/amd64", 2)
    assert best_match([first, second], parse_platform("linux/amd64")) == first
