"""The grammars, against what Go's implementations made of the same inputs (`tests/data/grammar`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import oci_distribution as oci

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "grammar" / "vectors.json").read_bytes())
REFERENCES: list[dict[str, Any]] = VECTORS["references"]
DIGESTS: list[dict[str, Any]] = VECTORS["digests"]

# What Go accepts and we do not, each with the reason. Nothing that Go refuses is accepted.
STRICTER = {
    "host:65536/a": "there is no such port",
    "host:99999/a": "there is no such port",
    "host:100000/a": "there is no such port",
    "host:000080/a": "a port has five digits at most",
    "[:]/a": "not an address: no URL can be made of it",
    "[:::::]/a": "not an address: no URL can be made of it",
    "[1:2:3:4:5:6:7:8:9]/a": "not an address: no URL can be made of it",
    "[12345::]/a": "not an address: no URL can be made of it",
    "ho_st.example/a": "not a host; Go answers a reference without a domain, which nothing can be done with",
    "a.b_c/d": "not a host; Go answers a reference without a domain, which nothing can be done with",
}
SHA384 = "sha384 is not in the image specification's list, and no registry stores it"

# Where both accept and we say something else: the host that answers for Docker Hub is a name for it, too.
ALIASES = {
    "registry-1.docker.io/alpine": ("docker.io", "library/alpine"),
    "registry-1.docker.io/library/alpine": ("docker.io", "library/alpine"),
}


def name_of(vector: dict[str, Any]) -> str:
    text = str(vector["input"])
    return repr(text if len(text) <= 60 else f"{text[:40]}…{text[-10:]} ({len(text)})")


def reason_to_refuse(vector: dict[str, Any]) -> str | None:
    return SHA384 if "sha384:" in vector["input"] else STRICTER.get(vector["input"])


@pytest.mark.parametrize("vector", REFERENCES, ids=name_of)
def test_references_are_read_as_docker_reads_them(vector: dict[str, Any]) -> None:
    """Host, repository, tag and digest are the same, and what Go refuses is refused."""
    text = vector["input"]
    if not vector["ok"] or reason_to_refuse(vector):
        with pytest.raises(oci.InvalidReference):
            oci.Reference.parse(text)
        return
    reference = oci.Reference.parse(text)
    name = ALIASES.get(text, (vector["domain"], vector["path"]))
    assert (reference.registry, reference.repository) == name
    assert (reference.tag, reference.digest) == (vector.get("tag"), vector.get("digest"))
    assert oci.Reference.parse(str(reference)) == reference


@pytest.mark.parametrize("vector", DIGESTS, ids=name_of)
def test_digests_are_read_as_go_reads_them(vector: dict[str, Any]) -> None:
    """Algorithm and encoded part are the same, and what Go refuses is refused."""
    text = vector["input"]
    if not vector["ok"] or reason_to_refuse(vector):
        with pytest.raises(oci.InvalidDigest):
            oci.Digest(text)
        return
    digest = oci.Digest(text)
    assert (digest.algorithm, digest.encoded) == (vector["algorithm"], vector["encoded"])


def test_the_exceptions_are_still_exceptions() -> None:
    """Each of them is a vector that Go accepts."""
    accepted = {vector["input"] for vector in REFERENCES if vector["ok"]}

    assert accepted >= {*STRICTER, *ALIASES}
    assert len(REFERENCES) > 350
    assert len(DIGESTS) > 50
