"""Profiles: real registries, as far as they differ from the specification.

A fact that a source gives about one version or one account may be wrong for another: a profile is the
registry that makes clients stumble, not the one of today.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from types import MappingProxyType

from oci_distribution.testing.calls import Handler
from oci_distribution.testing.quirks import Quirk, largest_page, largest_patch, no_referrers

__all__ = ["PROFILES", "Profile"]


@dataclass(frozen=True, slots=True)
class Profile:
    """A registry, by what it does otherwise.

    Args:
        name: Its name.
        quirks: What it does otherwise; the first one is asked first.
    """

    name: str
    quirks: tuple[Quirk, ...] = ()

    @classmethod
    def named(cls, name: str) -> Profile:
        """Return one of `PROFILES`.

        Raises:
            ValueError: There is none of that name.
        """
        profile = PROFILES.get(name)
        if profile is None:
            msg = f"there is no profile {name!r}; there are {', '.join(PROFILES)}"
            raise ValueError(msg)
        return profile

    def behave(self, handler: Handler) -> Handler:
        """Return a handler with the quirks that are about it."""
        quirks = [quirk for quirk in reversed(self.quirks) if handler in quirk.on]
        return reduce(lambda wrapped, quirk: quirk.wrap(wrapped), quirks, handler)


_GHCR = Profile(
    "ghcr",
    (
        *no_referrers("oras-project/oras-java#773"),
        largest_patch(4 << 20, "oras-project/rust-oci-client#35, ocx-sh/ocx#237"),
    ),
)
_QUAY = Profile(
    "quay",
    (
        *no_referrers("opencontainers/distribution-spec#563"),
        largest_page(100, 413, "TOO_MANY_TAGS_REQUESTED", "google/go-containerregistry#1963"),
    ),
)

_ALL = (Profile("specification"), _GHCR, _QUAY)

PROFILES: Mapping[str, Profile] = MappingProxyType({profile.name: profile for profile in _ALL})
"""Registries by name; `specification` is none, and does nothing otherwise."""
