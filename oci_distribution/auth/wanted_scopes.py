"""Wanted scopes: what to ask a token for, by what registries and token servers said until now."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from oci_distribution.auth.cache import Recent
from oci_distribution.auth.challenge import Challenge
from oci_distribution.auth.scope import Scope
from oci_distribution.spec.urls import Origin

__all__ = ["Need", "WantedScopes"]

REFUSED_LIFETIME = 600.0
"""Seconds for which what was refused is not asked for: somebody may be let in meanwhile."""

MAX_SCOPE = 8 << 10
"""Characters of a challenge's scope that we take in: it is remembered, and it goes into a URL."""


class Need(NamedTuple):
    """What a request must be let in for."""

    origin: Origin
    registry: str
    scope: str
    desired: str
    """What it goes better with, and does without where that is refused."""

    @property
    def whose(self) -> tuple[str, str | None]:
        """What the provider is asked for: credentials may differ between a registry's repositories."""
        return self.registry, Scope.parse(self.scope).repository


class WantedScopes:
    """Remembers, for each need, whether more than it said is to be asked for, or less.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._wider: Recent[tuple[Origin, Scope], Scope] = Recent()
        self._narrowed: Recent[Need, float] = Recent()

    def named(self, need: Need, challenge: Challenge) -> tuple[Scope, bool]:
        """Return what to ask a token for, and whether that is more than we asked for until now."""
        named = challenge.parameters.get("scope", "")
        theirs = Scope.parse(named if len(named) <= MAX_SCOPE else "").without(Scope.parse(need.desired))
        is_wider = challenge.parameters.get("error") == "insufficient_scope" and not self.asked(need).covers(
            theirs
        )
        if not need.scope:
            # Requests without a scope of their own have nothing in common that could be remembered.
            return theirs, is_wider
        if is_wider:
            ours = Scope.parse(need.scope)
            self._wider.set((need.origin, ours), ours | theirs)
        return self.asked(need), is_wider

    def required(self, need: Need) -> Scope:
        """Return what a request does not go without, as far as we know."""
        ours = Scope.parse(need.scope)
        return self._wider.get((need.origin, ours)) or ours

    def asked(self, need: Need) -> Scope:
        """Return what to ask a token for, as far as we know."""
        required = self.required(need)
        return required | Scope.parse(need.desired) if self.is_desiring(need) else required

    def is_desiring(self, need: Need) -> bool:
        """Say whether the desired scope is asked for."""
        return bool(need.desired) and (self._narrowed.get(need) or 0.0) <= self._clock()

    def narrow(self, need: Need) -> bool:
        """Do without the desired scope from now on; return whether that makes a difference."""
        if not self.is_desiring(need):
            return False
        self._narrowed.set(need, self._clock() + REFUSED_LIFETIME)
        return True
