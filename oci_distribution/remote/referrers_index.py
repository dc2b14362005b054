"""The list of referrers that a client keeps under a tag, where the registry keeps none.

(Distribution specification, "Referrers Tag Schema".) Several clients may change it at once, and nobody's
entry may be lost. Where a registry honours `If-Match`, a change that would overwrite another is refused, and
made again. Where it does not, whoever has written waits until everybody who read before that has written,
too, and looks whether its entry is still there. Changes of one process are made together.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import anyio

from oci_distribution.errors import (
    Attempt,
    InvalidManifest,
    NotFound,
    OCIError,
    ResponseError,
    UnsupportedError,
)
from oci_distribution.remote import manifests, referrers
from oci_distribution.spec.digest import Digest
from oci_distribution.spec.headers import entity_tag
from oci_distribution.spec.manifest import Manifest
from oci_distribution.spec.models import Descriptor, ImageIndex, ImageManifest
from oci_distribution.spec.urls import Origin

if TYPE_CHECKING:
    from oci_distribution.remote.registry import Registry

__all__ = ["ReferrerQueues", "add", "remove", "warn_of_other"]

_LOGGER = logging.getLogger(__name__)

TRIES: Final = 30
"""How often a change is made again because somebody else did: of twenty writers, one at a time succeeds."""
PAUSE: Final = 0.05
"""Seconds before a change that was refused is made again, and as much again by chance."""
SETTLING: Final = 0.2
"""Seconds at least until a change is looked at again, where nothing keeps others from overwriting it."""
SETTLING_FACTOR: Final = 4.0
"""How many times as long as our own change took others are given to end theirs."""
_CONFLICT = frozenset({409, 412})
_NOT_THERE: Final = ("If-None-Match", "*")


@dataclass(eq=False, slots=True)
class _Change:
    """What somebody wants of a list: an entry in it, or one out of it."""

    entry: Descriptor | None
    gone: Digest | None = None
    is_done: bool = False


@dataclass(slots=True)
class Queue:
    """The changes of one list that wait for each other."""

    lock: anyio.Lock = field(default_factory=anyio.Lock)
    waiting: list[_Change] = field(default_factory=list[_Change])


class ReferrerQueues(dict[tuple[Origin, str, Digest], Queue]):
    """The lists that are being changed, by registry, repository and subject."""


async def add(registry: Registry, repository: str, manifest: Manifest, subject: Digest) -> None:
    """Put a manifest that was pushed on the list of its subject's referrers, unless the registry did so."""
    if not await referrers.has_api(registry, repository, subject):
        await _change(registry, repository, subject, _Change(_entry(manifest)))


async def remove(registry: Registry, repository: str, subject: Digest, gone: Digest) -> None:
    """Take a manifest that was deleted off the list of a subject's referrers."""
    await _change(registry, repository, subject, _Change(None, gone))


def warn_of_other(repository: str, subject: str, noted: Iterable[str]) -> None:
    """Say so when a registry has noted another subject than the one that was pushed."""
    if subject not in noted:
        _LOGGER.warning("%s noted the subject %s, not %s", repository, ", ".join(noted), subject)


def _entry(manifest: Manifest) -> Descriptor:
    """Return a manifest as the list has it: with its kind, and all its annotations."""
    content = manifest.content
    artifact_type = content.artifact_type if isinstance(content, ImageManifest | ImageIndex) else None
    if artifact_type is None and isinstance(content, ImageManifest):
        artifact_type = content.config.media_type
    annotations = content.annotations if isinstance(content, ImageManifest | ImageIndex) else {}
    return manifest.descriptor.model_copy(
        update={"artifact_type": artifact_type, "annotations": dict(annotations)}
    )


