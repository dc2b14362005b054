"""What a copy does, as events; `observe` hears them, and a progress display is a sink."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from oci_distribution.content.protocols import PushOutcome
from oci_distribution.events import Event
from oci_distribution.spec.models import Descriptor

__all__ = ["CopyOutcome", "Discovered", "Finished", "Transferred"]


class CopyOutcome(Enum):
    """How a piece of content came to be in the target."""

    COPIED = "copied"
    MOUNTED = "mounted"
    EXISTED = "existed"
    FOREIGN = "foreign"
    """Left where it is: its media type says that it is not to be distributed."""

    @classmethod
    def of(cls, outcome: PushOutcome) -> CopyOutcome:
        """Return the outcome of a push as one of a copy."""
        return cls(outcome.value)


@dataclass(frozen=True, slots=True)
class Discovered(Event):
    """A manifest or blob belongs to what is copied."""

    descriptor: Descriptor


@dataclass(frozen=True, slots=True)
class Transferred(Event):
    """`position` bytes of a blob have gone to the target; after a retry it starts again."""

    descriptor: Descriptor
    position: int


@dataclass(frozen=True, slots=True)
class Finished(Event):
    """A manifest or blob is in the target."""

    descriptor: Descriptor
    outcome: CopyOutcome
