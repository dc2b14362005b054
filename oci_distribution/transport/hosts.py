"""Hosts: where a registry of a given name answers, and how it is spoken to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict

from oci_distribution.spec.reference import DOCKER_HUB, check_registry, check_repository
from oci_distribution.spec.urls import Origin, is_loopback_host
from oci_distribution.transport.calls import Host, MirrorHost, UploadRules
from oci_distribution.transport.pacing import Limits

__all__ = ["DEFAULT_HOSTS", "HostConfig", "Learned", "Mirror", "configured_host", "host_origin"]


def _check_prefix(prefix: str) -> str:
    return check_repository(prefix) if prefix else prefix


class Mirror(BaseModel):
    """Another registry with the content of one, asked first when something is read.

    Attributes:
        registry: `host` or `host:port`; credentials for it are looked up under this name.
        scheme: How it is spoken to; None for https, or http where the host is this machine.
        prefix: Where it keeps the other's repositories, `docker-hub` for `docker-hub/library/alpine`.
        tags: Whether to believe what it says of tags. What is asked for by digest is verified, so anybody
            may serve it; a tag is what the mirror says it is, and may be old.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    registry: Annotated[str, AfterValidator(check_registry)]
    scheme: Literal["https", "http"] | None = None
    prefix: Annotated[str, AfterValidator(_check_prefix)] = ""
    tags: bool = False


class HostConfig(BaseModel):
    """What a user says about a registry.

    Attributes:
        scheme: How it is spoken to; None for https, or http where the host is this machine.
        endpoint: `host` or `host:port` where its API answers, when that is not its name.
        pages_without_link: Whether its listings come in pages that do not link to the next, so that we
            have to ask with `last=` until nothing comes any more. The specification wants a `Link`.
        mirrors: Registries with its content, asked in this order before the registry itself. What is
            written, listed and deleted goes to the registry, and a copy asks it for tags.
        uploads: How it wants to be given blobs; what it refuses is found out, and tried in other ways.
        limits: How fast it is talked to; None for what the client does with every host.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    scheme: Literal["https", "http"] | None = None
    endpoint: str | None = None
    pages_without_link: bool = False
    mirrors: tuple[Mirror, ...] = ()
    uploads: UploadRules = UploadRules()
    limits: Limits | None = None


@dataclass(slots=True)
class Learned:
    """What a host has taught us while we talked to it; the next request goes the right way at once.

    Args:
        referrers_api: Whether it has a referrers API; None while nobody has asked.
        referrer_queues: Who waits to change the list of a subject's referrers, by repository and subject.
        tag_parameters: Whether it takes tags along with a digest; None while nobody has tried.
        conditional_puts: Whether it honours the condition of a PUT; None while nobody has tried.
        excluded_mirrors: Names of its mirrors that served wrong bytes, and are not asked any more.
        mounts: False once it has said that it knows no mounts.
        single_post: Whether it stores a blob that comes with the POST; None while nobody has tried.
        refused_sizes: The smallest blob, in bytes, that it refused in each way of sending it.
        largest_chunk: Bytes of the largest chunk, when it has refused larger ones.
        misses: By repository, how many blobs it lacked one after the other when we came to push them.
    """

    referrers_api: bool | None = None
    referrer_queues: dict[tuple[str, str], Any] = field(default_factory=dict[tuple[str, str], Any])
    tag_parameters: bool | None = None
    conditional_puts: bool | None = None
    excluded_mirrors: set[str] = field(default_factory=set[str])
    mounts: bool = True
    single_post: bool | None = None
    refused_sizes: dict[str, int] = field(default_factory=dict[str, int])
    largest_chunk: int | None = None
    misses: dict[str, int] = field(default_factory=dict[str, int])


DEFAULT_HOSTS: Mapping[str, HostConfig] = {
    # Docker Hub's name is that of a web site; scopes and credentials keep it, requests go elsewhere.
    DOCKER_HUB: HostConfig(endpoint="registry-1.docker.io"),
    # It answers 416 to longer ones (rust-oci-client#35).
    "ghcr.io": HostConfig(uploads=UploadRules(max_chunk=4 << 20)),
}


def configured_host(registry: str, *, scheme: str | None, config: HostConfig) -> Host:
    """Return a host as a user configured it.

    Args:
        registry: Canonical name, `host` or `host:port`.
        scheme: What the user wrote before the name, which decides; None for nothing.
        config: What the user configured for that name.

    Raises:
        InvalidReference: The configured endpoint is no host.
    """
    mirrors = tuple(
        MirrorHost(
            Host(mirror.registry, host_origin(mirror.registry, scheme=mirror.scheme)),
            mirror.prefix,
            mirror.tags,
        )
        for mirror in config.mirrors
    )
    origin = host_origin(registry, scheme=scheme, config=config)
    return Host(registry, origin, config.pages_without_link, mirrors, config.uploads, config.limits)


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
