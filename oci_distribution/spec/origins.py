"""Where a registry may send us: the rule behind redirects, upload locations, pages and token realms."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from oci_distribution.spec.urls import Origin

__all__ = ["why_forbidden"]


def why_forbidden(registry: Origin, target: str, *, trusted: Collection[Origin] = ()) -> str | None:
    """Say why a registry may not send us to `target`; None when it may.

    What it may never do is take TLS away (GHSA-28r5-37g7-p6mp), or point a client that talks to a
    public registry at the client's own network (169.254.169.254 is the classic).

    Args:
        registry: Origin that the user asked for.
        target: Absolute URL that the registry, or somebody that it redirected to, named.
        trusted: Origins that the user allows in any case.
    """
    try:
        origin = Origin.of(target)
    except ValueError as error:
        return str(error)
    if "@" in urlsplit(target).netloc:
        return "it holds a user name"
    if origin == registry or origin in trusted:
        return None
    if registry.scheme == "https" and origin.scheme == "http":
        return "it is plain http, and the registry is https"
    if origin.is_local and not registry.is_local:
        return "it is on this machine or in a private network, and the registry is not"
    return None
