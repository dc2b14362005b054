"""Hosts: where a registry of a given name answers, and how it is spoken to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from oci_distribution.spec.reference import DOCKER_HUB, check_registry
from oci_distribution.spec.urls import Origin, is_loopback_host

__all__ = ["DEFAULT_HOSTS", "HostConfig", "Learned", "host_origin"]


class HostConfig(BaseModel):
    """What a user says about a registry.

    Args:
        scheme: How it is spoken to; None for https, or http where the host is this machine.
        endpoint: `host` or `host:port` where its API answers, when that is not its name.
        pages_without_link: Whether its listings come in pages that do not link to the next, so that we
            have to ask with `last=` until nothing comes any more. The specification wants a `Link`.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    scheme: Literal["https", "http"] | None = None
    endpoint: str | None = None
    pages_without_link: bool = False


@dataclass(slots=True)
class Learned:
    """What a host has taught us while we talked to it; the next request goes the right way at once.

    Args:
        referrers_api: Whether it has a referrers API; None while nobody has asked.
    """

    referrers_api: bool | None = None


DEFAULT_HOSTS: Mapping[str, HostConfig] = {
    # Docker Hub's name is that of a web site; scopes and credentials keep it, requests go elsewhere.
    DOCKER_HUB: HostConfig(endpoint="registry-1.docker.io"),
}


def host_origin(registry: str, *, scheme: str | None = None, config: HostConfig | None = None) -> Origin:
    """Return the origin that answers for a registry.

    Args:
        registry: Canonical name, `host` or `host:port`.
        scheme: What the user wrote before the name, which decides; None for nothing.
        config: What the user configured for that name.

    Raises:
        InvalidReference: The configured endpoint is no host.
    """
    config = config if config is not None else HostConfig()
    endpoint = check_registry(config.endpoint) if config.endpoint is not None else registry
    if endpoint == DOCKER_HUB and config.endpoint is not None:
        endpoint = config.endpoint
    host = Origin.of(f"http://{endpoint}").host
    chosen = scheme or config.scheme or ("http" if is_loopback_host(host) else "https")
    return Origin.of(f"{chosen}://{endpoint}")
