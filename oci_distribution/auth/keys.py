"""Keys: the names that a registry's credentials are kept under, in files and tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeVar

from oci_distribution.spec.reference import DOCKER_HUB

__all__ = ["helper_keys", "host_keys", "host_of", "matching", "namespace_keys", "server_of"]

T = TypeVar("T")

_DOCKER_HUB_KEY: Final = "https://index.docker.io/v1/"
"""What `docker login` stores Docker Hub's credential under, and asks helpers for."""
_DOCKER_HUB_KEYS = (_DOCKER_HUB_KEY, "index.docker.io", DOCKER_HUB, "registry-1.docker.io")


def server_of(host: str) -> str:
    """Return the key that `docker login` stores a registry's credential under, and asks helpers for."""
    return host_keys(host)[0]


def host_keys(host: str) -> Sequence[str]:
    """Return the keys of a registry as a whole, the best first."""
    return _DOCKER_HUB_KEYS if host == DOCKER_HUB else (host,)


def helper_keys(host: str) -> Sequence[str]:
    """Return the keys under which a helper may keep something of a registry, for a logout."""
    # docker's login by the browser stores two tokens beside the credential.
    tokens = [f"{_DOCKER_HUB_KEY}access-token", f"{_DOCKER_HUB_KEY}refresh-token"]
    return [*host_keys(host), *(tokens if host == DOCKER_HUB else [])]


def namespace_keys(host: str, repository: str | None) -> Sequence[str]:
    """Return podman's keys for parts of a registry, the longest first."""
    parts = repository.split("/") if repository else []
    hosts = [key for key in host_keys(host) if "://" not in key]
    lengths = range(len(parts), 0, -1)
    return [f"{name}/{'/'.join(parts[:length])}" for length in lengths for name in hosts]


def matching(entries: Mapping[str, T], keys: Sequence[str]) -> Iterator[tuple[str, T]]:
    """Yield the entries of `keys`, the best first: as they are, then the host of a URL `https://host/v1/`."""
    hosts = {key: host_of(key) for key in entries}
    for wanted in keys:
        if wanted in entries:
            yield wanted, entries[wanted]
        for key, host in hosts.items():
            if key != wanted and host == wanted.lower():
                yield key, entries[key]


def host_of(key: str) -> str:
    """Return the host, or the namespace of one, that a key stands for."""
    _, separator, rest = key.lower().partition("://")
    if separator:
        return rest.partition("/")[0].rpartition("@")[2]
    return key.lower().removesuffix("/v1/").removesuffix("/v2/").rstrip("/")
