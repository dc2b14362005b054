"""Manifests that are made: images, artifacts old and new, indexes, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

import oci_distribution as oci

IMAGE_CONFIG = oci.Descriptor(media_type=oci.MediaType.IMAGE_CONFIG, digest=oci.Digest.of(b"c"), size=1)
OWN_CONFIG = oci.Descriptor(media_type="application/vnd.example+json", digest=oci.Digest.of(b"c"), size=1)
LAYER = oci.Descriptor(media_type="text/plain", digest=oci.Digest.of(b"layer"), size=5)
SUBJECT = oci.Descriptor(
    media_type=oci.MediaType.IMAGE_MANIFEST,
    digest=oci.Digest.of(b"subject"),
    size=7,
    platform=oci.Platform(os="linux", architecture="amd64"),
)
EMPTY = {
    "mediaType": "application/vnd.oci.empty.v1+json",
    "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
    "size": 2,
    "data": "e30=",
}


def document(manifest: oci.Manifest) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(manifest.raw)
    return found


def test_artifact() -> None:
    """With a type, the empty config, and what it refers to, of which only the reference is taken."""
    manifest = oci.pack_manifest(
        artifact_type="text/x", layers=[LAYER], subject=SUBJECT, annotations={"a": "b"}
    )

    assert document(manifest) == {
        "schemaVersion": 2,
        "mediaType": oci.MediaType.IMAGE_MANIFEST,
        "artifactType": "text/x",
        "config": EMPTY,
        "layers": [LAYER.dump()],
        "subject": SUBJECT.bare().dump(),
        "annotations": {"a": "b"},
    }


def test_artifact_without_content() -> None:
    """The specification wants one layer: the empty one."""
    assert document(oci.pack_manifest(artifact_type="text/x"))["layers"] == [EMPTY]
    assert oci.Digest.of(oci.EMPTY_JSON) == oci.EMPTY_DESCRIPTOR.digest


def test_artifact_of_the_old_kind() -> None:
    """The type of its config says what it is."""
    found = document(oci.pack_manifest(config=OWN_CONFIG, layers=[LAYER]))
    assert "artifactType" not in found
    assert found["config"]["mediaType"] == "application/vnd.example+json"


def test_image() -> None:
    """Its layers are as they are given, none included."""
    assert document(oci.pack_manifest(config=IMAGE_CONFIG, layers=[LAYER]))["layers"] == [LAYER.dump()]
    assert document(oci.pack_manifest(config=IMAGE_CONFIG))["layers"] == []


def test_index() -> None:
    """Entries keep their platform."""
    manifest = oci.pack_index([SUBJECT], artifact_type="text/x", subject=SUBJECT, annotations={"a": "b"})

    assert document(manifest) == {
        "schemaVersion": 2,
        "mediaType": oci.MediaType.IMAGE_INDEX,
        "artifactType": "text/x",
        "manifests": [{**SUBJECT.bare().dump(), "platform": {"os": "linux", "architecture": "amd64"}}],
        "subject": SUBJECT.bare().dump(),
        "annotations": {"a": "b"},
    }
    assert document(oci.pack_index([]))["manifests"] == []


def test_iterators_are_taken() -> None:
    """What can be read once is read once."""
    assert oci.pack_index(iter([SUBJECT])) == oci.pack_index([SUBJECT])
    for layers in ([LAYER], []):
        packed = oci.pack_manifest(artifact_type="text/x", layers=iter(layers))
        assert packed == oci.pack_manifest(artifact_type="text/x", layers=layers)


def test_same_arguments_make_the_same_bytes() -> None:
    """No time goes in."""
    one, two = (oci.pack_manifest(artifact_type="text/x", annotations={"b": "1", "a": "2"}) for _ in range(2))
    assert one.raw == two.raw


@pytest.mark.parametrize(
    "make",
    [
        oci.pack_manifest,
        lambda: oci.pack_manifest(artifact_type="no type"),
        lambda: oci.pack_manifest(artifact_type=""),
        lambda: oci.pack_manifest(artifact_type="text/x", subject=LAYER),
        lambda: oci.pack_manifest(artifact_type="text/x", annotations={"a": 1}),  # type: ignore[dict-item] # pyright: ignore[reportArgumentType]
        lambda: oci.pack_manifest(artifact_type="text/x", annotations={"a": "\ud800"}),
        lambda: oci.pack_manifest(artifact_type="text/x", annotations={"\ud800": "a"}),
        lambda: oci.Manifest.of(oci.ImageIndex(annotations={"a": "\ud800"})),
        lambda: oci.pack_index([], annotations={"a": "\ud800"}),
        lambda: oci.pack_index([LAYER]),
        lambda: oci.pack_index([], subject=LAYER),
        lambda: oci.pack_index([], artifact_type="x"),
    ],
)
def test_bad_arguments(make: Callable[[], oci.Manifest]) -> None:
    """A clear error, which is a ValueError, too."""
    with pytest.raises(oci.InvalidArgument) as caught:
        make()
    assert isinstance(caught.value, ValueError)
