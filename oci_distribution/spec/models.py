"""Documents of the specifications as frozen models.

They are a view of bytes that live elsewhere: reading tolerates what registries really hold (unknown
fields, nulls that ECR stores for empty lists), and nothing here is ever written back as a manifest
that somebody else made, see `Manifest`.
"""

from __future__ import annotations

import base64
import json
from functools import cache
from typing import Annotated, Any, ClassVar, Self, TypeVar, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from oci_distribution.spec.digest import Digest
from oci_distribution.spec.mediatypes import MediaType, check_media_type
from oci_distribution.spec.reference import is_tag

__all__ = [
    "BlobSum",
    "Descriptor",
    "DockerManifest",
    "DockerManifestList",
    "DockerManifestV1",
    "ErrorBody",
    "ErrorEntry",
    "ImageIndex",
    "ImageManifest",
    "OpaqueManifest",
    "Platform",
    "RepositoryList",
    "TagList",
]

MAX_SIZE = 2**63 - 1
"""Largest size of a descriptor, in bytes: the specification's int64."""

T = TypeVar("T")


class _Document(BaseModel):
    """Frozen, tolerant of unknown fields, strict about types: `"size": "3"` and `"size": true` are wrong."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="allow", strict=True, alias_generator=to_camel, validate_by_name=True
    )


class _Content(_Document):
    """What a digest names, and so has to mean the same to everybody."""

    @model_validator(mode="after")
    def _check_spelling(self) -> Self:
        # Go reads a field in whatever case, and the last counts: `Digest` after `digest` is another layer.
        for key in self.model_extra or ():
            if key.casefold() in _folded_names(type(self)):
                msg = f"it is ambiguous: it has {key!r}"
                raise ValueError(msg)
        return self


@cache
def _folded_names(model: type[BaseModel]) -> frozenset[str]:
    return frozenset((field.alias or name).casefold() for name, field in model.model_fields.items())


def _null_as_list(value: Any) -> Any:
    if value is None:
        return ()
    return tuple(cast("list[object]", value)) if isinstance(value, list) else value


def _null_as_dict(value: Any) -> Any:
    """Read null as nothing, and in annotations, too, as Go's tools do."""
    if not isinstance(value, dict):
        return {} if value is None else value
    return {key: item for key, item in cast("dict[object, Any]", value).items() if item is not None}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


ManyOf = Annotated[tuple[T, ...], BeforeValidator(_null_as_list)]
Annotations = Annotated[dict[str, str], BeforeValidator(_null_as_dict)]
MediaTypeText = Annotated[str, AfterValidator(check_media_type)]


class Platform(_Content):
    """What an image of an index runs on (image specification, image-index.md); empty is unknown.

    Attributes:
        architecture: CPU, in Go's words: `amd64`, `arm64`.
        os: Operating system, in Go's words: `linux`, `windows`.
        os_version: Version of the operating system, which matters to Windows.
        os_features: What the operating system must have, `win32k`.
        variant: Variant of the CPU, `v7` of `arm`.
    """

    architecture: str = ""
    os: str = ""
    os_version: str | None = Field(default=None, alias="os.version")
    os_features: ManyOf[str] = Field(default=(), alias="os.features")
    variant: str | None = None

    def __str__(self) -> str:
        parts = [self.os, self.architecture, self.variant]
        return "/".join(part for part in parts if part)


class Descriptor(_Content):
    """What content is, how long, and its digest (image specification, descriptor.md).

    Attributes:
        media_type: Media type of the content.
        digest: Digest of the content's bytes.
        size: Length of the content, in bytes.
        urls: Other places to get the content from.
        annotations: Free text about the content.
        data: The content itself, base64-encoded, when it is small.
        artifact_type: Kind of artifact, when this is the descriptor of its manifest.
        platform: What the image runs on, when this is an entry of an index.
    """

    media_type: MediaTypeText
    digest: Digest
    size: Annotated[int, Field(ge=0, le=MAX_SIZE)]
    urls: ManyOf[str] = ()
    annotations: Annotations = Field(default_factory=dict)
    data: str | None = None
    artifact_type: str | None = None
    platform: Platform | None = None

    @property
    def inline_data(self) -> bytes | None:
        """The bytes of `data`, unverified; None when there are none or they are not base64."""
        if self.data is None:
            return None
        try:
            return base64.b64decode(self.data, validate=True)
        except ValueError:
            return None

    def bare(self) -> Descriptor:
        """Return only media type, digest and size: what a store needs to find the content."""
        return Descriptor(media_type=self.media_type, digest=self.digest, size=self.size)

    def dump(self) -> dict[str, Any]:
        """Return the JSON object of the specification, without empty fields."""
        return {
            key: value
            for key, value in self.model_dump(mode="json", by_alias=True, exclude_none=True).items()
            if value not in ({}, [])
        }


