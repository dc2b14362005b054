"""The client: one pool, one set of caches and credentials, for every registry."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from oci_distribution.auth.authorizer import Authorizer, TokenOptions
from oci_distribution.auth.cache import ChallengeCache, MemoryChallengeCache, MemoryTokenCache, TokenCache
from oci_distribution.auth.credentials import AuthProvider
from oci_distribution.auth.docker_config import default_auth_provider
from oci_distribution.auth.httpx_auth import RegistryAuth
from oci_distribution.content.layout import Layout
from oci_distribution.content.protocols import Store
from oci_distribution.errors import InvalidReference
from oci_distribution.remote.registry import MAX_MANIFEST, Registry
from oci_distribution.remote.repository import Repository
from oci_distribution.spec.reference import Reference, check_registry, check_tag, split_scheme
from oci_distribution.spec.urls import Origin
from oci_distribution.transport.hosts import DEFAULT_HOSTS, HostConfig, host_origin
from oci_distribution.transport.http_client import RegistryHTTPClient
from oci_distribution.transport.pacing import Slots
from oci_distribution.transport.retry import RetryPolicy
from oci_distribution.transport.sender import Host, Sender, Timeouts

__all__ = ["Client"]

LAYOUT_PREFIX = "oci:"
DEFAULT_TAG = "latest"
"""The tag that docker and podman mean when none is written."""


class Client:
    """Talks to registries; an async context manager, to be kept for the life of a program.

    Args:
        http: An `httpx.AsyncClient` that carries every request, in the place of ours; it is not closed by us.
        transport: A transport for our own `httpx.AsyncClient`, in the place of the default engine.
        auth: An `httpx.Auth` in the place of our own authorization.
        headers: Sent with each request to a registry, and never to another origin.
        auth_provider: Asked for credentials; by default what docker and podman stored.
        challenge_cache: Remembers what each registry's challenge was; None remembers nothing.
        token_cache: Remembers tokens; None remembers nothing.
        token_options: How tokens are asked for.
        hosts: What is special about registries, by name; added to what we know of Docker Hub.
        retry: How patient to be.
        timeouts: How long a host may stay silent.
        slots: How many requests a host gets at once.
        trusted_origins: Where registries may send us although our rules forbid it, `https://10.0.0.7:8443`.
        max_manifest: Longest manifest to take in, in bytes.

    Raises:
        ValueError: Arguments that exclude each other, or an origin that is none.
    """

    def __init__(
        self,
        *,
        http: httpx.AsyncClient | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        auth: httpx.Auth | None = None,
        headers: Mapping[str, str] | None = None,
        auth_provider: AuthProvider | None = None,
        challenge_cache: ChallengeCache | None = _DEFAULT_CHALLENGES,
        token_cache: TokenCache | None = _DEFAULT_TOKENS,
        token_options: TokenOptions | None = None,
        hosts: Mapping[str, HostConfig] | None = None,
        retry: RetryPolicy | None = None,
        timeouts: Timeouts | None = None,
        slots: Slots | None = None,
        trusted_origins: Collection[str] = (),
        max_manifest: int = MAX_MANIFEST,
    ) -> None:
        if http is not None and transport is not None:
            msg = "give either http or transport: a client of yours has its own transport"
            raise ValueError(msg)
        self._owns_http = http is None
        self._hosts = {check_registry(name): config for name, config in {**DEFAULT_HOSTS, **(hosts or {})}.items()}
        self._max_manifest = max_manifest
        trusted = frozenset(Origin.of(origin) for origin in trusted_origins)
        self._http = http if http is not None else RegistryHTTPClient(transport=transport)
        self._sender = Sender(
            self._http,
            auth=auth,
            headers=tuple((headers or {}).items()),
            retry=retry or RetryPolicy(),
            timeouts=timeouts or Timeouts(),
            slots=slots or Slots(),
            trusted_origins=trusted,
        )
