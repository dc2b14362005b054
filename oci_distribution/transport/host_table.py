"""The table of hosts: what is configured and known about each, decided once for its name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from pydantic import ValidationError

from oci_distribution.errors import InvalidArgument, redact_url
from oci_distribution.spec.reference import DOCKER_HUB
from oci_distribution.spec.urls import Origin, is_loopback_host
from oci_distribution.transport.calls import Host, MirrorHost
from oci_distribution.transport.hosts import HostConfig, Mirror
from oci_distribution.transport.patterns import check_pattern, is_pattern, most_specific
from oci_distribution.transport.profiles import RegistryProfile, profile_of
from oci_distribution.transport.tls import TLSSettings

__all__ = ["HostTable", "checked_config", "host_origin", "reasons"]

_ENDPOINTS: Final = {
    # Its name is that of a web site; scopes and credentials keep it, requests go elsewhere.
    DOCKER_HUB: "registry-1.docker.io",
}

_TYPE: Final = re.compile(r"[a-z-]+\[.*\]", re.DOTALL)


class HostTable:
    """Hosts by their names.

    Args:
        configs: What a user says about hosts, by name or pattern; a name goes before a pattern, and the
            longest pattern before others. The first that fits says all: nothing is added from the next.

    Raises:
        InvalidReference: Something is no name and no pattern.
        InvalidArgument: Something is no `HostConfig`, or two say different things of TLS with one
            endpoint, or of how fast it is talked to.
    """

    def __init__(self, configs: Mapping[str, HostConfig | Mapping[str, Any]]) -> None:
        self._configs: dict[str, HostConfig] = {}
        for name, said in configs.items():
            config = checked_config(name, said)
            if self._configs.setdefault(check_pattern(name), config) != config:
                why = f"{name} has another name, and something else is said of it there"
                raise InvalidArgument(f"hosts: {why}")
        self._hosts: dict[tuple[str, str | None], Host] = {}
        self._endpoints = self._named_endpoints()

    def _named_endpoints(self) -> dict[str, HostConfig]:
        """Return what is said of hosts that are named, by where they answer."""
        found: dict[str, HostConfig] = {}
        for name, config in self._configs.items():
            endpoint = config.endpoint or _ENDPOINTS.get(name, name)
            if is_pattern(endpoint):
                continue
            endpoint = Origin.of(f"https://{endpoint}").netloc
            known = found.setdefault(endpoint, config)
            # What belongs to the place that is talked to, and not to the name.
            ours, theirs = (
                {"TLS": one.tls, "slots": one.slots, "limits": one.limits} for one in (config, known)
            )
            if clashes := [what for what in ours if ours[what] != theirs[what]]:
                why = f"{name} says something else of {', '.join(clashes)} with {endpoint} than others do"
                raise InvalidArgument(f"hosts: {why}")
        return found

    @property
    def has_tls(self) -> bool:
        """Whether anything special is said of TLS."""
        return any(config.tls != TLSSettings() for config in self._configs.values())

    def tls(self, endpoint: str) -> TLSSettings:
        """Return what is said of TLS with a host that answers, registry or not.

        Args:
            endpoint: `host` or `host:port`, without the port of https.
        """
        return self._answering(endpoint, f"{endpoint}:443").tls

    def at(self, origin: Origin) -> Host:
        """Return a host that a registry sends us to, as it is to be spoken to; headers are for registries."""
        port = 443 if origin.scheme == "https" else 80
        config = self._answering(origin.netloc, f"{origin.netloc}:{port}")
        return Host(str(origin), origin, timeouts=config.timeouts, slots=config.slots, limits=config.limits)

    def _answering(self, *names: str) -> HostConfig:
        """Return what is said of a host that answers under these names, with its port and without."""
        for name in names:
            if (config := self._endpoints.get(name)) is not None:
                return config
        found = (most_specific(self._configs, name) for name in names)
        return next((config for config in found if config is not None), HostConfig())

    def host(self, registry: str, scheme: str | None = None) -> Host:
        """Return a registry, as it is to be spoken to.

        Args:
            registry: Canonical name, `host` or `host:port`.
            scheme: What the user wrote before the name, which decides; None for nothing.
        """
        key = registry, scheme
        if key not in self._hosts:
            mirrors = tuple(map(self._mirror, self._config(registry).mirrors))
            self._hosts[key] = replace(self._alone(registry, scheme), mirrors=mirrors)
        return self._hosts[key]

    def _mirror(self, mirror: Mirror) -> MirrorHost:
        return MirrorHost(self._alone(mirror.registry, mirror.scheme), mirror.prefix, mirror.tags)

    def _alone(self, registry: str, scheme: str | None) -> Host:
        """Return a registry without its mirrors."""
        config = self._config(registry)
        profile = config.profile if config.profile is not None else profile_of(registry)
        assert isinstance(profile, RegistryProfile)  # a name became one when it was checked
        return Host(
            registry,
            host_origin(registry, scheme=scheme, config=config),
            profile=profile,
            headers=tuple(config.headers.items()),
            timeouts=config.timeouts,
            slots=config.slots,
            limits=config.limits,
        )

    def _config(self, name: str) -> HostConfig:
        return most_specific(self._configs, name) or HostConfig()


def checked_config(name: str, config: HostConfig | Mapping[str, Any]) -> HostConfig:
    """Return what is said of a host.

    Raises:
        InvalidArgument: It is nonsense; the name of the host is in it, and no value, which may be a secret.
    """
    if isinstance(config, HostConfig):
        return config
    try:
        return HostConfig.model_validate(config)
    except ValidationError as error:
        raise InvalidArgument(f"hosts: {name[:300]}: {reasons(error)}") from None


def reasons(error: ValidationError) -> str:
    """Say what is wrong, key by key, without the values, which may be secrets."""
    return "; ".join(
        ": ".join(filter(None, (_place(problem["loc"]), problem["msg"])))
        for problem in error.errors(include_input=False, include_url=False)
    )


def _place(keys: tuple[int | str, ...]) -> str:
    """Return the keys that lead to a value, without what pydantic calls the types that it tried there."""
    return ".".join(redact_url(key) for key in map(str, keys) if not _TYPE.fullmatch(key))


def host_origin(registry: str, *, scheme: str | None = None, config: HostConfig | None = None) -> Origin:
    """Return the origin that answers for a registry.

    Args:
        registry: Canonical name, `host` or `host:port`.
        scheme: What the user wrote before the name, which decides; None for nothing.
        config: What the user configured for that name.
    """
    config = config if config is not None else HostConfig()
    endpoint = config.endpoint or _ENDPOINTS.get(registry, registry)
    host = Origin.of(f"http://{endpoint}").host
    chosen = scheme or config.scheme or ("http" if is_loopback_host(host) else "https")
    return Origin.of(f"{chosen}://{endpoint}")
