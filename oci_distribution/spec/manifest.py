"""A manifest: its bytes, and the view of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self, TypeAlias, cast

from pydantic import BaseModel, ValidationError

from oci_distribution.errors import (
    DigestMismatch,
    InvalidArgument,
    InvalidManifest,
    InvalidMediaType,
    NotFound,
    SizeMismatch,
)
from oci_distribution.spec.digest import Digest
from oci_distribution.spec.mediatypes import MediaType, check_media_type, is_index
from oci_distribution.spec.models import (
    Descriptor,
    DockerManifest,
    DockerManifestList,
    DockerManifestV1,
    ImageIndex,
    ImageManifest,
    OpaqueManifest,
    Platform,
)
from oci_distribution.spec.platform import as_platform, best_match
from oci_distribution.spec.schema1 import signed_payload

__all__ = ["Manifest", "ManifestContent"]

ManifestContent: TypeAlias = ImageManifest | ImageIndex | OpaqueManifest

_MODELS: dict[str, type[ManifestContent]] = {
    MediaType.IMAGE_MANIFEST: ImageManifest,
    MediaType.IMAGE_INDEX: ImageIndex,
    MediaType.DOCKER_MANIFEST: DockerManifest,
    MediaType.DOCKER_MANIFEST_LIST: DockerManifestList,
    MediaType.DOCKER_MANIFEST_V1: DockerManifestV1,
    MediaType.DOCKER_MANIFEST_V1_SIGNED: DockerManifestV1,
}

# What a server says that does not know: older proxies and file servers. It contradicts nothing.
_GENERIC = frozenset({"", "application/json", "application/octet-stream", "text/plain"})

# The fields that say what kind of manifest this is.
_TELLING = frozenset({"schemaVersion", "mediaType", "config", "layers", "manifests"})
_TELLING_FOLDED = frozenset(name.casefold() for name in _TELLING)


@dataclass(frozen=True)
class Manifest:
    """A manifest or index as somebody made it; `raw` is the truth and is what gets pushed.

    Args:
        raw: The bytes. They are never re-serialised: that would make another manifest.
        descriptor: Media type, digest and size of `raw`.
    """

    raw: bytes = field(repr=False)
    descriptor: Descriptor

    @classmethod
    def parse(cls, raw: bytes, media_type: str | None = None, *, digest: str | None = None) -> Self:
        """Take in bytes that came from somewhere, and check that they mean one thing only.

        Args:
            raw: The bytes of the manifest.
            media_type: What the store says they are; None to find out from the content.
            digest: What they must hash to; without it their sha256 is computed.

        Raises:
            DigestMismatch: They hash to something else.
            InvalidManifest: They are no manifest, are another kind than `media_type`, or are ambiguous.
        """
        algorithm = Digest(digest).algorithm if digest is not None else "sha256"
        actual = Digest.of(raw, algorithm)
        # Checked before anything is made of the bytes, but for a signed schema 1, whose bytes are not what
        # its digest is of.
        if digest not in {None, actual} and b'"signatures"' not in raw:
            raise DigestMismatch(f"manifest hashes to {actual}, not to {digest}")
        kind = _media_type_of(raw, media_type)
        if kind == MediaType.DOCKER_MANIFEST_V1_SIGNED and digest != actual:
            actual = Digest.of(signed_payload(raw), algorithm)
        if digest not in {None, actual}:
            raise DigestMismatch(f"manifest hashes to {actual}, not to {digest}")
        return cls(raw, Descriptor(media_type=kind, digest=actual, size=len(raw)))

    @classmethod
    def of(cls, content: ImageManifest | ImageIndex, *, algorithm: str = "sha256") -> Self:
        """Make the bytes of a manifest that is new.

        Args:
            content: The model; empty fields are left out.
            algorithm: Of the digest; only sha256 is understood everywhere.

        Raises:
            InvalidArgument: A text in it has a half of a character, so that no UTF-8 can be made of it.
        """
        head: dict[str, Any] = {"schemaVersion": 2, "mediaType": content.media_type}
        document = content.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
        # Required, and so there even when it is empty.
        document.setdefault("manifests" if isinstance(content, ImageIndex) else "layers", [])
        try:
            raw = json.dumps(head | document, separators=(",", ":"), ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise InvalidArgument(f"no UTF-8 can be made of the manifest: {error.reason}") from None
        return cls.parse(raw, content.media_type, digest=Digest.of(raw, algorithm))

    def check(self) -> None:
        """Make sure that the bytes are those of the descriptor: `dataclasses.replace` can change one alone.

        Raises:
            DigestMismatch: They hash to something else.
            SizeMismatch: They have another length.
        """
        # A signed manifest of schema 1 hashes to something else, too, and parsing knows why.
        is_plain = Digest.of(self.raw, self.digest.algorithm) == self.digest
        if not is_plain or len(self.raw) != self.descriptor.size:
            self.parse(self.raw, self.media_type, digest=self.digest).verify(self.descriptor)

    def verify(self, descriptor: Descriptor) -> Self:
        """Return this manifest if it is what `descriptor` points at.

        Raises:
            DigestMismatch: The digest differs.
            SizeMismatch: The length differs.
            InvalidManifest: One of them is an index, and the other is not (CVE-2021-41190).
        """
        if descriptor.digest != self.digest:
            raise DigestMismatch(f"manifest has digest {self.digest}, not {descriptor.digest}")
        if descriptor.size != len(self.raw):
            raise SizeMismatch(f"manifest {self.digest} has {len(self.raw)} bytes, not {descriptor.size}")
        if is_index(descriptor.media_type) != is_index(self.media_type):
            raise InvalidManifest(
                f"manifest {self.digest} is {self.media_type}, but was referred to as {descriptor.media_type}"
            )
        return self

    @property
    def digest(self) -> Digest:
        """Digest of `raw`."""
        return self.descriptor.digest

    @property
    def media_type(self) -> str:
        """Media type, without parameters."""
        return self.descriptor.media_type

    @cached_property
    def content(self) -> ManifestContent:
        """The typed view.

        Raises:
            InvalidManifest: A field is missing or has the wrong type.
        """
        model: type[BaseModel] = _MODELS.get(self.media_type, OpaqueManifest)
        try:
            content = model.model_validate_json(self.raw, by_name=False)
        except ValidationError as error:
            raise InvalidManifest(f"manifest {self.digest} is malformed: {_first_reason(error)}") from None
        assert isinstance(content, ImageManifest | ImageIndex | OpaqueManifest)
        return content

    @property
    def children(self) -> tuple[Descriptor, ...]:
        """What it needs: config and layers, or an index's manifests; empty for types we cannot interpret."""
        content = self.content
        return () if isinstance(content, OpaqueManifest) else content.children

    @property
    def platforms(self) -> tuple[Platform, ...]:
        """The platforms that an index is for, attestations left out; none for anything else."""
        found = [child.platform for child in self.children if child.platform is not None]
        return tuple(platform for platform in found if platform.os != "unknown")

    def select(self, platform: Platform | str) -> Descriptor:
        """Return the entry of an index that runs best on a platform.

        Args:
            platform: Such as `linux/arm64` or `linux/arm/v7`.

        Raises:
            NotFound: None runs there, or this is no index; the message says which platforms there are.
            InvalidArgument: `platform` is none.
        """
        wanted = as_platform(platform)
        entry = best_match(self.children, wanted) if is_index(self.media_type) else None
        if entry is None:
            there_are = ", ".join(str(found) for found in self.platforms) or "none"
            raise NotFound(f"nothing for {wanted} in {self.digest}; its platforms: {there_are}")
        return entry

    @property
    def subject(self) -> Descriptor | None:
        """The manifest that this one refers to, if it is a referrer."""
        content = self.content
        return None if isinstance(content, OpaqueManifest) else content.subject


