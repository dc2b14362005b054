"""What a registry has taught us while we talked to it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Self

from oci_distribution.transport.profiles import RegistryProfile

__all__ = ["Learned"]


@dataclass(slots=True, repr=False)
class Learned:
    """What a registry can do, as far as we know: first what its profile says, then what it has shown.

    The next request goes the right way at once. It is kept per host for the life of a client, and what is
    put into it by hand is believed, too.

    Args:
        referrers_api: Whether it has a referrers API; None while nobody has asked.
        tag_parameters: Whether it takes tags along with a digest; None while nobody has tried.
        conditional_puts: Whether it honours the condition of a PUT; None while nobody has tried.
        single_post: Whether it stores a blob that comes with the POST; None while nobody has tried.
        mounts: False once it has said that it knows no mounts.
        chunks: Whether it takes chunks: True once it has taken one, False when it refused the first one,
            whatever its size; None while nobody has tried.
        largest_chunk: Bytes of the largest chunk, when it has refused larger ones.
        refused_sizes: The smallest blob, in bytes, that it refused in each way of sending it: `whole` in one
            PUT, `stream` in one PATCH, `chunks` in several.
        excluded_mirrors: Names of its mirrors that served wrong bytes, and are not asked any more.
        misses: By repository, how many blobs it lacked one after the other when we came to push them.
    """

    referrers_api: bool | None = None
    tag_parameters: bool | None = None
    conditional_puts: bool | None = None
    single_post: bool | None = None
    mounts: bool = True
    chunks: bool | None = None
    largest_chunk: int | None = None
    refused_sizes: dict[str, int] = field(default_factory=dict[str, int])
    excluded_mirrors: set[str] = field(default_factory=set[str])
    misses: dict[str, int] = field(default_factory=dict[str, int], repr=False)

    @classmethod
    def from_profile(cls, profile: RegistryProfile) -> Self:
        """Return what is known before the first request."""
        refused: dict[str, int] = {}
        if profile.max_body is not None:
            refused = dict.fromkeys(("whole", "stream"), profile.max_body + 1)
        if not profile.whole:
            refused["whole"] = 0
        return cls(
            referrers_api=profile.referrers_api,
            tag_parameters=profile.tag_parameters,
            conditional_puts=profile.conditional_puts,
            single_post=profile.single_post,
            mounts=profile.mounts,
            chunks=None if profile.chunks else False,
            largest_chunk=profile.max_chunk,
            refused_sizes=refused,
        )

    def __repr__(self) -> str:
        """Show what differs from knowing nothing."""
        nothing = Learned()
        known = [
            f"{name}={getattr(self, name)!r}"
            for name in (field.name for field in fields(self) if field.repr)
            if getattr(self, name) != getattr(nothing, name)
        ]
        return f"Learned({', '.join(known)})"
