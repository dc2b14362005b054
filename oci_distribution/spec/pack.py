"""Making manifests: images, artifacts and indexes (image specification, manifest.md and image-index.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Final

from oci_distribution.errors import InvalidArgument
from oci_distribution.spec.digest import Digest
from oci_distribution.spec.manifest import Manifest
from oci_distribution.spec.mediatypes import MediaType, check_media_type, is_manifest
from oci_distribution.spec.models import Descriptor, ImageIndex, ImageManifest

__all__ = ["EMPTY_DESCRIPTOR", "EMPTY_JSON", "check_annotations", "pack_index", "pack_manifest"]

_IMAGE_CONFIGS: Final = frozenset({MediaType.IMAGE_CONFIG, MediaType.DOCKER_CONFIG})

EMPTY_JSON: Final = b"{}"
"""The blob that stands where an artifact has no config, or no content. It has to be pushed like any other."""

EMPTY_DESCRIPTOR: Final = Descriptor(
    media_type=MediaType.EMPTY_JSON, digest=Digest.of(EMPTY_JSON), size=len(EMPTY_JSON), data="e30="
)
"""Descriptor of `EMPTY_JSON`, which holds it, too (manifest.md, "Guidance for an Empty Descriptor")."""


def pack_manifest(
    *,
    artifact_type: str | None = None,
    config: Descriptor | None = None,
    layers: Iterable[Descriptor] = (),
    subject: Descriptor | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Manifest:
    """Make the manifest of an image or an artifact (manifest.md, "Guidelines for Artifact Usage").

    The same arguments make the same bytes: no time is put in. Nothing is pushed; what the manifest refers to
    has to be there before it, `EMPTY_JSON` where that stands for the config.

    Args:
        artifact_type: What kind of artifact it is. Needed without a config; with a config of a type of its
            own, which is how artifacts were made before version 1.1, it may be left out.
        config: Descriptor of the config; without it, the empty one.
        layers: Descriptors of the content. An artifact without any gets the empty one as its layer.
        subject: The manifest that this one refers to: what it signs, describes, …
        annotations: Free text about it.

    Raises:
        InvalidArgument: Neither says what it is; the subject is no manifest; or an annotation is not text.
        InvalidMediaType: The artifact type is none.
    """
    config, layers = config if config is not None else EMPTY_DESCRIPTOR, tuple(layers)
    _check(artifact_type, subject, annotations)
    if artifact_type is None and config.media_type == MediaType.EMPTY_JSON:
        raise InvalidArgument("name an artifact_type: the empty config does not say what the artifact is")
    is_image = artifact_type is None and config.media_type in _IMAGE_CONFIGS
    return Manifest.of(
        ImageManifest(
            artifact_type=artifact_type,
            config=config,
            layers=layers if layers or is_image else (EMPTY_DESCRIPTOR,),
            subject=_bare(subject),
            annotations=dict(annotations or {}),
        )
    )


def pack_index(
    manifests: Iterable[Descriptor],
    *,
    artifact_type: str | None = None,
    subject: Descriptor | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Manifest:
    """Make an index of manifests, such as the images of several platforms (image-index.md).

    Args:
        manifests: Their descriptors, the preferred first; for images with `platform`.
        artifact_type: What kind of artifact it is, when it lists no images.
        subject: The manifest that this one refers to.
        annotations: Free text about it.

    Raises:
        InvalidArgument: One of `manifests`, or the subject, is no manifest; or an annotation is not text.
        InvalidMediaType: The artifact type is none.
    """
    _check(artifact_type, subject, annotations)
    manifests = tuple(manifests)
    for entry in manifests:
        _check_manifest("an index lists manifests, and", entry)
    return Manifest.of(
        ImageIndex(
            artifact_type=artifact_type,
            manifests=manifests,
            subject=_bare(subject),
            annotations=dict(annotations or {}),
        )
    )


def _check(
    artifact_type: str | None, subject: Descriptor | None, annotations: Mapping[str, str] | None
) -> None:
    if artifact_type is not None:
        check_media_type(artifact_type)
    if subject is not None:
        _check_manifest("a subject is a manifest, and", subject)
    check_annotations(annotations or {})


def check_annotations(annotations: Mapping[str, str]) -> None:
    """Make sure that annotations can be written.

    Raises:
        InvalidArgument: One is no text, or has a half of a character in it.
    """
    texts: Iterable[object] = chain.from_iterable(annotations.items())
    for text in texts:
        if not isinstance(text, str):
            raise InvalidArgument(f"annotations are text, and not {text!r}")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InvalidArgument(f"no UTF-8 can be made of the annotation {text!r}") from None


def _check_manifest(why: str, descriptor: Descriptor) -> None:
    if not is_manifest(descriptor.media_type):
        raise InvalidArgument(f"{why} {descriptor.digest} is {descriptor.media_type}")


def _bare(subject: Descriptor | None) -> Descriptor | None:
    """Return what points at the subject; what an index says of it, such as its platform, is not for here."""
    return subject.bare() if subject is not None else None
