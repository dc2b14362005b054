"""Where a registry of a given name answers."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from oci_distribution.errors import InvalidReference
from oci_distribution.transport.hosts import DEFAULT_HOSTS, HostConfig, host_origin


@pytest.mark.parametrize(
    ("registry", "origin"),
    [
        ("ghcr.io", "https://ghcr.io"),
        ("ghcr.io:443", "https://ghcr.io"),
        ("registry.lan:5000", "https://registry.lan:5000"),
        ("10.0.0.1:5000", "https://10.0.0.1:5000"),
        ("localhost", "http://localhost"),
        ("localhost:5000", "http://localhost:5000"),
        ("127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("[::1]:5000", "http://[::1]:5000"),
        ("localhost.evil.example", "https://localhost.evil.example"),
    ],
)
def test_https_unless_it_is_this_machine(registry: str, origin: str) -> None:
    """Without a word from the user, only this machine is spoken to in plain http."""
    assert str(host_origin(registry)) == origin


def test_the_written_scheme_decides() -> None:
    """What stands before the name goes before what is configured."""
    config = HostConfig(scheme="https")

    assert str(host_origin("registry.lan", scheme="http", config=config)) == "http://registry.lan"
    assert str(host_origin("localhost:5000", config=config)) == "https://localhost:5000"


def test_docker_hub_answers_elsewhere() -> None:
    """The name docker.io is a web site; its API is at registry-1.docker.io."""
    assert str(host_origin("docker.io", config=DEFAULT_HOSTS["docker.io"])) == "https://registry-1.docker.io"


def test_a_broken_endpoint_is_refused() -> None:
    """A configured endpoint is a host, not a URL."""
    with pytest.raises(InvalidReference):
        host_origin("a.example", config=HostConfig(endpoint="https://b.example/"))


def test_unknown_settings_are_refused() -> None:
    """A misspelled setting is an error, not silence."""
    with pytest.raises(ValidationError):
        HostConfig.model_validate({"shceme": "http"})
