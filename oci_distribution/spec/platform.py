"""Platforms: reading them from text, and choosing the best of an index (image specification, image-index.md).

The rules are those that container runtimes follow: a newer variant of an architecture runs what was built
for an older one, and of several that run, the newest is chosen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from oci_distribution.errors import InvalidArgument
from oci_distribution.spec.models import Descriptor, Platform

__all__ = ["as_platform", "best_match", "parse_platform", "runs"]

_PART = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)

# What machines and people call them, and Go's names, which are the specification's.
_OS = {"macos": "darwin"}
_ARCHITECTURES = {
    "x86_64": ("amd64", None),
    "x86-64": ("amd64", None),
    "i386": ("386", None),
    "i686": ("386", None),
    "aarch64": ("arm64", None),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
}
# The variant that an architecture without one means: containerd's and Docker's reading.
_DEFAULT_VARIANTS = {"arm": "v7", "arm64": "v8", "amd64": "v1"}
_NUMBERED = re.compile(r"v([0-9]{1,3})(?:\.([0-9]{1,3}))?", re.ASCII)


def parse_platform(text: str) -> Platform:
    """Return the platform that `os/architecture[/variant]` names, such as `linux/arm64`.

    Args:
        text: The name; after a colon, the version of Windows, `windows/amd64:10.0.17763`.

    Raises:
        InvalidArgument: It is none.
    """
    names, colon, version = text.partition(":")
    parts = names.split("/")
    if (
        not 2 <= len(parts) <= 3
        or not all(_PART.fullmatch(part) for part in parts)
        or (colon and not version)
    ):
        message = f"invalid platform {text[:200]!r}: write os/architecture or os/architecture/variant"
        raise InvalidArgument(message)
    named = dict(zip(("os", "architecture", "variant"), parts, strict=False))
    return Platform.model_validate(named | ({"os.version": version} if version else {}))


def as_platform(platform: Platform | str) -> Platform:
    """Return a platform that a user gave, as text or as it is."""
    return parse_platform(platform) if isinstance(platform, str) else platform


def runs(offered: Platform, wanted: Platform) -> bool:
    """Say whether what was built for one platform runs on another."""
    offered_os, offered_architecture, offered_variant = _normal(offered)
    os, architecture, variant = _normal(wanted)
    if (offered_os, offered_architecture) != (os, architecture):
        return False
    return _variant_runs(offered_variant, variant) and _version_runs(offered, wanted)


def best_match(entries: Iterable[Descriptor], wanted: Platform) -> Descriptor | None:
    """Return the entry of an index that runs best on a platform; None when none runs there.

    Entries without a platform, and attestations, whose platform is `unknown/unknown`, never match.
    """
    best: Descriptor | None = None
    for entry in entries:
        if entry.platform is None or not runs(entry.platform, wanted):
            continue
        if best is None or _rank(entry.platform) > _rank(_platform(best)):
            best = entry
    return best


def _platform(entry: Descriptor) -> Platform:
    return entry.platform or Platform()


def _normal(platform: Platform) -> tuple[str, str, str]:
    """Return operating system, architecture and variant in the specification's spelling."""
    os = platform.os.lower()
    named, variant = _ARCHITECTURES.get(platform.architecture.lower(), (platform.architecture.lower(), None))
    given = (platform.variant or variant or _DEFAULT_VARIANTS.get(named, "")).lower()
    # "8" and "v8" are both written.
    return _OS.get(os, os), named, f"v{given}" if given[:1].isdigit() else given


def _variant_runs(offered: str, wanted: str) -> bool:
    mine, theirs = _NUMBERED.fullmatch(offered), _NUMBERED.fullmatch(wanted)
    if mine is None or theirs is None:
        return offered == wanted
    return _numbers(offered) <= _numbers(wanted)


def _version_runs(offered: Platform, wanted: Platform) -> bool:
    """Windows runs what was built for its very build, whatever the revision; others name no version."""
    if wanted.os_version is None or offered.os_version is None:
        return True
    return offered.os_version.split(".")[:3] == wanted.os_version.split(".")[:3]


def _rank(platform: Platform) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Order those that run: the newest variant, then the newest version."""
    return _numbers(_normal(platform)[2]), _numbers(platform.os_version or "")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"[0-9]{1,9}", text))
