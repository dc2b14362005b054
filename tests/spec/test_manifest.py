"""Manifests: their bytes are the truth, and mean one thing only."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from typing import Any

import pytest

import oci_distribution as oci

TYPES = oci.MediaType
CONFIG = {"mediaType": TYPES.IMAGE_CONFIG, "digest": "sha256:" + "c" * 64, "size": 2}
LAYER = {"mediaType": TYPES.IMAGE_LAYER, "digest": "sha256:" + "1" * 64, "size": 3}
IMAGE = {"schemaVersion": 2, "mediaType": TYPES.IMAGE_MANIFEST, "config": CONFIG, "layers": [LAYER]}
CHILD = {"mediaType": TYPES.IMAGE_MANIFEST, "digest": "sha256:" + "d" * 64, "size": 4}
INDEX = {"schemaVersion": 2, "mediaType": TYPES.IMAGE_INDEX, "manifests": [CHILD]}


def encoded(document: Any, **changes: Any) -> bytes:
    return json.dumps(
        {key: value for key, value in (document | changes).items() if value != "absent"}
    ).encode()


def test_the_bytes_stay_what_they_are() -> None:
    """Digest and size are those of the bytes, not of what they mean."""
    raw = b"\n" + encoded(IMAGE) + b"  \n"

    manifest = oci.Manifest.parse(raw)

    assert manifest.raw is raw
    assert manifest.descriptor == oci.Descriptor(
        media_type=TYPES.IMAGE_MANIFEST, digest=oci.Digest.of(raw), size=len(raw)
    )
    assert [child.digest for child in manifest.children] == [CONFIG["digest"], LAYER["digest"]]
    assert manifest.subject is None
    assert pickle.loads(pickle.dumps(manifest)) == manifest


def test_the_asked_for_digest_is_the_algorithm() -> None:
    """What was asked for by sha512 is verified by sha512."""
    raw = encoded(IMAGE)
    digest = oci.Digest.of(raw, "sha512")

    assert oci.Manifest.parse(raw, digest=digest).digest == digest
    with pytest.raises(oci.DigestMismatch):
        oci.Manifest.parse(raw + b" ", digest=digest)
    with pytest.raises(oci.InvalidDigest):
        oci.Manifest.parse(raw, digest="sha256:abc")


@pytest.mark.parametrize(
    ("document", "media_type"),
    [
        (IMAGE, TYPES.IMAGE_MANIFEST),
        (INDEX, TYPES.IMAGE_INDEX),
        (IMAGE | {"mediaType": TYPES.DOCKER_MANIFEST}, TYPES.DOCKER_MANIFEST),
        (INDEX | {"mediaType": TYPES.DOCKER_MANIFEST_LIST}, TYPES.DOCKER_MANIFEST_LIST),
        ({"schemaVersion": 1, "fsLayers": []}, TYPES.DOCKER_MANIFEST_V1),
        ({"schemaVersion": 1, "signatures": []}, TYPES.DOCKER_MANIFEST_V1),
        ({"mediaType": TYPES.ARTIFACT_MANIFEST, "blobs": []}, TYPES.ARTIFACT_MANIFEST),
        (IMAGE | {"mediaType": "absent"}, TYPES.IMAGE_MANIFEST),
        (IMAGE | {"mediaType": ""}, TYPES.IMAGE_MANIFEST),
        (IMAGE | {"mediaType": None, "manifests": None}, TYPES.IMAGE_MANIFEST),
        (INDEX | {"mediaType": "absent", "layers": None, "config": None}, TYPES.IMAGE_INDEX),
    ],
)
@pytest.mark.parametrize(
    "announced", [None, "", "application/json", "text/plain", "application/octet-stream"]
)
def test_the_content_says_what_it_is(document: Any, media_type: str, announced: str | None) -> None:
    """By its media type, else by its fields; a server that does not know contradicts nothing."""
    assert oci.Manifest.parse(encoded(document), announced).media_type == media_type


def test_the_server_says_what_the_content_does_not() -> None:
    """The media type is optional in the content, and then the header decides."""
    raw = encoded(INDEX, mediaType="absent")

    assert oci.Manifest.parse(raw, TYPES.DOCKER_MANIFEST_LIST).media_type == TYPES.DOCKER_MANIFEST_LIST


AMBIGUOUS = {
    "announced as an index": (encoded(IMAGE), TYPES.IMAGE_INDEX),
    "announced as an image": (encoded(INDEX), TYPES.IMAGE_MANIFEST),
    "announced as Docker's": (encoded(IMAGE), TYPES.DOCKER_MANIFEST),
    "index and layers": (encoded(INDEX, layers=[LAYER]), None),
    "index and config": (encoded(INDEX, config=CONFIG), None),
    "image and manifests": (encoded(IMAGE, manifests=[CHILD]), None),
    "image and empty manifests": (encoded(IMAGE, manifests=[]), None),
    "both, unnamed": (encoded(IMAGE, mediaType="absent", manifests=[CHILD]), None),
    "both, opaque": (encoded(IMAGE, mediaType="a/b", manifests=[CHILD]), None),
    "an image that says it is an index": (encoded(IMAGE, mediaType=TYPES.IMAGE_INDEX), None),
    "an index that says it is an image": (encoded(INDEX, mediaType=TYPES.IMAGE_MANIFEST), None),
    "unnamed image, announced as an index": (encoded(IMAGE, mediaType="absent"), TYPES.IMAGE_INDEX),
    "doubled key": (encoded(IMAGE)[:-1] + b', "layers": []}', None),
    "doubled media type": (encoded(IMAGE)[:-1] + b', "mediaType": "a/b"}', None),
    "doubled key within": (encoded(IMAGE).replace(b'"size": 3', b'"size": 3, "size": 4'), None),
    "Go's Manifests": (encoded(IMAGE, Manifests=[CHILD]), None),
    "Go's LAYERS": (encoded(INDEX, LAYERS=[LAYER]), None),
    "Go's mediatype": (encoded(IMAGE, mediatype=TYPES.IMAGE_INDEX), None),
    "Go's manifests with a long s": (encoded(IMAGE | {"manife\u017ft\u017f": [CHILD]}), None),
    "Go's SchemaVersion": (encoded(IMAGE, SchemaVersion=1), None),
}


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_what_can_be_read_in_two_ways_is_refused(name: str) -> None:
    """CVE-2021-41190: two clients verify one digest and run different things."""
    raw, announced = AMBIGUOUS[name]

    with pytest.raises(oci.InvalidManifest):
        oci.Manifest.parse(raw, announced)


@pytest.mark.parametrize(
    "document",
    [
        IMAGE | {"layers": [LAYER | {"Digest": CHILD["digest"]}]},
        IMAGE | {"config": CONFIG | {"\u017fize": 3}},
        IMAGE | {"Subject": CHILD},
        INDEX | {"manifests": [CHILD | {"Platform": {"os": "linux", "architecture": "arm"}}]},
        INDEX | {"manifests": [CHILD | {"platform": {"os": "linux", "OS.Version": "1"}}]},
    ],
)
def test_fields_within_that_go_reads_otherwise(document: Any) -> None:
    """Go takes a field in any case for the right one: what is in it would be other content to others."""
    manifest = oci.Manifest.parse(encoded(document))

    with pytest.raises(oci.InvalidManifest, match="ambiguous"):
        _ = manifest.content


def test_keys_of_annotations_are_free() -> None:
    """They are no fields, and may differ in nothing but case."""
    notes = {"Digest": "a", "digest": "b"}

    content = oci.Manifest.parse(encoded(INDEX, annotations=notes)).content

    assert isinstance(content, oci.ImageIndex)
    assert content.annotations == notes


def test_our_own_names_are_no_fields_of_a_manifest() -> None:
    """`artifact_type` is how we call it: nobody else would read it."""
    layer = LAYER | {"media_type": "a/b", "artifact_type": "a/b"}

    content = oci.Manifest.parse(encoded(IMAGE, artifact_type="a/b", layers=[layer])).content

    assert isinstance(content, oci.ImageManifest)
    assert (content.artifact_type, content.layers[0].artifact_type) == (None, None)
    assert content.layers[0].media_type == LAYER["mediaType"]
    with pytest.raises(oci.InvalidManifest):
        _ = oci.Manifest.parse(encoded(IMAGE, config={"media_type": "a/b", "digest": "x", "size": 1})).content


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"<html>",
        b"[]",
        b"null",
        b"7",
        b'"text"',
        b"{}",
        b'{"schemaVersion": 2}',
        b'{"mediaType": 7}',
        b'{"mediaType": ["a/b"]}',
        b'{"mediaType": "a b", "layers": []}',
        b'{"mediaType": "a/b\\r\\nX: y", "layers": []}',
        b"\xff\xfe",
        json.dumps(IMAGE).encode("utf-16"),
        b"\xef\xbb\xbf" + encoded(IMAGE),
        encoded(IMAGE) + b"{}",
        encoded(IMAGE) + b"\x00",
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"layers": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"layers": ' + b"9" * 10_000 + b"}",
    ],
    ids=range(22),
)
def test_what_is_no_manifest_is_refused(raw: bytes) -> None:
    """With one type of exception, however deep or odd."""
    with pytest.raises(oci.InvalidManifest):
        oci.Manifest.parse(raw).children  # noqa: B018 - what it needs is looked at


@pytest.mark.parametrize(
    "changes",
    [
        {"config": "absent"},
        {"config": CONFIG | {"size": -1}},
        {"config": CONFIG | {"size": "2"}},
        {"config": CONFIG | {"size": True}},
        {"config": CONFIG | {"digest": "sha256:../../x"}},
        {"layers": {}},
        {"layers": [LAYER, None]},
        {"layers": [LAYER | {"digest": "SHA256:" + "a" * 64}]},
        {"schemaVersion": 1},
        {"subject": {"digest": "x"}},
    ],
)
def test_a_malformed_manifest_is_taken_in_and_not_interpreted(changes: dict[str, Any]) -> None:
    """Its bytes can be looked at; what it needs cannot be told, and the reason says where."""
    manifest = oci.Manifest.parse(encoded(IMAGE, **changes), TYPES.IMAGE_MANIFEST)

    with pytest.raises(oci.InvalidManifest, match=next(iter(changes))):
        manifest.children  # noqa: B018 - a property that may raise


def test_a_huge_size_costs_nothing() -> None:
    """It is a number until somebody reads the blob."""
    manifest = oci.Manifest.parse(encoded(IMAGE, layers=[LAYER | {"size": 2**62}]))

    assert manifest.children[1].size == 2**62


def test_what_cannot_be_interpreted_has_no_children() -> None:
    """And is carried all the same."""
    manifest = oci.Manifest.parse(b'{"schemaVersion": 1, "signatures": [], "x": 1}')

    assert isinstance(manifest.content, oci.OpaqueManifest)
    assert (manifest.children, manifest.subject) == ((), None)


def test_a_subject_is_seen() -> None:
    """Of images and of indexes; it is no child."""
    for document in (IMAGE, INDEX):
        manifest = oci.Manifest.parse(encoded(document, subject=LAYER | {"size": 9}, artifactType="a/b"))
        assert manifest.subject is not None
        assert manifest.subject.size == 9
        assert manifest.subject not in manifest.children


def test_verification_by_a_descriptor() -> None:
    """Digest and length must be those; the media type is not what makes content."""
    manifest = oci.Manifest.parse(encoded(IMAGE))
    right = manifest.descriptor

    assert manifest.verify(right) is manifest
    with pytest.raises(oci.SizeMismatch):
        manifest.verify(right.model_copy(update={"size": right.size + 1}))
    with pytest.raises(oci.DigestMismatch):
        manifest.verify(right.model_copy(update={"digest": oci.Digest.of(b"other")}))


def test_bytes_and_descriptor_that_do_not_belong_together() -> None:
    """One of them can be replaced, and the other is checked against it."""
    manifest = oci.Manifest.parse(encoded(IMAGE))
    right = manifest.descriptor

    manifest.check()
    with pytest.raises(oci.DigestMismatch):
        replace(manifest, raw=manifest.raw + b" ").check()
    with pytest.raises(oci.SizeMismatch):
        replace(manifest, descriptor=right.model_copy(update={"size": right.size + 1})).check()


def test_a_new_manifest_is_written_as_the_specification_wants() -> None:
    """Required fields always, optional ones when they say something."""
    config = oci.Descriptor.model_validate(CONFIG)

    image = oci.Manifest.of(oci.ImageManifest(config=config))
    index = oci.Manifest.of(oci.ImageIndex(annotations={"a": "ü"}, subject=config))

    assert json.loads(image.raw) == {
        "schemaVersion": 2,
        "mediaType": TYPES.IMAGE_MANIFEST,
        "config": CONFIG,
        "layers": [],
    }
    assert json.loads(index.raw) == {
        "schemaVersion": 2,
        "mediaType": TYPES.IMAGE_INDEX,
        "manifests": [],
        "annotations": {"a": "ü"},
        "subject": CONFIG,
    }
    assert oci.Manifest.parse(image.raw).content == image.content


def test_a_manifest_written_again_says_the_same() -> None:
    """Platforms, unknown fields and all; under either algorithm."""
    platform = {"os": "linux", "architecture": "arm", "os.version": "1", "os.features": ["f"], "x": 1}
    document = encoded(INDEX, manifests=[CHILD | {"platform": platform, "y": [2]}], z={"a": None})

    again = oci.Manifest.of(_index(oci.Manifest.parse(document)), algorithm="sha512")

    assert json.loads(again.raw)["manifests"] == [CHILD | {"platform": platform, "y": [2]}]
    assert again.digest == oci.Digest.of(again.raw, "sha512")


def test_dockers_twins_are_written_under_their_own_type() -> None:
    """A model of Docker's is none of OCI's."""
    config = oci.Descriptor.model_validate(CONFIG)

    assert oci.Manifest.of(oci.DockerManifest(config=config)).media_type == TYPES.DOCKER_MANIFEST
    assert oci.Manifest.of(oci.DockerManifestList()).media_type == TYPES.DOCKER_MANIFEST_LIST


def test_a_repr_is_short() -> None:
    """Four megabytes do not belong in a traceback."""
    manifest = oci.Manifest.parse(encoded(IMAGE, annotations={"a": "b" * 100_000}))

    assert len(repr(manifest)) < 1000


def _index(manifest: oci.Manifest) -> oci.ImageIndex:
    assert isinstance(manifest.content, oci.ImageIndex)
    return manifest.content
