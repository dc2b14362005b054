"""What containerd's `certs.d/<host>/hosts.toml` says of hosts."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

import oci_distribution as oci
from oci_distribution.testing import serve_registry
from tests.certificates import Pki


def write(root: Path, name: str, text: str) -> Path:
    """Write a host's file, and return where."""
    path = root / name / "hosts.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


DOCKER_HUB = """
server = "https://registry-1.docker.io"

[host."https://mirror.lan:5000"]
  capabilities = ["pull", "resolve"]
  ca = "mirror.crt"
  client = [["client.cert", "client.key"]]
  [host."https://mirror.lan:5000".header]
    x-team = ["a", "b"]
    x-key = "s3cr3t"

[host."http://cache.lan"]
  capabilities = ["pull"]

[host."https://registry-1.docker.io"]
  capabilities = ["pull", "resolve"]
"""


def test_what_is_supported(tmp_path: Path) -> None:
    """Servers, mirrors in their order, who is trusted with tags, TLS and headers; paths are the file's."""
    write(tmp_path, "docker.io", DOCKER_HUB)
    write(tmp_path, "registry.lan:5000", 'server = "http://10.0.0.5:5000/v2/"\n')
    write(tmp_path, "windows.lan_5000_", 'ca = ["/etc/ssl/a.pem", "b.pem"]\nclient = "both.pem"')
    write(tmp_path, "_default", "skip_verify = true")
    (tmp_path / "a file").write_text("is no directory of a host")

    hosts = oci.hosts_from_containerd(tmp_path)

    folder = tmp_path / "docker.io"
    assert hosts == {
        "docker.io": oci.HostConfig(
            scheme="https",
            mirrors=(
                oci.Mirror(registry="mirror.lan:5000", scheme="https", tags=True),
                oci.Mirror(registry="cache.lan", scheme="http"),
            ),
        ),
        "registry.lan:5000": oci.HostConfig(scheme="http", endpoint="10.0.0.5:5000"),
        "windows.lan:5000": oci.HostConfig(
            ca_file=(Path("/etc/ssl/a.pem"), tmp_path / "windows.lan_5000_" / "b.pem"),
            client_cert=tmp_path / "windows.lan_5000_" / "both.pem",
        ),
        "*": oci.HostConfig(skip_verify=True),
        "mirror.lan:5000": oci.HostConfig(
            ca_file=(folder / "mirror.crt",),
            client_cert=folder / "client.cert",
            client_key=folder / "client.key",
            headers={"x-team": "a, b", "x-key": "s3cr3t"},
        ),
        "cache.lan": oci.HostConfig(),
    }


async def test_a_client_takes_it(tmp_path: Path) -> None:
    """End to end: a mirror with an authority and a client certificate is asked before the registry."""
    pki = Pki(tmp_path)
    certificate, key = pki.client()
    async with (
        serve_registry(ssl=pki.server(clients=ssl.CERT_REQUIRED)) as mirror,
        serve_registry() as home,
    ):
        text = f"""
            server = "{home.url}"
            [host."{mirror.url}"]
            ca = "{pki.ca}"
            client = [["{certificate}", "{key}"]]
        """
        write(tmp_path / "certs.d", home.host, text)
        async with oci.Client(hosts=oci.hosts_from_containerd(tmp_path / "certs.d")) as client:
            blob = await client.repository(f"{mirror.url}/app").blobs.push(b"data")
            mirror.requests.clear()
            assert await client.repository(f"{home.host}/app").blobs.read(blob) == b"data"
        assert len(mirror.requests) == 1
        assert not home.requests


async def test_certificates_alone(tmp_path: Path) -> None:
    """containerd takes docker's layout where there is no `hosts.toml`."""
    pki = Pki(tmp_path)
    async with serve_registry(ssl=pki.server()) as registry:
        folder = tmp_path / "certs.d" / registry.host
        folder.mkdir(parents=True)
        pki.ca.rename(folder / "ca.crt")
        async with oci.Client(hosts=oci.hosts_from_containerd(tmp_path / "certs.d")) as client:
            await client.registry(registry.url).ping()


