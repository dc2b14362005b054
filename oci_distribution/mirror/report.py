"""What a copy did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from oci_distribution.mirror.progress import CopyOutcome
from oci_distribution.spec.models import Descriptor

__all__ = ["CopyReport"]


@dataclass(slots=True)
class CopyReport:
    """What a copy did.

    Args:
        root: The manifest or index that was copied.
        manifests: How many manifests and indexes came to the target in which way. Below one that was
            there already nothing is looked at.
        blobs: The same for blobs.
        bytes_copied: Bytes of the blobs and manifests that were sent.
    """

    root: Descriptor
    manifests: Counter[CopyOutcome] = field(default_factory=Counter[CopyOutcome])
    blobs: Counter[CopyOutcome] = field(default_factory=Counter[CopyOutcome])
    bytes_copied: int = 0

    @property
    def was_there(self) -> bool:
        """Whether the target held the very same root already, so that nothing was sent."""
        return not self.bytes_copied and not self.blobs

    def __str__(self) -> str:
        if self.was_there:
            return f"{self.root.digest} was there already"
        copied, others = self._sentence(CopyOutcome.COPIED), self._others()
        return f"{self.root.digest}: copied {copied}, {self.bytes_copied:,} bytes{others}"

    def _sentence(self, outcome: CopyOutcome) -> str:
        return f"{self.manifests[outcome]} manifests and {self.blobs[outcome]} blobs"

    def _others(self) -> str:
        others = [outcome for outcome in CopyOutcome if outcome is not CopyOutcome.COPIED]
        present = [outcome for outcome in others if self.manifests[outcome] + self.blobs[outcome]]
        return "".join(f"; {self._sentence(outcome)} {outcome.value}" for outcome in present)
