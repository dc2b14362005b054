"""Docker's schema 1: read, and named by the digest of what was signed."""

from __future__ import annotations

import base64
import json
import tracemalloc
from typing import Any

import pytest

import oci_distribution as oci
from oci_distribution.spec.schema1 import signed_payload

LAYER = oci.Digest.of(b"layer")
PAYLOAD = json.dumps(
    {
        "schemaVersion": 1,
        "name": "library/old",
        "tag": "v1",
        "architecture": "amd64",
        "fsLayers": [{"blobSum": LAYER}],
        "history": [{"v1Compatibility": "{}"}],
    },
    indent=3,
).encode()
DIGEST = oci.Digest.of(PAYLOAD)
SIGNED = oci.MediaType.DOCKER_MANIFEST_V1_SIGNED


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def protected(**changes: Any) -> str:
    """Return what Docker's signer puts before a signature."""
    cut = PAYLOAD.rindex(b"\n}")
    header = {"formatLength": cut, "formatTail": encoded(PAYLOAD[cut:]), "time": "2016-01-01T00:00:00Z"}
    return encoded(json.dumps(header | changes).encode())


def signed(*protections: str) -> bytes:
    """Put signatures into the payload, as Docker did."""
    signatures = [{"header": {}, "signature": "x", "protected": text} for text in protections]
    cut = PAYLOAD.rindex(b"\n}")
    return PAYLOAD[:cut] + b',\n   "signatures": ' + json.dumps(signatures).encode() + b"\n}"


@pytest.mark.parametrize("announced", [SIGNED, None])
def test_signed_manifest_is_named_by_its_payload(announced: str | None) -> None:
    """Its bytes stay, with the signatures; its digest is that of what was signed."""
    raw = signed(protected())

    for digest in (DIGEST, None):
        manifest = oci.Manifest.parse(raw, announced, digest=digest)
        assert (manifest.raw, manifest.digest, manifest.media_type) == (raw, DIGEST, SIGNED)
        manifest.check()


def test_what_is_in_it() -> None:
    """Name, tag and layers can be read."""
    content = oci.Manifest.parse(signed(protected())).content

    assert isinstance(content, oci.DockerManifestV1)
    assert (content.name, content.tag, content.architecture) == ("library/old", "v1", "amd64")
    assert [layer.blob_sum for layer in content.fs_layers] == [LAYER]


def test_unsigned_manifest() -> None:
    """Without signatures it is its bytes, like any other."""
    manifest = oci.Manifest.parse(PAYLOAD)

    assert (manifest.digest, manifest.media_type) == (DIGEST, oci.MediaType.DOCKER_MANIFEST_V1)
    assert manifest.children == ()


def test_other_payload() -> None:
    """Bytes that were signed as something else are refused."""
    raw = signed(protected()).replace(b'"v1"', b'"v2"')

    with pytest.raises(oci.DigestMismatch):
        oci.Manifest.parse(raw, SIGNED, digest=DIGEST)


def test_signatures_do_not_help_other_manifests() -> None:
    """Only a schema 1 is named by what was signed: anything else is its bytes (CVE-2014-8179)."""
    index = b'{"schemaVersion": 2, "mediaType": "%s", "manifests": []}' % oci.MediaType.IMAGE_INDEX.encode()
    raw = (
        index[:-1]
        + b', "signatures": [{"protected": "%s"}]}'
        % encoded(json.dumps({"formatLength": 0, "formatTail": encoded(PAYLOAD)}).encode()).encode()
    )

    with pytest.raises(oci.DigestMismatch):
        oci.Manifest.parse(raw, digest=DIGEST)


def test_many_signatures_take_no_memory() -> None:
    """Signatures for hundreds of documents are as long as the manifest, and not hundreds of times that."""
    raw = signed(*(protected(formatLength=(1 << 20) - cut) for cut in range(100)))
    raw = raw[:-1] + b',"history": "' + b" " * (1 << 20) + b'"}'

    tracemalloc.start()
    try:
        with pytest.raises(oci.InvalidManifest, match="different documents"):
            signed_payload(raw)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "protections",
    [
        ["!"],
        [encoded(b"[]")],
        [encoded(b"{}")],
        [protected(formatLength=-1)],
        [protected(formatLength=10**9)],
        [protected(formatLength="3")],
        [protected(formatTail=7)],
        [protected(), protected(formatLength=3)],
    ],
)
def test_signatures_that_make_no_sense(protections: list[str]) -> None:
    """They are malformed or ambiguous, and never a stack trace of ours."""
    with pytest.raises(oci.InvalidManifest):
        oci.Manifest.parse(signed(*protections), SIGNED)
