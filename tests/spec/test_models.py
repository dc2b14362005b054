"""Models: a tolerant, frozen view of documents, strict about what is dangerous."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from pydantic import ValidationError

import oci_distribution as oci
from oci_distribution.spec.models import ErrorBody, RepositoryList, TagList

DIGEST = "sha256:" + "a" * 64
PLAIN = {"mediaType": "a/b", "digest": DIGEST, "size": 3}


def descriptor(**fields: Any) -> oci.Descriptor:
    return oci.Descriptor.model_validate_json(json.dumps(PLAIN | fields))


def test_a_descriptor_with_everything() -> None:
    """Every field of the specification has a name here, and unknown ones are kept."""
    document = PLAIN | {
        "urls": ["https://host.example/x"],
        "annotations": {"a": "b"},
        "data": "YWJj",
        "artifactType": "c/d",
        "platform": {
            "os": "linux",
            "architecture": "arm64",
            "variant": "v8",
            "os.version": "1",
            "os.features": ["x"],
        },
        "x-unknown": [1],
    }

    parsed = descriptor(**document)

    assert parsed.inline_data == b"abc"
    assert parsed.artifact_type == "c/d"
    assert parsed.platform is not None
    assert (parsed.platform.os_version, parsed.platform.os_features) == ("1", ("x",))
    assert str(parsed.platform) == "linux/arm64/v8"
    assert parsed.dump() == document
    assert parsed.bare().dump() == PLAIN


@pytest.mark.parametrize("size", [0, 1, 2**53 + 1, 2**62, 2**63 - 1])
def test_sizes_are_numbers_of_the_specification(size: int) -> None:
    """Up to int64, exactly; a large one costs nothing until it is read."""
    assert descriptor(size=size).size == size


@pytest.mark.parametrize("size", [-1, 2**63, 10**400, "3", True, None, 3.0, 3.5, [], {}])
def test_what_is_no_size(size: Any) -> None:
    """Nothing is converted: what one reader takes for 3 another takes for something else."""
    with pytest.raises(ValidationError):
        descriptor(size=size)


@pytest.mark.parametrize(
    "fields",
    [
        {"digest": "sha256:../../x"},
        {"digest": DIGEST.upper()},
        {"digest": "sha256:" + "A" * 64},
        {"digest": "sha384:" + "a" * 96},
        {"digest": None},
        {"mediaType": ""},
        {"mediaType": "a b"},
        {"mediaType": "a/b; charset=utf-8"},
        {"mediaType": None},
        {"urls": "https://host.example"},
        {"annotations": {"a": 1}},
        {"annotations": ["a"]},
        {"platform": "linux"},
    ],
)
def test_what_is_no_descriptor(fields: dict[str, Any]) -> None:
    """Wrong digests, media types and types of fields are found when it is read."""
    with pytest.raises(ValidationError):
        descriptor(**fields)


def test_nulls_of_the_wild_are_nothing() -> None:
    """Registries store null for what is empty."""
    parsed = descriptor(urls=None, annotations=None, platform=None, data=None)
    manifest = oci.ImageManifest.model_validate_json(
        json.dumps(
            {"schemaVersion": 2, "config": PLAIN, "layers": None, "annotations": {"a": None, "b": "c"}}
        )
    )

    assert (parsed.urls, parsed.annotations) == ((), {})
    assert manifest.layers == ()
    assert manifest.annotations == {"b": "c"}
    assert oci.ImageIndex.model_validate_json('{"schemaVersion": 2, "manifests": null}').manifests == ()


def test_a_platform_may_be_empty() -> None:
    """Some indexes have an empty object there; the others of its entries can be used all the same."""
    parsed = descriptor(platform={})

    assert parsed.platform == oci.Platform()
    assert str(parsed.platform) == ""


@pytest.mark.parametrize("data", ["%%%", "YWJ", "YW Jj", "é"])
def test_data_that_is_not_base64_is_none(data: str) -> None:
    """The content is fetched then, as if it were not there."""
    assert descriptor(data=data).inline_data is None


def test_inline_data_is_what_it_says() -> None:
    """Base64 with padding, as the specification has it."""
    assert descriptor(data=base64.b64encode(b"\xff\xfe").decode()).inline_data == b"\xff\xfe"
    assert descriptor(data="").inline_data == b""
    assert descriptor().inline_data is None


def test_models_do_not_change() -> None:
    """A descriptor that was checked stays what it was."""
    with pytest.raises(ValidationError):
        descriptor().size = 4


def test_models_are_made_with_python_names() -> None:
    """And printed with those of the specification."""
    made = oci.Descriptor(media_type="a/b", digest=oci.Digest(DIGEST), size=3, artifact_type="c/d")

    assert made.dump() == PLAIN | {"artifactType": "c/d"}
    assert type(made.digest) is oci.Digest


@pytest.mark.parametrize("version", [1, 3, "2", True, None])
def test_only_schema_version_2_is_interpreted(version: Any) -> None:
    """The old one has other fields."""
    with pytest.raises(ValidationError):
        oci.ImageIndex.model_validate_json(json.dumps({"schemaVersion": version, "manifests": []}))


def test_children_in_the_order_they_are_needed() -> None:
    """The config, then the layers; of an index its manifests."""
    config, layer = descriptor(size=1), descriptor(size=2)

    assert oci.ImageManifest(config=config, layers=(layer, config)).children == (config, layer, config)
    assert oci.ImageIndex(manifests=(config, layer)).children == (config, layer)


@pytest.mark.parametrize(
    ("body", "entries"),
    [
        ({"errors": [{"code": "DENIED", "message": "no", "detail": {"a": 1}}]}, [("DENIED", "no")]),
        ({"errors": [{"code": "A"}, {"code": "B", "message": None}]}, [("A", None), ("B", None)]),
        ({"errors": []}, []),
        ({"errors": None}, []),
        ({"errors": [{"message": "no code"}]}, [("UNKNOWN", "no code")]),
        ({"errors": [{"code": 404, "message": {"text": "odd"}}]}, [("404", '{"text": "odd"}')]),
        ({"code": "DENIED", "message": "alone"}, [("DENIED", "alone")]),
        ({"error": "invalid_grant", "error_description": "expired"}, [("INVALID_GRANT", "expired")]),
        ({"error": "text"}, [("TEXT", None)]),
        ({}, []),
        ({"details": "of a proxy"}, []),
    ],
)
def test_error_bodies(body: Any, entries: list[tuple[str, str | None]]) -> None:
    """The specified one, and what token servers and proxies send instead."""
    parsed = ErrorBody.model_validate_json(json.dumps(body))

    assert [(entry.code, entry.message) for entry in parsed.errors] == entries


@pytest.mark.parametrize("body", ["", "<html>", "[]", '"text"', "null", '{"errors": "text"}', "[" * 10_000])
def test_what_is_no_error_body(body: str) -> None:
    """One type of exception, whatever a server sends."""
    with pytest.raises(ValidationError):
        ErrorBody.model_validate_json(body)


def test_pages_of_listings() -> None:
    """Null is an empty page."""
    assert TagList.model_validate_json('{"name": "a", "tags": ["b", "c"]}').tags == ("b", "c")
    assert TagList.model_validate_json('{"name": null, "tags": null}').tags == ()
    assert TagList.model_validate_json("{}").tags == ()
    assert RepositoryList.model_validate_json('{"repositories": ["a/b"]}').repositories == ("a/b",)
    with pytest.raises(ValidationError):
        TagList.model_validate_json('{"tags": [1]}')


def test_tags_that_are_none() -> None:
    """Nexus lists null and Artifactory digests among the tags: they are passed over."""
    page = TagList.model_validate_json(f'{{"name": "a", "tags": [null, "", "b", "{DIGEST}", "c"]}}')
    assert page.tags == ("b", "c")
