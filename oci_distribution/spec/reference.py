"""References: which registry, which repository, which tag or digest.

The grammar is the one of docker and podman (`github.com/distribution/reference`), which is stricter than
the distribution specification's "Pulling manifests" and is what users type.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from oci_distribution.errors import InvalidDigest, InvalidReference, redact_url
from oci_distribution.spec.digest import Digest

__all__ = ["DOCKER_HUB", "Reference", "check_repository", "check_tag", "check_tags", "is_tag", "split_scheme"]

DOCKER_HUB = "docker.io"
"""Canonical name of Docker Hub, whose API answers elsewhere."""

_DOCKER_HUB_ALIASES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_OFFICIAL_PREFIX = "library/"
MAX_PORT = 65535
MAX_NAME_LENGTH = 255
"""Longest repository name, in characters: what distribution accepts, and file systems behind it."""

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_DOMAIN_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_HOST = re.compile(
    rf"(?:{_DOMAIN_LABEL}(?:\.{_DOMAIN_LABEL})*|\[(?P<address>[a-fA-F0-9:]+)\])(?::(?P<port>[0-9]{{1,5}}))?",
    re.ASCII,
)
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}", re.ASCII)
# A bare 64-digit name would be taken for the identifier of a local image.
_IDENTIFIER = re.compile(r"[a-f0-9]{64}", re.ASCII)
_SCHEMES = ("https", "http")


def check_repository(name: str) -> str:
    """Return `name`, a repository's name as the specification's `<name>`.

    Raises:
        InvalidReference: It breaks the grammar, or is longer than 255 characters.
    """
    if len(name) > MAX_NAME_LENGTH:
        raise InvalidReference(
            f"invalid repository name {name[:60]!r}…: longer than {MAX_NAME_LENGTH} characters"
        )
    if _REPOSITORY.fullmatch(name) is None:
        hint = "; it must be lower-case" if _REPOSITORY.fullmatch(name.lower()) else ""
        raise InvalidReference(f"invalid repository name {name!r}{hint}")
    return name


def check_tag(tag: str) -> str:
    """Return `tag`, a tag as the specification's `<reference>`.

    Raises:
        InvalidReference: It breaks the grammar, or is longer than 128 characters.
    """
    if not is_tag(tag):
        raise InvalidReference(f"invalid tag {tag[:200]!r}")
    return tag


def is_tag(text: str) -> bool:
    """Say whether `text` can be a tag."""
    return _TAG.fullmatch(text) is not None


def check_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Return `tags`, which may be an iterator, when all of them are tags.

    Raises:
        InvalidReference: One breaks the grammar.
        TypeError: It is one string: its letters would be the tags.
    """
    if isinstance(tags, str):
        msg = f"tags must be a sequence of tags, not one string: use [{tags!r}]"
        raise TypeError(msg)
    return tuple(check_tag(tag) for tag in tags)


def check_registry(host: str) -> str:
    """Return the canonical form of a `host` or `host:port`: Docker Hub's aliases become `docker.io`.

    Raises:
        InvalidReference: It is no host with an optional port. IPv6 addresses stand in brackets.
    """
    if "@" in host:
        # Not shown: what is before the @ may be a password.
        raise InvalidReference("invalid registry host: it holds no user name and no password")
    match = _HOST.fullmatch(host)
    if match is None or not _is_address(match["address"]) or int(match["port"] or 0) > MAX_PORT:
        raise InvalidReference(f"invalid registry host {host[:300]!r}")
    return DOCKER_HUB if host in _DOCKER_HUB_ALIASES else host


def _is_address(text: str | None) -> bool:
    """Say whether what stands in brackets, if anything does, is an address of IPv6."""
    try:
        return text is None or bool(ipaddress.IPv6Address(text))
    except ValueError:
        return False


def split_scheme(text: str) -> tuple[str | None, str]:
    """Split `http://` or `https://` off `text`: `(scheme, rest)`, with None where no scheme is given.

    Raises:
        InvalidReference: Another scheme.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        return None, text
    if scheme not in _SCHEMES:
        shown = redact_url(text)[:200]
        raise InvalidReference(f"invalid scheme {scheme[:60]!r} in {shown!r}: use http:// or https://")
    return scheme, rest


@dataclass(frozen=True, slots=True)
class Reference:
    """A parsed reference.

    Args:
        registry: Host and optional port; Docker Hub is `docker.io`.
        repository: Name within the registry; Docker Hub's official images are under `library/`.
        tag: The tag, if one was given.
        digest: The digest, if one was given. With both, the digest decides and the tag is a remark.

    Raises:
        InvalidReference: A part breaks its grammar.
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    def __post_init__(self) -> None:
        """Check every part, whoever built us."""
        object.__setattr__(self, "registry", check_registry(self.registry))
        check_repository(self.repository)
        if self.tag is not None:
            check_tag(self.tag)
        if self.digest is not None:
            object.__setattr__(self, "digest", _checked_digest(self.digest))

    @classmethod
    def parse(cls, text: str, *, has_host: bool = False) -> Self:
        """Parse what a user types: `alpine`, `ghcr.io/org/app:v1`, `[::1]:5000/a/b:tag@sha256:…`.

        Without a host, the registry is Docker Hub. No tag is invented: `tag` stays None.

        Args:
            text: The reference.
            has_host: Whether the first component is known to be a host, as after a scheme; otherwise
                `app/web` is on Docker Hub.

        Raises:
            InvalidReference: `text` breaks the grammar.
        """
        if _IDENTIFIER.fullmatch(text):
            raise InvalidReference(f"invalid reference {text!r}: 64 hexadecimal digits name a local image")
        name, at, digest = text.partition("@")
        if "/" in digest:
            # Not shown: what is before the @ may be a password.
            raise InvalidReference("invalid reference: it holds no user name and no password")
        name, tag = _split_tag(name)
        registry, repository = _split_registry(name, has_host=has_host)
        try:
            return cls(registry, repository, tag, _checked_digest(digest) if at else None)
        except InvalidReference as error:
            raise InvalidReference(f"invalid reference {text[:400]!r}: {error}") from None

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def reference(self) -> str | None:
        """What decides: the digest, else the tag, else None."""
        return self.digest if self.digest is not None else self.tag

    def with_tag(self, tag: str) -> Self:
        """Return this reference with `tag`, and no digest."""
        return replace(self, tag=tag, digest=None)

    def with_digest(self, digest: str) -> Self:
        """Return this reference pinned to `digest`; the tag stays as a remark."""
        return replace(self, digest=_checked_digest(digest))

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        digest = f"@{self.digest}" if self.digest is not None else ""
        return f"{self.name}{tag}{digest}"


def _checked_digest(text: str) -> Digest:
    try:
        return Digest(text)
    except InvalidDigest as error:
        raise InvalidReference(str(error)) from None


def _split_tag(name: str) -> tuple[str, str | None]:
    """Split at the last colon, unless it belongs to a port: what follows a port has a slash."""
    head, colon, tag = name.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (name, None)


def _split_registry(name: str, *, has_host: bool) -> tuple[str, str]:
    """Tell a host from a first path component as docker does: by a dot, a colon, `localhost` or a capital."""
    first, slash, rest = name.partition("/")
    looks_like_one = any(c in first for c in ".:") or first == "localhost" or first != first.lower()
    is_host = has_host or (bool(slash) and looks_like_one)
    registry, repository = (first, rest) if is_host else (DOCKER_HUB, name)
    if registry in _DOCKER_HUB_ALIASES and "/" not in repository:
        repository = _OFFICIAL_PREFIX + repository
    return registry, repository
