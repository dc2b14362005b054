"""Media types of manifests, configs and layers (image specification, media-types.md), and Docker's twins."""

from __future__ import annotations

import re
from typing import Final

from oci_distribution.errors import InvalidMediaType

__all__ = [
    "MediaType",
    "check_media_type",
    "is_foreign",
    "is_index",
    "is_manifest",
    "is_media_type",
    "manifest_accept_header",
]


class MediaType:
    """Names for the media types that this library knows."""

    IMAGE_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
    IMAGE_INDEX: Final = "application/vnd.oci.image.index.v1+json"
    ARTIFACT_MANIFEST: Final = "application/vnd.oci.artifact.manifest.v1+json"
    IMAGE_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
    IMAGE_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
    IMAGE_LAYER_GZIP: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
    IMAGE_LAYER_ZSTD: Final = "application/vnd.oci.image.layer.v1.tar+zstd"
    EMPTY_JSON: Final = "application/vnd.oci.empty.v1+json"
    OCTET_STREAM: Final = "application/octet-stream"

    DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
    DOCKER_MANIFEST_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
    DOCKER_MANIFEST_V1: Final = "application/vnd.docker.distribution.manifest.v1+json"
    DOCKER_MANIFEST_V1_SIGNED: Final = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
    DOCKER_LAYER_GZIP: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"


_INDEXES = frozenset({MediaType.IMAGE_INDEX, MediaType.DOCKER_MANIFEST_LIST})
_MANIFESTS = _INDEXES | {
    MediaType.IMAGE_MANIFEST,
    MediaType.DOCKER_MANIFEST,
    MediaType.ARTIFACT_MANIFEST,
    MediaType.DOCKER_MANIFEST_V1,
    MediaType.DOCKER_MANIFEST_V1_SIGNED,
}

_FOREIGN = (
    "application/vnd.oci.image.layer.nondistributable.",
    "application/vnd.docker.image.rootfs.foreign.",
)

# The whole list, always: with a shorter one Quay converts to schema 1, whose digest nobody asked for.
_ACCEPTED = (
    MediaType.IMAGE_INDEX,
    MediaType.IMAGE_MANIFEST,
    MediaType.DOCKER_MANIFEST_LIST,
    MediaType.DOCKER_MANIFEST,
    MediaType.ARTIFACT_MANIFEST,
    MediaType.DOCKER_MANIFEST_V1_SIGNED,
    MediaType.DOCKER_MANIFEST_V1,
)

_RESTRICTED_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_MEDIA_TYPE = re.compile(rf"{_RESTRICTED_NAME}/{_RESTRICTED_NAME}", re.ASCII)


def check_media_type(text: str) -> str:
    """Return `text`, a media type without parameters as RFC 6838 section 4.2 spells them.

    Raises:
        InvalidMediaType: It breaks that grammar.
    """
    if not is_media_type(text):
        raise InvalidMediaType(f"invalid media type {text[:200]!r}")
    return text


def is_media_type(text: str) -> bool:
    """Say whether `text` is a media type without parameters."""
    return _MEDIA_TYPE.fullmatch(text) is not None


def is_index(media_type: str) -> bool:
    """Say whether a manifest of this type lists other manifests."""
    return media_type in _INDEXES


def is_manifest(media_type: str) -> bool:
    """Say whether content of this type is stored as a manifest, an index included, and not as a blob."""
    return media_type in _MANIFESTS


def is_foreign(media_type: str) -> bool:
    """Say whether layers of this type stay with their owner: registries hold only where to get them."""
    return media_type.startswith(_FOREIGN)


def manifest_accept_header(*media_types: str) -> str:
    """Return the value of `Accept` for a manifest request.

    Args:
        media_types: Types to ask for; without any, every type that this library can read.
    """
    return ", ".join(media_types or _ACCEPTED)