async def _change(registry: Registry, repository: str, subject: Digest, change: _Change) -> None:
    """Make a change, together with all that wait for the same list: who comes first makes them all."""
    queues, key = registry.referrer_queues, (registry.host.origin, repository, subject)
    queue = queues.setdefault(key, Queue())
    queue.waiting.append(change)
    try:
        async with queue.lock:
            if change.is_done:
                return
            changes = list(queue.waiting)
            await _List(registry, repository, subject).make(changes)
            for made in changes:
                made.is_done = True
    finally:
        queue.waiting.remove(change)
        if not queue.waiting:
            queues.pop(key, None)


class _List:
    """The list of one subject's referrers, under its tag."""

    def __init__(self, registry: Registry, repository: str, subject: Digest) -> None:
        self._registry = registry
        self._repository = repository
        self._subject = subject
        self._tag = referrers.fallback_tag(subject)
        self._timing = registry.sender.timing

    async def make(self, changes: list[_Change]) -> None:
        """Make changes so that they stay."""
        attempts: list[Attempt] = []
        while True:
            began = self._timing.now()
            old = await self._read()
            new = _changed(old, changes)
            if new is None:
                return
            error = await self._replace(old, new)
            if error is None and await self._is_guarded(new):
                return
            if len(attempts) >= TRIES:
                raise error.with_attempts(attempts) if error is not None else self._never_stays()
            took = self._timing.now() - began
            pause = PAUSE if error is not None else max(SETTLING, SETTLING_FACTOR * took)
            pause *= 1 + self._timing.random()
            attempts.append(Attempt("another change came between", pause))
            await self._timing.sleep(pause)

    def _never_stays(self) -> OCIError:
        return UnsupportedError(f"{self._registry.name} does not keep what is put on the list {self._tag}")

    async def _read(self) -> Manifest | None:
        registry = self._registry.without_mirrors
        try:
            manifest = await manifests.get(registry, self._repository, self._tag)
        except NotFound:
            return None
        if manifest.digest == self._subject:
            # GitLab takes the tag for the digest that it spells (oras-go#1396).
            raise UnsupportedError(f"{registry.name} keeps no list of referrers, and lets nobody keep one")
        if not isinstance(manifest.content, ImageIndex):
            raise InvalidManifest(f"the tag {self._tag} is for a list of referrers, and is none")
        return manifest

    async def _replace(self, old: Manifest | None, new: Manifest) -> ResponseError | None:
        """Write the list, if it is still the one that was read; return why it could not be."""
        condition = _NOT_THERE if old is None else ("If-Match", entity_tag(old.digest))
        return await self._put(new, self._tag, condition)

    async def _is_guarded(self, written: Manifest) -> bool:
        """Say whether the registry honours conditions, so that nobody can have overwritten the list unseen.

        It is found out once, by one that must fail: what is under its digest is there already, and the same.
        """
        learned = self._registry.learned
        if learned.conditional_puts is None:
            refusal = await self._put(written, written.digest, _NOT_THERE)
            learned.conditional_puts = refusal is not None
        return learned.conditional_puts

    async def _put(
        self, manifest: Manifest, reference: str, condition: tuple[str, str]
    ) -> ResponseError | None:
        """Store a manifest where a condition holds; return the refusal where it does not."""
        try:
            await manifests.put(self._registry, self._repository, manifest, reference, condition=condition)
        except ResponseError as error:
            if error.status not in _CONFLICT:
                raise
            self._registry.learned.conditional_puts = True
            return error
        return None


def _changed(old: Manifest | None, changes: list[_Change]) -> Manifest | None:
    """Return the list with the changes; None when they have been made already."""
    index = old.content if old is not None and isinstance(old.content, ImageIndex) else ImageIndex()
    entries = {entry.digest: entry for entry in index.manifests}
    for change in changes:
        if change.entry is not None:
            entries[change.entry.digest] = change.entry
        elif change.gone is not None:
            entries.pop(change.gone, None)
    changed = tuple(entries.values())
    return (
        None if changed == index.manifests else Manifest.of(index.model_copy(update={"manifests": changed}))
    )
