"""References, beyond the grammar that the Go vectors settle."""

from __future__ import annotations

import pickle
import time

import pytest
from hypothesis import given, strategies as st

import oci_distribution as oci
from oci_distribution.spec.reference import check_registry, check_repository, check_tag, split_scheme

DIGEST = "sha256:" + "a" * 64


def test_all_parts_of_a_reference() -> None:
    """Tag and digest stand together; the digest decides."""
    reference = oci.Reference.parse(f"[2001:db8::1]:5000/a/b:v1@{DIGEST}")

    assert reference.registry == "[2001:db8::1]:5000"
    assert reference.repository == "a/b"
    assert reference.tag == "v1"
    assert reference.digest == DIGEST
    assert type(reference.digest) is oci.Digest
    assert reference.name == "[2001:db8::1]:5000/a/b"
    assert reference.reference == DIGEST
    assert str(reference) == f"[2001:db8::1]:5000/a/b:v1@{DIGEST}"


def test_no_tag_is_invented() -> None:
    """Who wants `latest` says so."""
    reference = oci.Reference.parse("alpine")

    assert str(reference) == "docker.io/library/alpine"
    assert reference.reference is None
    assert oci.Reference.parse("alpine:3").reference == "3"


def test_a_reference_can_be_moved() -> None:
    """To another tag, or pinned to a digest, which leaves the tag as a remark."""
    reference = oci.Reference.parse("ghcr.io/org/app:v1")

    assert str(reference.with_digest(DIGEST)) == f"ghcr.io/org/app:v1@{DIGEST}"
    assert str(reference.with_digest(DIGEST).with_tag("v2")) == "ghcr.io/org/app:v2"
    with pytest.raises(oci.InvalidReference):
        reference.with_tag("a b")
    with pytest.raises(oci.InvalidReference):
        reference.with_digest("sha256:abc")


def test_references_compare_hash_and_pickle() -> None:
    """They are values; spelled differently they are the same."""
    one, other = oci.Reference.parse("alpine"), oci.Reference.parse("index.docker.io/library/alpine")

    assert one == other
    assert len({one, other}) == 1
    assert pickle.loads(pickle.dumps(one)) == one


@pytest.mark.parametrize(
    "parts",
    [
        ("ghcr.io", "Org/app"),
        ("ghcr.io", ""),
        ("ghcr.io", "a/../b"),
        ("ghcr.io/x", "a"),
        ("http://ghcr.io", "a"),
        ("", "a"),
        ("ghcr.io", "a", ""),
        ("ghcr.io", "a", "v1:"),
        ("ghcr.io", "a", "v1", "sha256:abc"),
        ("ghcr.io", "a", None, "v1"),
    ],
)
def test_parts_are_checked_whoever_puts_them_together(parts: tuple[str, ...]) -> None:
    """The constructor is no way around the grammar."""
    with pytest.raises(oci.InvalidReference):
        oci.Reference(*parts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("registry/app", "registry/app"),
        ("localhost:5000/app", "localhost:5000/app"),
        ("docker.io/alpine", "docker.io/library/alpine"),
    ],
)
def test_after_a_scheme_comes_a_host(text: str, name: str) -> None:
    """`http://registry/app` is not on Docker Hub; what is on Docker Hub is found where it is."""
    assert oci.Reference.parse(text, has_host=True).name == name


@pytest.mark.parametrize("text", ["registry", "registry:5000", "registry/", f"registry@{DIGEST}", ""])
def test_a_host_alone_is_no_reference(text: str) -> None:
    """There is a repository to name."""
    with pytest.raises(oci.InvalidReference):
        oci.Reference.parse(text, has_host=True)


def test_schemes() -> None:
    """Two of them; without one there is none."""
    assert split_scheme("https://a/b") == ("https", "a/b")
    assert split_scheme("http://a/b") == ("http", "a/b")
    assert split_scheme("a/b:c") == (None, "a/b:c")
    for text in ("ftp://a", "docker://a", "HTTP://a", "://a"):
        with pytest.raises(oci.InvalidReference):
            split_scheme(text)


