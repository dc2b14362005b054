"""The client: one pool, one set of caches and credentials, for every registry."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from oci_distribution.auth.authorizer import Authorizer, TokenOptions
from oci_distribution.auth.cache import ChallengeCache, MemoryChallengeCache, MemoryTokenCache, TokenCache
from oci_distribution.auth.credentials import AuthProvider, Credential
from oci_distribution.auth.httpx_auth import RegistryAuth
from oci_distribution.auth.search import default_auth_provider
from oci_distribution.auth.stored import check_storable, erase_credential, store_credential
from oci_distribution.content.layout import Layout
from oci_distribution.content.protocols import Store
from oci_distribution.errors import InvalidReference
from oci_distribution.events import EventSink
from oci_distribution.remote.login import Login, check_credential
from oci_distribution.remote.referrers_index import ReferrerQueues
from oci_distribution.remote.registry import MAX_MANIFEST, Registry
from oci_distribution.remote.repository import Repository
from oci_distribution.spec.reference import Reference, check_registry, check_tag, split_scheme
from oci_distribution.spec.urls import Origin
from oci_distribution.transport.calls import Timeouts
from oci_distribution.transport.engine import AiohttpTransport
from oci_distribution.transport.host_table import HostTable
from oci_distribution.transport.hosts import HostConfig, check_headers
from oci_distribution.transport.http_client import USER_AGENT, RegistryHTTPClient
from oci_distribution.transport.pacing import Limits, Slots
from oci_distribution.transport.retry import RetryPolicy
from oci_distribution.transport.sender import Sender
from oci_distribution.transport.tls import TLSContexts
from oci_distribution.transport.warned import RegistryWarning, Warned

__all__ = ["Client", "Default"]

LAYOUT_PREFIX = "oci:"
DEFAULT_TAG = "latest"
"""The tag that docker and podman mean when none is written."""


_NEGOTIATED = frozenset({"accept", "accept-encoding", "connection"})
"""Headers that every `httpx.AsyncClient` has, and each of our requests has its own."""


class Default(Enum):
    """What stands for a default where None means "off"."""

    MEMORY = "memory"
    """A cache in memory, for the life of the client."""


class Client:
    """Talks to registries; an async context manager, to be kept for the life of a program.

    Args:
        http: An `httpx.AsyncClient` that carries every request, in the place of ours; it is not closed by us.
            Its hooks, proxies and transport are used, and its headers as if they were given as `headers`;
            not its authentication, cookies, parameters, timeouts and redirects, which are ours.
        transport: A transport for our own `httpx.AsyncClient`, in the place of the default engine.
        auth: An `httpx.Auth` in the place of our own authorization.
        headers: Sent with each request to a registry, and never to another origin. `Authorization` among
            them takes the place of our own.
        auth_provider: Asked for credentials; by default what docker and podman stored.
        challenge_cache: Remembers what each registry's challenge was; None remembers nothing.
        token_cache: Remembers tokens; None remembers nothing.
        token_options: How tokens are asked for.
        hosts: What is special about registries, by name or pattern (`*.pkg.dev`): the name goes before a
            pattern, and a longer pattern before others. Plain dicts are checked, and taken, too.
        retry: How patient to be.
        timeouts: How long a host may stay silent, and how long all of it may take.
        slots: How many requests a host gets at once.
        limits: How fast a host is talked to; `HostConfig.limits` says it for one.
        trusted_origins: Where registries may send us although our rules forbid it, `https://10.0.0.7:8443`.
        strict_addresses: Whether to look at the addresses, too, behind the names that registries send us to:
            private ones are forbidden then. Off, because in many companies registries are private, and
            store their blobs on other private hosts.
        max_manifest: Longest manifest to take in, in bytes.
        observer: Hears the events of every request of this client, from whatever task; `observe` hears
            those of one context, and progress, which belongs to a job.
        on_warning: Shows what a registry warns of, each text once; by default `warnings.warn`. What it raises
            comes out of the call that was warned.

    Raises:
        ValueError: Arguments that exclude each other, an origin that is none, or nonsense about a host or in
            a header (`InvalidArgument`, which names it).
    """

    def __init__(
        self,
        *,
        http: httpx.AsyncClient | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        auth: httpx.Auth | None = None,
        headers: Mapping[str, str] | None = None,
        auth_provider: AuthProvider | None = None,
        challenge_cache: ChallengeCache | Default | None = Default.MEMORY,
        token_cache: TokenCache | Default | None = Default.MEMORY,
        token_options: TokenOptions | None = None,
        hosts: Mapping[str, HostConfig | Mapping[str, Any]] | None = None,
        retry: RetryPolicy | None = None,
        timeouts: Timeouts | None = None,
        slots: Slots | None = None,
        limits: Limits | None = None,
        trusted_origins: Collection[str] = (),
        strict_addresses: bool = False,
        max_manifest: int = MAX_MANIFEST,
        observer: EventSink | None = None,
        on_warning: Callable[[RegistryWarning], object] | None = None,
    ) -> None:
        if http is not None and transport is not None:
            msg = "give either http or transport: a client of yours has its own transport"
            raise ValueError(msg)
        self._owns_http = http is None
        self._hosts = HostTable(hosts or {})
        self._referrer_queues = ReferrerQueues()
        self._max_manifest = max_manifest
        trusted = frozenset(Origin.of(origin) for origin in trusted_origins)
        if http is None and transport is None:
            transport = AiohttpTransport(ssl_context=TLSContexts(self._hosts.tls))
        elif self._hosts.has_tls or strict_addresses:
            msg = "an http or transport of yours has its own TLS and resolver: tell it, not us"
            raise ValueError(msg)
        own = _headers(headers or {}, http)
        self._http = http if http is not None else RegistryHTTPClient(transport=transport)
        self._sender = Sender(
            self._http,
            auth=auth,
            headers=own,
            retry=retry or RetryPolicy(),
            timeouts=timeouts or Timeouts(),
            slots=slots or Slots(),
            limits=limits or Limits(),
            trusted_origins=trusted,
            strict_addresses=strict_addresses,
            observer=observer,
            warned=Warned(on_warning),
            host_at=self._hosts.at,
        )
        if auth is None and not any(name.lower() == "authorization" for name, _ in own):
            authorizer = Authorizer(
                auth_provider if auth_provider is not None else default_auth_provider(),
                fetch=self._sender.fetch_token,
                challenge_cache=MemoryChallengeCache()
                if challenge_cache is Default.MEMORY
                else challenge_cache,
                token_cache=MemoryTokenCache() if token_cache is Default.MEMORY else token_cache,
                options=token_options or TokenOptions(),
                trusted_origins=trusted,
            )
            self._sender.authorizer = authorizer
            auth = RegistryAuth(authorizer)
        if self._owns_http and auth is not None:
            self._http.auth = auth

    @property
    def http(self) -> httpx.AsyncClient:
        """The `httpx.AsyncClient` under everything; ours authorises what you send with it by hand, too.

        By hand nothing is paced, retried, observed or mapped to our errors, and httpx's own rules hold:
        redirects are followed when you say so (`follow_redirects=True`), without authorization to others.
        """
        return self._http

    def registry(self, name: str) -> Registry:
        """Return the registry of this name.

        Args:
            name: `host` or `host:port`; `http://` or `https://` before it decides the scheme, which is
                https otherwise, and http where the host is this machine.

        Raises:
            InvalidReference: `name` is no host.
        """
        scheme, host = split_scheme(name)
        return self._registry(check_registry(host.rstrip("/")), scheme)

    def repository(self, name: str) -> Repository:
        """Return the repository of this name.

        Args:
            name: `ghcr.io/org/app`, `alpine` or `http://127.0.0.1:5000/app`; the scheme is as in `registry`.

        Raises:
            InvalidReference: `name` breaks the grammar, or names a tag or digest.
        """
        scheme, reference = self._parse(name)
        if reference.reference is not None:
            raise InvalidReference(f"{name!r} names one manifest; a repository has no tag and no digest")
        return self._registry(reference.registry, scheme).repository(reference.repository)

    def locate(self, text: str) -> tuple[Store, str]:
        """Return the store that `text` names, and the tag or digest in it; the tag is `latest` by default.

        Args:
            text: A reference such as `docker.io/library/alpine:3.20`, or an OCI layout, `oci:./dir:tag`.

        Raises:
            InvalidReference: `text` breaks the grammar.
        """
        if text.startswith(LAYOUT_PREFIX):
            path, tag = _split_layout(text.removeprefix(LAYOUT_PREFIX))
            return Layout(path), tag
        scheme, reference = self._parse(text)
        repository = self._registry(reference.registry, scheme).repository(reference.repository)
        return repository, reference.reference or DEFAULT_TAG

    async def login(
        self, name: str, credential: Credential, *, path: str | Path | None = None, check: bool = True
    ) -> Login:
        """Store a credential as `docker login` does, if the registry takes it; the default provider finds it.

        The file is replaced as a whole, for us alone to read, and keeps what else is in it. Where it names a
        helper for the registry, the helper gets the secret.

        Args:
            name: The registry, as in `registry`.
            credential: Name and password, or an identity token.
            path: The file to store it in; by default that of `REGISTRY_AUTH_FILE`, or docker's `config.json`.
            check: Ask the registry first: a mistyped password is better found now than tonight.

        Raises:
            Unauthorized: The registry does not take it; nothing is stored.
            TokenError: Its token server does not.
            CredentialError: The file cannot be read, trusted or written, or the helper fails.
            InvalidArgument: It is no registry, or nothing that can be stored.
        """
        self._sender.home.check()
        registry = self.registry(name)
        check_storable(credential)
        is_checked = check and await check_credential(self._sender, registry.host, credential)
        stored_in = await store_credential(registry.host.registry, credential, path)
        self._forget()
        return Login(stored_in, is_checked)

    async def logout(self, name: str, *, path: str | Path | None = None) -> bool:
        """Erase a registry's credential, as `docker logout` does, and return whether there was one.

        Args:
            name: The registry, as in `registry`; every spelling of it is erased.
            path: The file to erase it from; by default the one that `login` stores in.

        Raises:
            CredentialError: The file cannot be read, trusted or written, or the helper fails.
            InvalidArgument: It is no registry.
        """
        self._sender.home.check()
        is_erased = await erase_credential(self.registry(name).host.registry, path)
        self._forget()
        return is_erased

    def _forget(self) -> None:
        if self._sender.authorizer is not None:
            self._sender.authorizer.forget()

    async def send(self, request: httpx.Request) -> httpx.Response:
        """Send a request of yours, authorised like ours, and return the whole response.

        Args:
            request: As `client.http.build_request` makes it.

        Raises:
            httpx.HTTPError: It failed; nothing is tried again, and no status is an error.
            RuntimeError: The client is closed, or belongs to another event loop or process.
        """
        self._sender.home.check()
        return await self._http.send(request, auth=self._http.auth)

    async def aclose(self) -> None:
        """Close every connection; again does nothing.

        Raises:
            RuntimeError: The client belongs to another event loop or process, which has to close it.
        """
        home = self._sender.home
        if home.is_closed:
            return
        home.check()
        home.is_closed = True
        if self._owns_http:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        self._sender.home.check()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _parse(self, text: str) -> tuple[str | None, Reference]:
        scheme, rest = split_scheme(text)
        if scheme is not None and "/" not in rest:
            raise InvalidReference(f"{text!r} names a registry, and no repository in it")
        return scheme, Reference.parse(rest, has_host=scheme is not None)

    def _registry(self, name: str, scheme: str | None) -> Registry:
        return Registry(
            self._sender, self._hosts.host(name, scheme), self._max_manifest, self._referrer_queues
        )

    def __repr__(self) -> str:
        state = "closed" if self._sender.home.is_closed else "open"
        return f"<Client over {type(self._http).__name__}, {state}>"


def _headers(own: Mapping[str, str], http: httpx.AsyncClient | None) -> tuple[tuple[str, str], ...]:
    """Return a user's headers, also those of their `httpx.AsyncClient`, and who we are unless they say it."""
    headers = httpx.Headers({"User-Agent": USER_AGENT})
    if http is not None:
        theirs = (item for item in http.headers.items() if item[0].lower() not in _NEGOTIATED)
        headers.update({name: value for name, value in theirs if not value.startswith("python-httpx/")})
    headers.update(check_headers(own))
    return tuple(headers.items())


def _split_layout(text: str) -> tuple[Path, str]:
    """Split `path`, `path:tag` or `path@digest`."""
    path, at, digest = text.partition("@sha")
    if at:
        return Path(path), f"sha{digest}"
    head, colon, tag = text.rpartition(":")
    if not colon or "/" in tag or "\\" in tag:
        head, tag = text, DEFAULT_TAG
    if not head:
        raise InvalidReference(f"{LAYOUT_PREFIX}{text} names no directory")
    return Path(head), check_tag(tag)
