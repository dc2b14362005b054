"""Proxies: which one leads to a host, by the variables that everybody uses."""

from __future__ import annotations

import base64
import ipaddress
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from oci_distribution.errors import ConfigError
from oci_distribution.spec.urls import is_loopback_host

__all__ = ["Proxies", "Proxy"]


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy to go through.

    Args:
        url: Scheme, host and port; never with a password.
        authorization: Value of the `Proxy-Authorization` header.
    """

    url: str
    authorization: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str) -> Proxy:
        """Return the proxy that `text` names: a URL, or `host:port` as many write it.

        Raises:
            ConfigError: It is not an http or https proxy.
        """
        try:
            parts = urlsplit(text if "://" in text else f"http://{text}")
            _ = parts.port  # raises where it is none
        except ValueError:
            # Its text may hold a password, so it is not shown.
            raise ConfigError("a proxy is configured whose URL is none: its port is no number?") from None
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigError(f"a proxy of kind {parts.scheme!r} is configured; http and https ones work")
        userinfo, _, netloc = parts.netloc.rpartition("@")
        authorization = None
        if userinfo:
            user, _, password = userinfo.partition(":")
            pair = f"{unquote(user)}:{unquote(password)}".encode()
            authorization = f"Basic {base64.b64encode(pair).decode()}"
        return cls(f"{parts.scheme}://{netloc}", authorization)


class Proxies:
    """The proxies of a machine.

    Args:
        settings: Proxy by scheme of the target: `http`, `https`, `all`; `no` lists those that are reached
            directly. None for those of the environment (`http_proxy` and so on), an empty one for no proxies.
    """

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        self._from_environment = settings is None
        self._settings = dict(urllib.request.getproxies() if settings is None else settings)
        # Of hosts that registries send us to, there may be ever new ones.
        self._known = lru_cache(maxsize=1000)(self._find)

    def find(self, scheme: str, host: str, port: int | None) -> Proxy | None:
        """Return the proxy that leads to a host; None for none.

        Raises:
            ConfigError: It is of a kind that we cannot use.
        """
        return self._known(scheme, host, port) if self._settings else None

    def _find(self, scheme: str, host: str, port: int | None) -> Proxy | None:
        text = self._settings.get(scheme) or self._settings.get("all")
        if not text or self._is_direct(host, port):
            return None
        return Proxy.parse(text)

    def _is_direct(self, host: str, port: int | None) -> bool:
        # Docker and the Go tools never ask a proxy for this machine.
        if is_loopback_host(host) or _is_excepted(host, port, self._settings.get("no", "")):
            return True
        # macOS and Windows keep exceptions of their own.
        return self._from_environment and bool(urllib.request.proxy_bypass(host))


def _is_excepted(host: str, port: int | None, exceptions: str) -> bool:
    """Say whether `no_proxy` names a host: itself, with its port, a domain above it, a network around it."""
    for entry in filter(None, map(str.strip, exceptions.lower().split(","))):
        name = entry.removeprefix("*").removeprefix(".")
        if entry == "*" or name in {host, f"{host}:{port}"} or host.endswith(f".{name}"):
            return True
        if "/" in entry and _is_in_network(host, entry):
            return True
    return False


def _is_in_network(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
