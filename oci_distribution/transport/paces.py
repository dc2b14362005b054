"""Paces: one for each origin, shared by all who talk to it."""

from __future__ import annotations

from oci_distribution.spec.urls import Origin
from oci_distribution.transport.calls import Host
from oci_distribution.transport.pacing import Limits, Pace, Slots, Timing

__all__ = ["Paces"]


class Paces:
    """The paces of all origins, each made when it is first asked.

    Args:
        slots: How many requests a host gets at once, unless it has slots of its own.
        limits: How fast a host is talked to, unless it has limits of its own.
        timing: Clock and sleep.
        max_wait: Longest time, in seconds, for which all is held back because a host says so.
    """

    def __init__(self, slots: Slots, limits: Limits, *, timing: Timing, max_wait: float) -> None:
        self._slots = slots
        self._limits = limits
        self._timing = timing
        self._max_wait = max_wait
        self.known: dict[Origin, Pace] = {}
        """Those that there are by now."""

    def of(self, host: Host, origin: Origin | None = None) -> Pace:
        """Return the pace of a host, or of another origin that it sends us to."""
        origin = origin if origin is not None else host.origin
        pace = self.known.get(origin)
        if pace is None:
            pace = self.known[origin] = self._new(host, origin)
        return pace

    def _new(self, host: Host, origin: Origin) -> Pace:
        # What a user says of a host holds for nobody else.
        is_home = origin == host.origin
        return Pace(
            host.registry if is_home else origin.netloc,
            host.slots if is_home and host.slots is not None else self._slots,
            host.limits if is_home and host.limits is not None else self._limits,
            timing=self._timing,
            max_wait=self._max_wait,
        )
