"""Pushing manifests: under their digest, under all their tags at once, under a tag that must not move.

(Distribution specification, "Pushing Manifests".)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from oci_distribution.errors import (
    InvalidArgument,
    LimitExceeded,
    NotFound,
    ResponseError,
    TagExists,
    UnsupportedError,
)
from oci_distribution.remote import manifests, referrers_index
from oci_distribution.spec.digest import DEFAULT_ALGORITHM
from oci_distribution.spec.headers import OCI_SUBJECT, OCI_TAG, parse_list
from oci_distribution.spec.manifest import Manifest
from oci_distribution.spec.models import Descriptor
from oci_distribution.spec.reference import check_repository, check_tags
from oci_distribution.transport.answers import Answer

if TYPE_CHECKING:
    from oci_distribution.remote.registry import Registry

__all__ = ["push"]

TAGS_AT_ONCE = 10
"""Tags in one request: what the specification wants registries to take at least."""
PRECONDITION_FAILED = 412

# Too long for the registry, or for what stands before it.
_TOO_MANY = frozenset({414, 431})
# What a registry may say to a parameter that it does not know; its reason may also be another one.
_NOT_LIKE_THIS = frozenset({400, 404, 405, 501})


async def push(
    registry: Registry,
    repository: str,
    manifest: Manifest,
    tags: Sequence[str] = (),
    *,
    if_absent: bool = False,
) -> Descriptor:
    """Store a manifest, and let tags point at it; see `Registry.push_manifest`."""
    check_repository(repository)
    tags = check_tags(tags)
    manifest.check()
    if len(manifest.raw) > registry.max_manifest:
        raise LimitExceeded(f"{manifest.digest} is longer than {registry.max_manifest} bytes (max_manifest)")
    if if_absent and not tags:
        raise InvalidArgument("if_absent is about tags: name one")
    job = _Push(registry, repository, manifest)
    wanted = list(dict.fromkeys(tags))
    if if_absent:
        await job.under_new(wanted)
    else:
        await job.under(wanted)
    subject = manifest.subject
    if subject is not None and not job.is_subject_noted(subject.digest):
        await referrers_index.add(registry, repository, manifest, subject.digest)
    return manifest.descriptor


class _Push:
    """One manifest on its way under several names."""

    def __init__(self, registry: Registry, repository: str, manifest: Manifest) -> None:
        self._registry = registry
        self._repository = repository
        self._manifest = manifest
        self._noted: set[str] = set()
        # By tag, a registry chooses the algorithm, and the tag would name another digest.
        self._is_default = manifest.digest.algorithm == DEFAULT_ALGORITHM

    def is_subject_noted(self, subject: str) -> bool:
        """Say whether the registry has said that it keeps the list of referrers itself."""
        if self._noted:
            self._registry.learned.referrers_api = True
            referrers_index.warn_of_other(self._repository, subject, self._noted)
        return bool(self._noted)

    async def under(self, tags: list[str]) -> None:
        """Store it under its digest, or under all of `tags`."""
        if not tags:
            await self._put(self._manifest.digest)
            return
        left = tags
        if len(tags) > 1 or not self._is_default:
            left = [tag for batch in _batches(tags) for tag in await self._put_with(batch)]
        if left and not self._is_default:
            raise UnsupportedError(
                f"the registry cannot tag {self._manifest.digest}: a tag that is pushed names a sha256 digest"
            )
        for tag in left:
            await self._put(tag)

    async def _put_with(self, tags: list[str]) -> list[str]:
        """Send several tags along with the digest, and return those that the registry did not take."""
        learned = self._registry.learned
        if learned.tag_parameters is False:
            return tags
        try:
            answer = await self._put(self._manifest.digest, tags=tags)
        except ResponseError as error:
            if error.status in _TOO_MANY and len(tags) > 1:
                half = len(tags) // 2
                return [*await self._put_with(tags[:half]), *await self._put_with(tags[half:])]
            if error.status in _TOO_MANY | _NOT_LIKE_THIS and self._is_default:
                return tags
            raise
        taken = {tag for value in answer.headers.get_list(OCI_TAG) for tag in parse_list(value)}
        learned.tag_parameters = bool(taken)
        left = [tag for tag in tags if tag not in taken]
        if not self._is_default:
            left += [tag for tag in tags if tag in taken and not await self._is_tagged(tag)]
        return left

    async def _is_tagged(self, tag: str) -> bool:
        registry = self._registry.without_mirrors
        return (await manifests.stat(registry, self._repository, tag)).digest == self._manifest.digest

    async def under_new(self, tags: list[str]) -> None:
        """Store it under tags that do not exist yet, or point at it already."""
        if not self._is_default:
            raise UnsupportedError("a tag that must not move can only be pushed with a sha256 digest")
        # Many registries take no notice of the condition: there this question is all that there is. And all
        # are asked for before the first is pushed, which would be there though the second is taken.
        for tag in [tag for tag in tags if not await self._is_there(tag)]:
            await self._put_new(tag)

    async def _put_new(self, tag: str) -> None:
        try:
            await self._put(tag, condition=("If-None-Match", "*"))
        except ResponseError as error:
            # Somebody was faster; or we were, and the answer was lost.
            if error.status != PRECONDITION_FAILED or not await self._is_there(tag):
                raise

    async def _is_there(self, tag: str) -> bool:
        """Say whether a tag points at the manifest; one that points elsewhere is an error."""
        try:
            found = await manifests.stat(self._registry.without_mirrors, self._repository, tag)
        except NotFound:
            return False
        if found.digest != self._manifest.digest:
            name = f"{self._registry.name}/{self._repository}:{tag}"
            raise TagExists(f"{name} points at {found.digest} already, not at {self._manifest.digest}")
        return True

    async def _put(
        self, reference: str, *, tags: Sequence[str] = (), condition: tuple[str, str] | None = None
    ) -> Answer:
        answer = await manifests.put(
            self._registry, self._repository, self._manifest, reference, tags=tags, condition=condition
        )
        self._noted.update(answer.headers.get_list(OCI_SUBJECT))
        return answer


def _batches(tags: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(tags), TAGS_AT_ONCE):
        yield tags[start : start + TAGS_AT_ONCE]
