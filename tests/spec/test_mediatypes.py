"""Media types: their grammar, and what they say about content."""

from __future__ import annotations

import pytest

import oci_distribution as oci
from oci_distribution.spec.mediatypes import check_media_type, is_foreign, is_index, is_manifest

ALL = [
    value
    for name, value in vars(oci.MediaType).items()
    if not name.startswith("_") and isinstance(value, str)
]


@pytest.mark.parametrize(
    "text", [*ALL, "a/b", "A/B", "text/x-y.z+json", "a/" + "b" * 127, "1/2", "a/b!#$&^_.+-"]
)
def test_media_types(text: str) -> None:
    """RFC 6838's names, at most 127 characters a side."""
    assert check_media_type(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "/",
        "a/",
        "/b",
        "a/b/c",
        "a b/c",
        "a/b;c=d",
        "a/b ",
        "a/b\n",
        ".a/b",
        "a/-b",
        "*/*",
        "a/é",
        "a/" + "b" * 128,
    ],
)
def test_what_is_no_media_type(text: str) -> None:
    """Parameters are none of it, and neither is a wildcard."""
    with pytest.raises(oci.InvalidMediaType):
        check_media_type(text)


def test_kinds_of_manifests() -> None:
    """Indexes are manifests, and configs and layers are not."""
    assert is_index(oci.MediaType.IMAGE_INDEX)
    assert is_index(oci.MediaType.DOCKER_MANIFEST_LIST)
    assert not is_index(oci.MediaType.IMAGE_MANIFEST)
    assert is_manifest(oci.MediaType.IMAGE_INDEX)
    assert is_manifest(oci.MediaType.DOCKER_MANIFEST_V1_SIGNED)
    assert not is_manifest(oci.MediaType.IMAGE_CONFIG)
    assert not is_manifest(oci.MediaType.DOCKER_LAYER_GZIP)


@pytest.mark.parametrize(
    ("media_type", "foreign"),
    [
        ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", True),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", True),
        ("application/vnd.acme.foreign.exchange", False),
        ("application/vnd.acme.nondistributable.v1", False),
        (oci.MediaType.DOCKER_LAYER_GZIP, False),
        (oci.MediaType.IMAGE_LAYER_ZSTD, False),
    ],
)
def test_layers_that_stay_with_their_owner(media_type: str, foreign: bool) -> None:
    """OCI's and Docker's."""
    assert is_foreign(media_type) is foreign


def test_the_accept_header_names_every_manifest() -> None:
    """A registry that finds its type missing may convert, and then the digest is another."""
    accepted = oci.manifest_accept_header().split(", ")

    assert len(accepted) == len(set(accepted))
    assert set(accepted) == {media_type for media_type in ALL if is_manifest(media_type)}
    assert oci.manifest_accept_header("a/b", "c/d") == "a/b, c/d"