def _schema_2(value: int) -> int:
    if value != 2:
        msg = "schemaVersion must be 2"
        raise ValueError(msg)
    return value


class _Versioned(_Content):
    schema_version: Annotated[int, AfterValidator(_schema_2)] = 2
    annotations: Annotations = Field(default_factory=dict)
    artifact_type: str | None = None
    subject: Descriptor | None = None


class ImageManifest(_Versioned):
    """An image manifest (image specification, manifest.md).

    Attributes:
        schema_version: Always 2.
        media_type: Its own type, as written in it.
        artifact_type: What it is, when it is no image.
        config: Descriptor of the configuration.
        layers: Descriptors of the layers, the base first.
        subject: The manifest that this one refers to: what it signs, describes, …
        annotations: Free text about the image.
    """

    media_type: str | None = MediaType.IMAGE_MANIFEST
    config: Descriptor
    layers: ManyOf[Descriptor] = ()

    @property
    def children(self) -> tuple[Descriptor, ...]:
        """What must be in a repository before this manifest: config, then layers."""
        return (self.config, *self.layers)


class DockerManifest(ImageManifest):
    """Docker's image manifest, version 2 schema 2."""

    media_type: str | None = MediaType.DOCKER_MANIFEST


class ImageIndex(_Versioned):
    """An index of manifests (image specification, image-index.md).

    Attributes:
        schema_version: Always 2.
        media_type: Its own type, as written in it.
        artifact_type: What it is, when it lists no images.
        manifests: Descriptors of what it lists, the preferred first.
        subject: The manifest that this one refers to: what it signs, describes, …
        annotations: Free text about the index.
    """

    media_type: str | None = MediaType.IMAGE_INDEX
    manifests: ManyOf[Descriptor] = ()

    @property
    def children(self) -> tuple[Descriptor, ...]:
        """What must be in a repository before this index: its manifests."""
        return self.manifests


class DockerManifestList(ImageIndex):
    """Docker's manifest list, version 2."""

    media_type: str | None = MediaType.DOCKER_MANIFEST_LIST


class OpaqueManifest(_Content):
    """A manifest of a type that we can read, but not interpret (Docker schema 1, the old artifact).

    Attributes:
        media_type: Its own type, as written in it.
    """

    media_type: str | None = None


class BlobSum(_Content):
    """A layer of a schema 1 manifest, which does not say how long it is."""

    blob_sum: Digest


class DockerManifestV1(OpaqueManifest):
    """Docker's image manifest, version 2 schema 1: read, and neither made nor taken apart.

    Attributes:
        name: The repository that it was made for.
        tag: The tag that it was made for.
        architecture: Of the image.
        fs_layers: The layers, the newest first.
    """

    name: str = ""
    tag: str = ""
    architecture: str = ""
    fs_layers: ManyOf[BlobSum] = ()


class ErrorEntry(_Document):
    """One entry of an error body (distribution specification, "Error Codes")."""

    code: Annotated[str, BeforeValidator(_text)] = "UNKNOWN"
    message: Annotated[str, BeforeValidator(_text)] | None = None
    detail: Any = None


class ErrorBody(_Document):
    """Body of an answer that means no (distribution specification, "Error Codes")."""

    errors: ManyOf[ErrorEntry] = ()

    @model_validator(mode="before")
    @classmethod
    def _accept_single(cls, value: Any) -> Any:
        """Read `{"code": …}` and `{"error": "text"}` too: proxies and token servers answer so."""
        if not isinstance(value, dict) or "errors" in value:
            return cast("object", value)
        document = cast("dict[str, Any]", value)
        if "code" in document:
            return {"errors": [document]}
        if isinstance(error := document.get("error"), str):
            return {"errors": [{"code": error.upper(), "message": document.get("error_description")}]}
        return document


def _without_strangers(value: Any) -> Any:
    """Drop what cannot be a tag: Nexus lists null (skopeo#2409), Artifactory digests (skopeo#2346).

    And so nobody finds a path or a terminal's control sequence in a tag.
    """
    if not isinstance(value, list):
        return value
    tags = cast("list[object]", value)
    return [tag for tag in tags if (is_tag(tag) if isinstance(tag, str) else tag is not None)]


class TagList(_Document):
    """A page of tags (distribution specification, "Listing Tags")."""

    name: str | None = None
    tags: Annotated[ManyOf[str], BeforeValidator(_without_strangers)] = ()


class RepositoryList(_Document):
    """A page of a registry's catalog (an extension that distribution brought)."""

    repositories: ManyOf[str] = ()