@pytest.mark.parametrize(
    "text",
    [
        "user:s3cret@ghcr.io/org/app",
        "user:s3cret@ghcr.io/org/app:v1",
        f"user:s3cret@ghcr.io/org/app@{DIGEST}",
        "s3cret@ghcr.io/app",
        "https://user:s3cret@ghcr.io/app",
    ],
)
def test_a_password_is_not_shown(text: str) -> None:
    """Somebody writes one before the host, and the error goes into a log."""
    with pytest.raises(oci.InvalidReference) as caught:
        oci.Reference.parse(text)
    assert "s3cret" not in str(caught.value)

    with pytest.raises(oci.InvalidReference) as caught:
        check_registry("user:s3cret@ghcr.io")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "host", ["ghcr.io", "localhost", "localhost:5000", "[::1]", "[::1]:5000", "127.0.0.1:80", "GHCR.io"]
)
def test_registries(host: str) -> None:
    """A host with an optional port is a registry."""
    assert check_registry(host) == host


@pytest.mark.parametrize("host", ["docker.io", "index.docker.io", "registry-1.docker.io"])
def test_docker_hub_has_one_name(host: str) -> None:
    """Credentials and scopes are under it."""
    assert check_registry(host) == "docker.io"


@pytest.mark.parametrize(
    "host",
    [
        "",
        "a/b",
        "a b",
        "a\n",
        "::1",
        "[::1",
        "a:",
        "a:x",
        "a:65536",
        "a:" + "9" * 5000,
        "-a",
        "a..b",
        "http://a",
        "a@b",
        "bücher.example",
        "[fe80::1%eth0]",
    ],
)
def test_what_is_no_registry(host: str) -> None:
    """A clear error, even for a number that Python would not convert."""
    with pytest.raises(oci.InvalidReference) as caught:
        check_registry(host)
    assert len(str(caught.value)) < 400


def test_a_capital_letter_is_pointed_out() -> None:
    """It is what people get wrong."""
    with pytest.raises(oci.InvalidReference, match="lower-case"):
        check_repository("Org/App")


def test_limits_of_names_and_tags() -> None:
    """255 characters of a repository, 128 of a tag."""
    assert check_repository("a" * 255)
    assert check_tag("a" * 128)
    with pytest.raises(oci.InvalidReference, match="255"):
        check_repository("a" * 256)
    with pytest.raises(oci.InvalidReference):
        check_tag("a" * 129)


@pytest.mark.parametrize(
    "text", ["a" * 200_000, "a." * 100_000, "a-" * 100_000, "a/" * 100_000, "a:" * 100_000, "_" * 200_000]
)
def test_long_nonsense_is_refused_quickly(text: str) -> None:
    """No pattern of ours runs wild, and no message is as long as its cause."""
    start = time.perf_counter()
    for parse in (oci.Reference.parse, check_registry, check_repository, check_tag):
        with pytest.raises(oci.InvalidReference) as caught:
            parse(text + "!")
        assert len(str(caught.value)) < 1000

    assert time.perf_counter() - start < 5


ALNUM, WORD = "abcxyz0189", "aAzZ09_"
SEPARATOR = st.sampled_from([".", "_", "__", "-", "---"])
COMPONENT = st.builds(
    lambda first, rest: first + "".join(separator + part for separator, part in rest),
    st.text(ALNUM, min_size=1, max_size=9),
    st.lists(st.tuples(SEPARATOR, st.text(ALNUM, min_size=1, max_size=9)), max_size=3),
)
TAG = st.builds("{}{}".format, st.sampled_from(WORD), st.text(WORD + ".-", max_size=127))


@given(
    host=st.sampled_from(["ghcr.io", "localhost:5000", "[::1]:80", "a.b-c:1"]),
    path=st.lists(COMPONENT, min_size=1, max_size=4).map("/".join),
    tag=st.none() | TAG,
    digest=st.none() | st.just(oci.Digest(DIGEST)),
)
def test_printing_and_parsing_are_inverse(
    host: str, path: str, tag: str | None, digest: oci.Digest | None
) -> None:
    """What was put together comes apart the same."""
    reference = oci.Reference(host, path, tag, digest)

    assert oci.Reference.parse(str(reference)) == reference


@given(st.text(max_size=80))
def test_any_text_is_a_reference_or_an_error_of_ours(text: str) -> None:
    """Nothing else comes out, whatever goes in."""
    try:
        reference = oci.Reference.parse(text)
    except oci.InvalidReference:
        return
    assert oci.Reference.parse(str(reference)) == reference
