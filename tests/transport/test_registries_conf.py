"""What podman's `registries.conf` says of hosts."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

import oci_distribution as oci
from oci_distribution.testing import serve_registry

EXAMPLE = """
unqualified-search-registries = ["registry.example", "docker.io"]
short-name-mode = "enforcing"
credential-helpers = ["containers-auth.json"]

[aliases]
"alpine" = "docker.io/library/alpine"

[[registry]]
prefix = "docker.io"
location = "docker.io"

[[registry.mirror]]
location = "mirror.lan:5000/docker-hub"

[[registry.mirror]]
location = "other.lan"
pull-from-mirror = "digest-only"
insecure = true

[[registry]]
prefix = "*.lan"
mirror-by-digest-only = true
[[registry.mirror]]
location = "backup.example"

[[registry]]
location = "registry.lan:5000"
insecure = true
"""


def test_what_is_supported() -> None:
    """Names, patterns, mirrors with prefixes, who is trusted with tags, what is insecure."""
    hosts = oci.hosts_from_registries_conf(text=EXAMPLE, insecure="http")

    assert hosts == {
        "docker.io": oci.HostConfig(
            mirrors=(
                oci.Mirror(registry="mirror.lan:5000", prefix="docker-hub", tags=True, scheme="https"),
                oci.Mirror(registry="other.lan", scheme="http"),
            )
        ),
        "*.lan": oci.HostConfig(mirrors=(oci.Mirror(registry="backup.example", scheme="https"),)),
        "registry.lan:5000": oci.HostConfig(scheme="http"),
        "mirror.lan:5000": oci.HostConfig(),
        "other.lan": oci.HostConfig(),
        "backup.example": oci.HostConfig(),
    }


def test_insecure_as_https_that_is_not_checked() -> None:
    """Of a mirror, too, which is a host of its own then."""
    hosts = oci.hosts_from_registries_conf(text=EXAMPLE, insecure="skip-verify")

    assert hosts["registry.lan:5000"] == oci.HostConfig(skip_verify=True)
    assert hosts["other.lan"] == oci.HostConfig(skip_verify=True)
    assert hosts["docker.io"].mirrors[1].scheme == "https"
    assert not hosts["mirror.lan:5000"].skip_verify


async def test_a_client_takes_it() -> None:
    """End to end: the mirror is asked before the registry."""
    async with serve_registry() as mirror, serve_registry() as home:
        text = f"""
            [[registry]]
            location = "{home.host}"
            insecure = true
            [[registry.mirror]]
            location = "{mirror.host}/cache"
            insecure = true
        """
        async with oci.Client(hosts=oci.hosts_from_registries_conf(text=text, insecure="http")) as client:
            blob = await client.repository(f"{mirror.host}/cache/app").blobs.push(b"data")
            mirror.requests.clear()
            assert await client.repository(f"{home.host}/app").blobs.read(blob) == b"data"
        assert [request.path for request in mirror.requests] == [f"/v2/cache/app/blobs/{blob.digest}"]
        assert not home.requests


def test_files_that_are_added(tmp_path: Path) -> None:
    """`registries.conf.d/*.conf`, in order; one replaces what was said of a prefix before."""
    path = tmp_path / "registries.conf"
    path.write_text(EXAMPLE)
    added = tmp_path / "registries.conf.d"
    added.mkdir()
    (added / "10-lan.conf").write_text('[[registry]]\nlocation = "registry.lan:5000"\ninsecure = true\n')
    (added / "20-lan.conf").write_text('[[registry]]\nlocation = "registry.lan:5000"\n')
    (added / "README").write_text("no TOML")

    hosts = oci.hosts_from_registries_conf(path, insecure="http")

    assert hosts["registry.lan:5000"] == oci.HostConfig()
    assert hosts["docker.io"].mirrors


BROKEN = {
    "no TOML": ("[[registry", "no TOML"),
    "version 1": ('[registries.search]\nregistries = ["a"]', "version 1"),
    "unknown at the top": ("unqualified = 1", "unqualified"),
    "unknown of a registry": ('[[registry]]\nlocation = "a.example"\nmirrors = []', r"registry\.0\.mirrors"),
    "no name": ("[[registry]]\ninsecure = true", "neither prefix nor location"),
    "another type": ('[[registry]]\nlocation = ["a"]', r"registry\.0\.location"),
    "blocked": ('[[registry]]\nlocation = "a.example"\nblocked = true', "a.example: blocked"),
    "a namespace": ('[[registry]]\nprefix = "a.example/team"', "a.example/team: prefix"),
    "no host": ('[[registry]]\nlocation = "a_b"', "a_b: prefix"),
    "elsewhere": ('[[registry]]\nprefix = "a.example"\nlocation = "b.example"', "a.example: location"),
    "insecure": ('[[registry]]\nlocation = "a.example"\ninsecure = true', "a.example: insecure.*insecure="),
    "tags only": (
        """[[registry]]\nlocation = "a.example"\n
        [[registry.mirror]]\nlocation = "b.example"\npull-from-mirror = "tag-only" """,
        "b.example: pull-from-mirror",
    ),
    "two names of one registry": (
        '[[registry]]\nlocation = "docker.io"\n[[registry]]\nlocation = "index.docker.io"',
        r"index\.docker\.io: another entry is about docker\.io",
    ),
    "a broken mirror": (
        '[[registry]]\nlocation = "a.example"\n[[registry.mirror]]\nlocation = "https://b.example"',
        "https://b.example: a location has no scheme",
    ),
}


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, "a = " + "1" * 10_000], ids=["deep", "long"])
def test_hostile_toml(text: str) -> None:
    """What is too much for the parser is an error like others."""
    with pytest.raises(oci.ConfigError, match="no TOML"):
        oci.hosts_from_registries_conf(text=text)


@given(st.text())
def test_any_text(text: str) -> None:
    """Whatever it is, there are hosts, or an error of ours."""
    with suppress(oci.ConfigError):
        assert isinstance(oci.hosts_from_registries_conf(text=text), dict)


@pytest.mark.parametrize(("text", "reason"), BROKEN.values(), ids=BROKEN)
def test_what_is_not_supported(tmp_path: Path, text: str, reason: str) -> None:
    """Nothing that would change the meaning is passed over: the error names file and key."""
    path = tmp_path / "registries.conf"
    path.write_text(text)

    with pytest.raises(oci.ConfigError, match=reason) as caught:
        oci.hosts_from_registries_conf(path)

    assert str(path) in str(caught.value)


@pytest.mark.parametrize("first", [True, False])
def test_a_mirror_that_is_insecure_in_one_place(first: bool) -> None:
    """The settings of a host are one; which of them was meant nobody knows."""
    text = "".join(
        f'[[registry]]\nlocation = "{name}.example"\n[[registry.mirror]]\nlocation = "mirror.lan"\n'
        f"insecure = {'true' if insecure else 'false'}\n"
        for name, insecure in (("a", first), ("b", not first))
    )
    with pytest.raises(oci.ConfigError, match=r"mirror\.lan.*in one place and not in another"):
        oci.hosts_from_registries_conf(text=text, insecure="skip-verify")


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"#" * ((1 << 20) + 1)])
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    """Missing, no text, huge."""
    path = tmp_path / "registries.conf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(oci.ConfigError, match=r"registries\.conf"):
        oci.hosts_from_registries_conf(path)


@pytest.mark.parametrize("arguments", [{}, {"path": "x", "text": ""}])
def test_a_path_or_a_text(arguments: dict[str, Any]) -> None:
    """One of the two."""
    with pytest.raises(oci.InvalidArgument):
        oci.hosts_from_registries_conf(**arguments)


@pytest.mark.parametrize(
    "text",
    [
        '[[registry]]\nlocation = "ann:s3cr3t@r.example"',
        '[[registry]]\nlocation = "r.example"\n[[registry.mirror]]\nlocation = "ann:s3cr3t@m.example"',
        '[[registry]]\nlocation = "r.example"\n[[registry.mirror]]\nlocation = "https://ann:s3cr3t@m.example"',
    ],
)
def test_a_password_that_is_no_part_of_a_location_is_not_shown(text: str) -> None:
    """Who writes a URL there may write all of one."""
    with pytest.raises(oci.ConfigError, match=r"\[\[registry") as caught:
        oci.hosts_from_registries_conf(text=text)
    assert "s3cr3t" not in str(caught.value)
