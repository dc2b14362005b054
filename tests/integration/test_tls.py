"""Real registries over TLS, that ask clients for certificates."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import oci_distribution as oci
from benchmarks.services import free_port, require, wait_for_port
from tests.certificates import Pki
from tests.images import holdings, push_image, push_index
from tests.integration.conftest import find

CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {root}}}}}
http:
  addr: "127.0.0.1:{port}"
  tls:
    certificate: {certificate}
    key: {certificate}
    clientcas: [{ca}]
"""


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path)


@pytest.fixture(params=["docker-registry", "registry"])
def host(request: pytest.FixtureRequest, pki: Pki) -> Iterator[str]:
    """Distribution 2.8 and v3, with certificates of one authority on both sides."""
    find(request.param)
    with serving(require(request.param), pki) as host:
        yield host


@contextmanager
def serving(binary: str, pki: Pki) -> Iterator[str]:
    """Run a registry that speaks only to clients with a certificate."""
    port = free_port()
    certificate, config = pki.folder / "server.pem", pki.folder / "config.yml"
    pki.authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    config.write_text(CONFIG.format(root=pki.folder / "data", port=port, certificate=certificate, ca=pki.ca))
    with subprocess.Popen(
        [binary, "serve", str(config)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"OTEL_TRACES_EXPORTER": "none"},
    ) as process:
        try:
            wait_for_port("127.0.0.1", port)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()


async def round_trip(config: oci.HostConfig, host: str) -> None:
    """Push an image, copy it within the registry, and read it back."""
    async with oci.Client(hosts={host: config}) as client:
        one, other = (client.repository(f"https://{host}/team/{name}") for name in ("one", "other"))
        images = [await push_image(one, [b"layer", name.encode()], os=name) for name in ("linux", "windows")]
        await push_index(one, images, tag="v1")
        await oci.copy(one, "v1", other)
        assert await holdings(other, "v1") == await holdings(one, "v1")


async def test_with_a_certificate(host: str, pki: Pki) -> None:
    """Everything works; with a certificate of another authority, or none, the error says what is wanted."""
    certificate, key = pki.client()
    await round_trip(oci.HostConfig(ca_file=pki.ca, client_cert=certificate, client_key=key), host)

    (pki.folder / "other").mkdir()
    stranger, its_key = Pki(pki.folder / "other").client()
    for config in (
        oci.HostConfig(ca_file=pki.ca),
        oci.HostConfig(ca_file=pki.ca, client_cert=stranger, client_key=its_key),
    ):
        async with oci.Client(hosts={host: config}) as client:
            with pytest.raises(oci.TLSError, match="client_cert") as caught:
                await client.registry(f"https://{host}").ping()
            assert not caught.value.attempts


async def test_with_directories_of_certificates(host: str, pki: Pki) -> None:
    """Docker's layout, and containerd's."""
    certificate, key = pki.client()
    folder = pki.folder / "docker" / host
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_bytes(pki.ca.read_bytes())
    (folder / "client.cert").write_bytes(certificate.read_bytes())
    (folder / "client.key").write_bytes(key.read_bytes())
    await round_trip(oci.HostConfig(certs_dirs=(pki.folder / "docker",)), host)

    folder = pki.folder / "containerd" / host
    folder.mkdir(parents=True)
    (folder / "hosts.toml").write_text(
        f'server = "https://{host}"\nca = "{pki.ca}"\nclient = [["{certificate}", "{key}"]]\n'
    )
    await round_trip(oci.hosts_from_containerd(pki.folder / "containerd")[host], host)


async def test_it_is_https(host: str) -> None:
    """Also for one that has neither the authority nor a certificate."""
    assert await oci.detect_scheme(host) == "https"