def _first_reason(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]


def _media_type_of(raw: bytes, announced: str | None) -> str:
    document = _load(raw)
    stated = document.get("mediaType")
    if stated is not None and not isinstance(stated, str):
        raise InvalidManifest("manifest is malformed: mediaType is not a string")
    if announced in _GENERIC:
        announced = None
    if stated and announced and stated != announced:
        raise InvalidManifest(f"manifest says it is {stated}, but it was announced as {announced}")
    kind = stated or announced or _kind_by_fields(document)
    _check_unambiguous(document, kind)
    return _checked(kind)


def _checked(media_type: str) -> str:
    try:
        return check_media_type(media_type)
    except InvalidMediaType as error:
        raise InvalidManifest(f"manifest is malformed: {error}") from None


def _load(raw: bytes) -> dict[str, Any]:
    try:
        # Decoded first: the standard library would take UTF-16, too, which nobody else does.
        document = _DECODER.decode(raw.decode())
    except (ValueError, RecursionError):
        raise InvalidManifest("manifest is malformed: not JSON") from None
    if not isinstance(document, dict):
        raise InvalidManifest("manifest is malformed: not a JSON object")
    return cast("dict[str, Any]", document)


def _distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise InvalidManifest("manifest is ambiguous: a key stands in it twice")
    return document


# Made once: `json.loads` would make one for each manifest.
_DECODER = json.JSONDecoder(object_pairs_hook=_distinct_keys)


def _kind_by_fields(document: dict[str, Any]) -> str:
    """The image specification only recommends mediaType; without it the fields tell."""
    if document.get("schemaVersion") == 1:
        return (
            MediaType.DOCKER_MANIFEST_V1_SIGNED
            if document.get("signatures")
            else MediaType.DOCKER_MANIFEST_V1
        )
    if document.get("manifests") is not None:
        return MediaType.IMAGE_INDEX
    if document.get("config") is not None or document.get("layers") is not None:
        return MediaType.IMAGE_MANIFEST
    raise InvalidManifest("manifest is malformed: it has no mediaType, config, layers or manifests")


def _check_unambiguous(document: dict[str, Any], kind: str) -> None:
    # CVE-2021-41190: one client reads the index, another the image, and both verify the same digest.
    misspelt = [key for key in document if key not in _TELLING and key.casefold() in _TELLING_FOLDED]
    if misspelt:
        # Go reads them as if they were spelled right, a long s, too.
        raise InvalidManifest(f"manifest is ambiguous: it has {misspelt[0]!r}")
    is_image = any(document.get(key) is not None for key in ("layers", "config"))
    lists_images = document.get("manifests") is not None
    if is_image and lists_images:
        raise InvalidManifest("manifest is ambiguous: it has 'manifests' and also 'layers' or 'config'")
    if kind in _MODELS and (is_image if is_index(kind) else lists_images):
        raise InvalidManifest(
            f"manifest is ambiguous: it says it is {kind}, but has the fields of the other kind"
        )
