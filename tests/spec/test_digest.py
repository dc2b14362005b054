"""Digests: checked strings, and the hashing behind them."""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
from typing import Any

import pytest
from hypothesis import given, strategies as st
from pydantic import TypeAdapter, ValidationError

import oci_distribution as oci

EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_digest_is_a_string() -> None:
    """It prints, compares, hashes and serialises as one."""
    digest = oci.Digest(EMPTY)

    assert digest == EMPTY
    assert {digest: 1}[EMPTY] == 1  # type: ignore[index]
    assert f"{digest}" == str(digest) == EMPTY
    assert json.dumps([digest]) == f'["{EMPTY}"]'
    assert repr(digest) == f"Digest({EMPTY!r})"
    assert (digest.algorithm, digest.encoded) == ("sha256", EMPTY[7:])


def test_a_digest_survives_pickling_and_copying() -> None:
    """It goes to other processes as what it is."""
    digest = oci.Digest(EMPTY)

    for again in (pickle.loads(pickle.dumps(digest)), copy.copy(digest), copy.deepcopy(digest)):
        assert again == digest
        assert type(again) is oci.Digest


def test_a_digest_is_not_checked_twice() -> None:
    """Passing one on costs nothing."""
    digest = oci.Digest(EMPTY)

    assert oci.Digest(digest) is digest


@pytest.mark.parametrize(
    "text",
    [
        "sha256:../../x",
        "sha256:" + "../" * 21 + "x",
        EMPTY.upper(),
        "sha256:" + EMPTY[7:].upper(),
        "sha384:" + "a" * 96,
        "sha1:" + "a" * 40,
        "md5:" + "a" * 32,
        "sha512:" + EMPTY[7:],
        "sha512/256:" + EMPTY[7:],
        EMPTY + "\n",
        "\n" + EMPTY,
        EMPTY[:-1] + "\x00",
        "sha256:" + "\uff11" * 64,
        "sha256",
        "",
    ],
)
def test_what_is_no_digest_is_refused(text: str) -> None:
    """Paths are built from digests, so nothing else may pass for one."""
    with pytest.raises(oci.InvalidDigest) as caught:
        oci.Digest(text)

    assert isinstance(caught.value, ValueError)


def test_a_long_wrong_digest_is_not_shown_whole() -> None:
    """A message stays short whatever a server sends."""
    with pytest.raises(oci.InvalidDigest) as caught:
        oci.Digest("x" * 1_000_000)

    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@given(pieces=st.lists(st.binary(max_size=50), max_size=8))
def test_hashing_in_pieces_is_hashing_the_whole(algorithm: str, pieces: list[bytes]) -> None:
    """Whatever the pieces and whatever kind of buffer; bytes are counted."""
    whole = b"".join(pieces)
    hasher = oci.Hasher(algorithm)
    for number, piece in enumerate(pieces):
        kinds: list[bytes | bytearray | memoryview] = [piece, bytearray(piece), memoryview(piece)]
        hasher.update(kinds[number % 3])

    assert hasher.digest() == oci.Digest.of(whole, algorithm)
    assert hasher.digest() == f"{algorithm}:{hashlib.new(algorithm, whole).hexdigest()}"
    assert hasher.size == len(whole)
    assert hasher.digest().hasher().algorithm == algorithm


def test_a_view_of_larger_items_is_counted_in_bytes() -> None:
    """The length of a memoryview is in items."""
    hasher = oci.Hasher()
    hasher.update(memoryview(bytes(16)).cast("Q"))

    assert hasher.size == 16


def test_what_cannot_be_computed_cannot_be_asked_for() -> None:
    """A hasher of another algorithm is refused when it is made."""
    with pytest.raises(oci.InvalidDigest):
        oci.Hasher("md5")


def test_pydantic_checks_digests() -> None:
    """A model that holds one holds a checked one."""
    adapter = TypeAdapter(oci.Digest)

    assert type(adapter.validate_json(f'"{EMPTY}"')) is oci.Digest
    assert adapter.dump_json(oci.Digest(EMPTY)) == f'"{EMPTY}"'.encode()
    with pytest.raises(ValidationError):
        adapter.validate_python("sha256:abc")
    with pytest.raises(ValidationError):
        adapter.validate_python(7)


@pytest.mark.parametrize("value", [None, 3, b"sha256:"])
def test_what_is_no_text_is_no_digest(value: Any) -> None:
    """It is a mistake of the program, and said so."""
    with pytest.raises(TypeError, match="a digest is text"):
        oci.Digest(value)
