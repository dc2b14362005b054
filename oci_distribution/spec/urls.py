"""URLs as bytes on the wire: origins, and joining that changes nothing.

A registry's `Location` may be signed, and a library that parses and prints it again breaks the
signature, so everything here works on the text itself (specification, "Pushing a blob in chunks").
"""

from __future__ import annotations

import ipaddress
import re
import socket
from functools import lru_cache
from typing import NamedTuple, Self
from urllib.parse import urljoin, urlsplit

__all__ = ["Origin", "is_local_host", "resolve_url", "same_origin", "with_query"]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""Addresses of IPv4 hosts in a network that has only IPv6 (RFC 6052)."""
_AMBIGUOUS = re.compile(r"[\x00-\x20\x7f\\]")


class Origin(NamedTuple):
    """Scheme, host and port (RFC 6454): what a credential or a token belongs to.

    (A tuple, and no dataclass: each request looks up several things by its origin.)

    Attributes:
        scheme: `http` or `https`.
        host: Lower-case name or address, IPv6 without brackets.
        port: Always a number: the scheme's own when the URL has none.
    """

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Self:
        """Return the origin of an absolute URL.

        Raises:
            ValueError: It is not an absolute http or https URL, or one that others may read otherwise.
        """
        return cls(*_origin(url))

    @property
    def netloc(self) -> str:
        """`host` or `host:port`, without the scheme's own port, as `Host` wants it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether it is, by its literal spelling, this machine or a private network."""
        return is_local_host(self.host)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}"


@lru_cache(maxsize=1024)
def _origin(url: str) -> tuple[str, str, int]:
    # Kept for a moment: on its way, the location of an upload is looked at half a dozen times.
    parts = urlsplit(url)
    default = _DEFAULT_PORTS.get(parts.scheme)
    if default is None or not parts.hostname:
        msg = "not an absolute http or https URL"
        raise ValueError(msg)
    if not parts.netloc.isascii() or _AMBIGUOUS.search(url):
        # What one library takes for a host is user name or path to another; IDNA maps ① to 1.
        msg = "a URL with a space, a control character, a backslash, or a host that is not ASCII"
        raise ValueError(msg)
    return parts.scheme, parts.hostname, default if parts.port is None else parts.port


def same_origin(one: str, other: str) -> bool:
    """Say whether two absolute URLs have the same scheme, host and port."""
    return Origin.of(one) == Origin.of(other)


def is_loopback_host(host: str) -> bool:
    """Say whether `host`, without a port, is `localhost` or a loopback address, literally.

    A test on the whole name: `localhost.evil.example` is not local.
    """
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def is_local_host(host: str) -> bool:
    """Say whether `host`, without a port, is literally `localhost`, or a private or link-local address.

    Names are not looked up here.
    """
    address = _address(host)
    return is_loopback_host(host) or (address is not None and not address.is_global)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    text = host.strip("[]").partition("%")[0].rstrip(".")
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return _old_style_address(text)
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _old_style_address(text: str) -> ipaddress.IPv4Address | None:
    """Read what the resolver reads without a look-up, too: 127.1, 2130706433, 0x7f.0.0.1, 0177.0.0.1."""
    try:
        return ipaddress.IPv4Address(socket.inet_aton(text))
    except (OSError, ValueError):
        return None


def resolve_url(base: str, location: str) -> str:
    """Resolve a `Location` or `Link` target against the URL that answered it (RFC 3986 section 5).

    What `location` spells itself stays as it is, byte for byte.

    Args:
        base: Absolute URL of the request that was answered.
        location: Absolute, host-relative or path-relative reference.

    Raises:
        ValueError: The result is no absolute http or https URL, or one that others may read otherwise.
    """
    if _AMBIGUOUS.search(location):
        msg = "a URL with a space, a control character or a backslash"
        raise ValueError(msg)
    origin = Origin.of(base)
    if location.startswith("//"):
        target = f"{origin.scheme}:{location}"
    elif _ABSOLUTE.match(location):
        target = location
    elif location.startswith("/"):
        target = base.partition("://")[0] + "://" + _authority(base) + location
    else:
        target = urljoin(base, location)
    Origin.of(target)
    return target.partition("#")[0]


def _authority(url: str) -> str:
    rest = url.partition("://")[2]
    return rest[: min((i for i in map(rest.find, "/?#") if i >= 0), default=len(rest))]


def with_query(url: str, name: str, value: str) -> str:
    """Return `url` with `name=value` appended to its query; what is there stays byte for byte.

    `name` is replaced where it already stands. `value` must need no escaping.
    """
    head, question, query = url.partition("?")
    pairs = (
        [pair for pair in query.split("&") if pair.partition("=")[0] != name] if question and query else []
    )
    return f"{head}?{'&'.join([*pairs, f'{name}={value}'])}"