BROKEN = {
    "no TOML": ("[host", "no TOML"),
    "unknown": ("dial_timeout = '1s'", "dial_timeout"),
    "unknown of a host": ('[host."https://a.example"]\nprio = 1', r"host.https://a\.example.prio"),
    "capability": ('[host."https://a.example"]\ncapabilities = ["delete"]', "capabilities"),
    "scheme": ('server = "ftp://a.example"', "server.*scheme"),
    "no host": ('server = "https://a_b"', "server.*a_b"),
    "path": ('server = "https://a.example/registry"', "server: a path"),
    "override": ('server = "https://a.example/x"\noverride_path = true', "server: override_path"),
    "override of a host": (
        '[host."https://a.example/v1/x"]\noverride_path = true',
        r'\[host."https://a.example/v1/x"\]: override_path',
    ),
    "push": ('[host."https://a.example"]\ncapabilities = ["pull", "push"]', "capabilities.*pushed"),
    "resolve only": ('[host."https://a.example"]\ncapabilities = ["resolve"]', "capabilities.*content"),
    "server that is not asked": ('capabilities = ["push"]', "capabilities"),
    "certificates": ('client = ["a.pem", "b.pem"]', "client"),
    "no file": ('client = ""', "client"),
    "a key without a certificate": ('client = [["", "b.key"]]', "client"),
    "three files": ('client = [["a", "b", "c"]]', "client"),
    "authorization": ('[header]\nauthorization = "s3cr3t"', "authorization is not for you.*auth_provider"),
    "header": ('[header]\n"x\\n" = "s3cr3t"', "no name of a header"),
}


@pytest.mark.parametrize(("text", "reason"), BROKEN.values(), ids=BROKEN)
def test_what_is_not_supported(tmp_path: Path, text: str, reason: str) -> None:
    """Nothing that would change the meaning is passed over: the error names file and key, and no secret."""
    path = write(tmp_path, "registry.lan", text)

    with pytest.raises(oci.ConfigError, match=reason) as caught:
        oci.hosts_from_containerd(tmp_path)

    assert str(path) in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("text", ['server = "https://a.example"', '[host."https://a.example"]'])
def test_one_server_for_all_hosts(tmp_path: Path, text: str) -> None:
    """It could not know which registry is meant."""
    write(tmp_path, "_default", text)
    with pytest.raises(oci.ConfigError, match=r"\?ns="):
        oci.hosts_from_containerd(tmp_path)


def test_files_that_say_different_things(tmp_path: Path) -> None:
    """The settings of a host are one; which of them was meant nobody knows."""
    write(tmp_path, "a.example", '[host."https://mirror.lan"]\nca = "a.pem"')
    write(tmp_path, "b.example", '[host."https://mirror.lan"]\nca = "b.pem"')
    with pytest.raises(oci.ConfigError, match="say something else"):
        oci.hosts_from_containerd(tmp_path)

    write(tmp_path, "b.example", "")
    write(tmp_path, "mirror.lan", "skip_verify = true")
    with pytest.raises(oci.ConfigError, match="says something else"):
        oci.hosts_from_containerd(tmp_path)


def test_two_directories_of_one_host(tmp_path: Path) -> None:
    """Docker Hub has several names."""
    write(tmp_path, "docker.io", "")
    write(tmp_path, "registry-1.docker.io", "")
    with pytest.raises(oci.ConfigError, match=r"docker\.io"):
        oci.hosts_from_containerd(tmp_path)


@pytest.mark.parametrize("name", ["a b", "a_b", "https:"])
def test_a_directory_of_no_host(tmp_path: Path, name: str) -> None:
    """Its name is in the error."""
    write(tmp_path, name, "")
    with pytest.raises(oci.ConfigError, match=name):
        oci.hosts_from_containerd(tmp_path)


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    """It is an error that names it."""
    with pytest.raises(oci.ConfigError, match=r"missing\.d"):
        oci.hosts_from_containerd(tmp_path / "missing.d")


@pytest.mark.parametrize(
    "text",
    [
        'server = "https://ann:s3cr3t@r.example"',
        'server = "ftp://ann:s3cr3t@r.example"',
        '[host."https://ann:s3cr3t@r.example"]',
        '[host."https://ann:s3cr3t@r.example"]\nunknown = 1',
    ],
)
def test_a_password_in_a_url_is_not_shown(tmp_path: Path, text: str) -> None:
    """Credentials have their own places, and an error is read by others."""
    write(tmp_path, "a.example", text)
    with pytest.raises(oci.ConfigError, match=r"server|host") as caught:
        oci.hosts_from_containerd(tmp_path)
    assert "s3cr3t" not in str(caught.value)
