"""Manifests of a registry: asked for, fetched, chosen by platform, stored and deleted."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

from oci_distribution.errors import (
    ContentError,
    InvalidManifest,
    NotFound,
    ProtocolError,
    ResponseError,
    TooManyRequests,
)
from oci_distribution.remote.announced import announced_digest, check_announced
from oci_distribution.remote.failover import asked_in_turn
from oci_distribution.spec import endpoints
from oci_distribution.spec.digest import Digest
from oci_distribution.spec.headers import (
    entity_tag,
    parse_content_length,
    parse_media_type,
)
from oci_distribution.spec.manifest import Manifest
from oci_distribution.spec.mediatypes import MediaType, is_index
from oci_distribution.spec.models import Descriptor, ImageManifest, Platform
from oci_distribution.spec.platform import as_platform, runs
from oci_distribution.spec.reference import check_repository, check_tag
from oci_distribution.transport.answers import SMALL_ANSWER, Answer

if TYPE_CHECKING:
    from oci_distribution.remote.registry import Registry

__all__ = ["get", "get_for_platform", "get_if_changed", "has_moved", "put", "stat"]

T = TypeVar("T")

MAX_INDEXES = 16
"""Indexes that are looked into for one image; nobody nests more than two, of a few each."""
_CONFIGS = frozenset({MediaType.IMAGE_CONFIG, MediaType.DOCKER_CONFIG})


async def stat(registry: Registry, repository: str, reference: str) -> Descriptor:
    """Return the descriptor of a manifest: by HEAD, or by GET where the HEAD cannot tell."""
    return await _asked(registry, repository, reference, _stat)


async def get(registry: Registry, repository: str, reference: str) -> Manifest:
    """Return a manifest, verified."""
    return await _asked(registry, repository, reference, _get)


async def _asked(
    registry: Registry,
    repository: str,
    reference: str,
    ask: Callable[[Registry, str, str, Digest | None], Awaitable[T]],
) -> T:
    """Ask the registry or its mirrors about a manifest; a reference that is a digest goes along checked."""
    digest = checked_reference(repository, reference)
    return await asked_in_turn(
        registry,
        repository,
        lambda place, name: ask(place, name, reference, digest),
        by_digest=digest is not None,
    )


async def _stat(registry: Registry, repository: str, reference: str, digest: Digest | None) -> Descriptor:
    try:
        answer = await registry.ask(endpoints.head_manifest(repository, reference), limit=SMALL_ANSWER)
    except (NotFound, TooManyRequests):
        raise
    except ResponseError as error:
        if error.status == 401:
            raise
        # 403, 405 and others for HEAD alone are seen behind proxies; the GET says more, if only why.
        return (await _get(registry, repository, reference, digest)).descriptor
    size = parse_content_length(answer.headers.get("Content-Length"))
    media_type = parse_media_type(answer.headers.get("Content-Type"))
    if digest is not None:
        check_announced(answer, digest)
    known = digest or announced_digest(answer)
    if known is None or size is None or media_type is None:
        return (await _get(registry, repository, reference, digest)).descriptor
    return Descriptor(media_type=media_type, digest=known, size=size)


async def _get(registry: Registry, repository: str, reference: str, digest: Digest | None) -> Manifest:
    answer = await registry.ask(endpoints.get_manifest(repository, reference), limit=registry.max_manifest)
    return _parsed(answer, digest)


def _parsed(answer: Answer, digest: Digest | None) -> Manifest:
    media_type = parse_media_type(answer.headers.get("Content-Type"))
    if media_type == "text/html":
        raise ProtocolError("answered with a web page: is this a registry?", context=answer.context)
    try:
        return Manifest.parse(answer.content, media_type, digest=digest or announced_digest(answer))
    except ContentError as error:
        error.about(answer.context)
        raise


async def get_for_platform(
    registry: Registry, repository: str, reference: str, platform: Platform | str
) -> Manifest:
    """Return the image for a platform, through indexes; an image that is named itself has to be for it."""
    wanted = as_platform(platform)  # before any request
    root = await get(registry, repository, reference)
    if is_index(root.media_type):
        return await _chosen(registry, repository, root, wanted)
    await _check_platform(registry, repository, root, wanted)
    return root


async def _chosen(registry: Registry, repository: str, root: Manifest, wanted: Platform) -> Manifest:
    """Return the image for a platform: of an index, or of the first index in it that has one."""
    found = root
    waiting: deque[Descriptor] = deque()
    for _ in range(MAX_INDEXES):
        try:
            waiting.appendleft(found.select(wanted))
        except NotFound:
            # An index may lie in another one without a word of what it is for.
            waiting.extend(entry for entry in found.children if _is_unnamed_index(entry))
            if not waiting:
                raise
        entry = waiting.popleft()
        found = (await get(registry, repository, entry.digest)).verify(entry)
        if not is_index(found.media_type):
            return found
    raise InvalidManifest(f"{root.digest} leads through more than {MAX_INDEXES} indexes")


def _is_unnamed_index(entry: Descriptor) -> bool:
    return entry.platform is None and is_index(entry.media_type)


class _Config(BaseModel):
    """What the config of an image says about its platform (image specification, config.md)."""

    os: str = ""
    architecture: str = ""
    variant: str | None = None


async def _check_platform(registry: Registry, repository: str, manifest: Manifest, wanted: Platform) -> None:
    """Make sure that an image runs on a platform; artifacts have none, and run nowhere and everywhere."""
    content = manifest.content
    if not isinstance(content, ImageManifest) or content.config.media_type not in _CONFIGS:
        return
    async with registry.get_blob(repository, content.config) as reader:
        raw = await reader.read()
    try:
        config = _Config.model_validate_json(raw)
    except ValidationError:
        raise InvalidManifest(f"the config of {manifest.digest} is malformed") from None
    offered = Platform(os=config.os, architecture=config.architecture, variant=config.variant)
    if offered.os and not runs(offered, wanted):
        raise NotFound(f"{manifest.digest} is for {offered}, not for {wanted}")


async def get_if_changed(
    registry: Registry, repository: str, reference: str, known: Digest
) -> Manifest | None:
    """Return a manifest unless it is the one with digest `known`."""
    digest = checked_reference(repository, reference)
    if digest == known:
        return None
    answer = await registry.ask(
        endpoints.get_manifest_unless(repository, reference),
        limit=registry.max_manifest,
        headers=[("If-None-Match", entity_tag(known))],
    )
    if answer.status == 304:
        return None
    manifest = _parsed(answer, digest)
    # Registries that know no conditions send it all the same.
    return None if Digest.of(manifest.raw, known.algorithm) == known else manifest


async def has_moved(registry: Registry, repository: str, tag: str, known: Digest) -> bool:
    """Say whether a tag points elsewhere than at `known`, by one HEAD where it tells."""
    check_tag(tag)
    try:
        return (await stat(registry, repository, tag)).digest != known
    except NotFound:
        return True


async def put(
    registry: Registry,
    repository: str,
    manifest: Manifest,
    reference: str,
    *,
    tags: Sequence[str] = (),
    condition: tuple[str, str] | None = None,
) -> Answer:
    """Send one PUT of a manifest (end-7a, end-7b).

    Args:
        registry: Where to.
        repository: Name of the repository.
        manifest: What to store.
        reference: A tag, or its digest.
        tags: Sent along with the digest.
        condition: A header without which the registry shall not store it (RFC 9110 section 13.1).

    Raises:
        DigestMismatch: The registry says that it stored something else.
    """
    endpoint = endpoints.put_manifest(repository, reference, manifest.media_type, tags=tags)
    headers = () if condition is None else (condition,)
    answer = await registry.sender.request(
        registry.host, endpoint, limit=SMALL_ANSWER, headers=headers, body=manifest.raw
    )
    check_announced(answer, manifest.digest, manifest.raw)
    return answer


def checked_reference(repository: str, reference: str) -> Digest | None:
    """Check both before a URL is built from them; the digest, if the reference is one."""
    check_repository(repository)
    if ":" in reference:
        return Digest(reference)
    check_tag(reference)
    return None
