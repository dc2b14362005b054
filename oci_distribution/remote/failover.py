"""Mirrors of a registry, asked before it for what they are trusted with."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, TypeVar

from oci_distribution.errors import ContentError, NotFound, RequestError
from oci_distribution.events import Event, emit
from oci_distribution.transport.calls import Host
from oci_distribution.transport.sender import Sender

if TYPE_CHECKING:
    from oci_distribution.remote.registry import Registry

__all__ = ["MirrorFailed", "Place", "asked_in_turn", "exclude", "places"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MirrorFailed(Event):
    """A mirror did not help, and the next place is asked.

    Args:
        registry: Whose mirror it is.
        mirror: Name of the mirror.
        reason: What it did.
        excluded: Whether it served wrong bytes, and is not asked again.
    """

    level: ClassVar[int] = logging.WARNING

    registry: str
    mirror: str
    reason: str
    excluded: bool

    def __str__(self) -> str:
        then = "it is not asked any more" if self.excluded else "the next place is asked"
        return f"the mirror {self.mirror} of {self.registry} did not help, {then}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where content of a repository may be: a mirror, or the registry itself."""

    host: Host
    repository: str


def places(sender: Sender, host: Host, repository: str, *, by_digest: bool) -> list[Place]:
    """Return where to ask, in order; the registry itself comes last."""
    excluded = sender.learned(host).excluded_mirrors
    mirrors = [
        Place(mirror.host, mirror.name_of(repository))
        for mirror in host.mirrors
        if (by_digest or mirror.tags) and mirror.host.registry not in excluded
    ]
    return [*mirrors, Place(host, repository)]


def exclude(sender: Sender, host: Host, mirror: Host, error: Exception) -> None:
    """Do not ask a mirror again that served wrong bytes."""
    sender.learned(host).excluded_mirrors.add(mirror.registry)
    emit(MirrorFailed(host.registry, mirror.registry, str(error), excluded=True), sender.observer)


async def asked_in_turn(
    registry: Registry,
    repository: str,
    ask: Callable[[Registry, str], Awaitable[T]],
    *,
    by_digest: bool,
) -> T:
    """Ask the mirrors, then the registry, until one answers; what the registry itself says is final.

    Args:
        registry: The registry, with its mirrors.
        repository: Name of the repository there.
        ask: Asks one place; given a registry and the repository's name at it.
        by_digest: Whether the answer can be checked, which every mirror is trusted for.
    """
    *mirrors, _ = places(registry.sender, registry.host, repository, by_digest=by_digest)
    for place in mirrors:
        try:
            return await ask(replace(registry, host=place.host), place.repository)
        except ContentError as error:
            exclude(registry.sender, registry.host, place.host, error)
        except (NotFound, RequestError) as error:
            failed = MirrorFailed(registry.name, place.host.registry, str(error), excluded=False)
            emit(failed, registry.sender.observer)
    return await ask(registry, repository)
