"""Hosts: what a user says about registries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, SupportsIndex

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from oci_distribution.errors import InvalidArgument
from oci_distribution.spec.reference import DOCKER_HUB, check_registry, check_repository
from oci_distribution.transport.calls import Timeouts
from oci_distribution.transport.pacing import Limits, Slots
from oci_distribution.transport.profiles import RegistryProfile
from oci_distribution.transport.tls import TLSSettings

__all__ = ["HostConfig", "Mirror", "Scheme", "check_headers"]

Scheme = Literal["https", "http"]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e]*")
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection"})
"""Headers of which only we can know what they have to say."""
_ELSEWHERE = frozenset({"authorization", "cookie"})
"""Headers that are credentials, which have a place of their own."""


def _check_prefix(prefix: str) -> str:
    return check_repository(prefix) if prefix else prefix


def _check_endpoint(endpoint: str | None) -> str | None:
    # Not its canonical form: docker.io would come of the very host that answers for it.
    return (
        endpoint if endpoint is None or check_registry(endpoint) == DOCKER_HUB else check_registry(endpoint)
    )


def check_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Return headers that can be sent along.

    Raises:
        InvalidArgument: Something is no header, or one that we have to set; no value, which may be a secret,
            is in it.
    """
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise InvalidArgument(f"{name[:60]!r} is no name of a header")
        if not _VALUE.fullmatch(value):
            raise InvalidArgument(f"the value of {name} holds a control character, or one that is not ASCII")
        if name.lower() in _OURS:
            raise InvalidArgument(f"{name} is not for you to set")
    return headers


def _check_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    for name in headers:
        if name.lower() in _ELSEWHERE:
            hint = "; credentials come from auth_provider" if name.lower() == "authorization" else ""
            raise InvalidArgument(f"{name} is not for you to set{hint}")
    return check_headers(headers)


def _known_profile(profile: RegistryProfile | str | None) -> RegistryProfile | None:
    return RegistryProfile.named(profile) if isinstance(profile, str) else profile


class Mirror(BaseModel):
    """Another registry with the content of one, asked first when something is read.

    Attributes:
        registry: `host` or `host:port`; credentials and settings for it are looked up under this name.
        scheme: How it is spoken to; None for what is configured for its name.
        prefix: Where it keeps the other's repositories, `docker-hub` for `docker-hub/library/alpine`.
        tags: Whether to believe what it says of tags. What is asked for by digest is verified, so anybody
            may serve it; a tag is what the mirror says it is, and may be old.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    registry: Annotated[str, AfterValidator(check_registry)]
    scheme: Scheme | None = None
    prefix: Annotated[str, AfterValidator(_check_prefix)] = ""
    tags: bool = False


class HostConfig(BaseModel):
    """What a user says about a registry, or about all that a pattern stands for.

    It goes before what the profile says, and that before the defaults. It is good for every request to the
    host, as a token server, too; certificates of ours and headers go to no other host.

    Attributes:
        scheme: How it is spoken to; None for https, or http where the host is this machine.
        endpoint: `host` or `host:port` where its API answers, when that is not its name.
        ca_file: Certificate authorities that are trusted besides those of the machine: a file, or several.
        client_cert: File with the certificate that says who we are, for registries that ask for one.
        client_key: File with its key, which must not be encrypted; None when it is in the same file.
        skip_verify: Whether not to check who the host is. Anybody on the way can then read and change all.
        certs_dirs: Directories as docker and podman keep them, `<host:port>/*.crt`, `*.cert` and `*.key`; the
            first with one named as the host counts. None for docker's and podman's own.
        mirrors: Registries with its content, asked in this order before the registry itself. What is
            written, listed and deleted goes to the registry, and a copy asks it for tags.
        profile: What it is known to do, by name (`"gar"`) or in your own words; None for what the library
            knows of its name. Whatever is not known is found out.
        slots: How many requests it gets at once; None for the client's.
        limits: How fast it is talked to; None for the client's.
        timeouts: How long it may stay silent, and how long all of it may take; None for the client's. They
            hold where it sends us, too, but for a token server with timeouts of its own.
        headers: Sent with each request to it, in the place of the client's headers of the same name.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    scheme: Scheme | None = None
    endpoint: Annotated[str | None, AfterValidator(_check_endpoint)] = None
    ca_file: str | Path | tuple[str | Path, ...] = ()
    client_cert: str | Path | None = None
    client_key: str | Path | None = None
    skip_verify: bool = False
    certs_dirs: tuple[str | Path, ...] | None = None
    mirrors: tuple[Mirror, ...] = ()
    profile: Annotated[RegistryProfile | str | None, AfterValidator(_known_profile)] = None
    slots: Slots | None = None
    limits: Limits | None = None
    timeouts: Timeouts | None = None
    headers: Annotated[Mapping[str, str], AfterValidator(_check_headers)] = Field(
        default_factory=dict[str, str], repr=False
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.client_key is not None and self.client_cert is None:
            raise ValueError("client_key is the key of a client_cert, and there is none")
        return self

    def __reduce_ex__(self, protocol: SupportsIndex, /) -> str | tuple[Any, ...]:
        """Refuse to pickle headers, which may be secrets: pickles end up in queues and crash reports."""
        if self.headers:
            msg = "a HostConfig with headers may hold secrets and is not pickled"
            raise TypeError(msg)
        return super().__reduce_ex__(protocol)

    @property
    def tls(self) -> TLSSettings:
        """What it says of TLS."""
        authorities = self.ca_file if isinstance(self.ca_file, tuple) else (self.ca_file,)
        client: tuple[tuple[Path, Path | None], ...] = ()
        if self.client_cert is not None:
            key = None if self.client_key is None else Path(self.client_key)
            client = ((Path(self.client_cert), key),)
        directories = None if self.certs_dirs is None else tuple(map(Path, self.certs_dirs))
        return TLSSettings(tuple(map(Path, authorities)), client, not self.skip_verify, directories)
