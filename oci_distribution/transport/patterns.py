"""Patterns: hosts by the labels of their names, `*.dkr.ecr.*.amazonaws.com`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

from oci_distribution.errors import InvalidReference, redact_url
from oci_distribution.spec.reference import check_registry

__all__ = ["check_pattern", "is_pattern", "matches", "most_specific"]

ANY = "*"
_PORT = re.compile(r"(?P<host>.*?)(?::(?P<port>[0-9]+))?", re.DOTALL)

T = TypeVar("T")


def is_pattern(text: str) -> bool:
    """Say whether `text` stands for several hosts."""
    return ANY in text


def check_pattern(text: str) -> str:
    """Return the canonical form of a host or pattern, in lower case.

    Raises:
        InvalidReference: It is neither.
    """
    if not is_pattern(text):
        return check_registry(text.lower())
    host, port = _split(text)
    labels = ["x" if label == ANY else label for label in host.split(".")]
    try:
        check_registry(".".join(labels) + (f":{port}" if port else ""))
    except InvalidReference:
        shown = redact_url(text)[:300]
        raise InvalidReference(
            f"invalid pattern of hosts {shown!r}: a * stands for whole labels, as in *.example.com"
        ) from None
    return text.lower()


def matches(pattern: str, name: str) -> bool:
    """Say whether a pattern stands for a host.

    Args:
        pattern: `*` alone stands for every host, at the beginning for one label or more, elsewhere for one.
            Without a port it is good for every port.
        name: `host` or `host:port`.
    """
    (wanted, wanted_port), (host, port) = _split(pattern), _split(name.lower())
    if wanted_port not in {None, port}:
        return False
    if wanted == ANY:
        return True
    first, *rest = wanted.split(".")
    labels = host.split(".")
    cut = len(labels) - len(rest)
    beginning, end = labels[: max(cut, 0)], labels[max(cut, 0) :]
    fits = bool(beginning) if first == ANY else beginning == [first]
    return fits and all(ours in {ANY, theirs} for ours, theirs in zip(rest, end, strict=True))


def most_specific(table: Mapping[str, T], name: str) -> T | None:
    """Return what a table says of a host: by its name, else by the longest pattern that stands for it."""
    exact = table.get(name.lower())
    if exact is not None:
        return exact
    fitting = [pattern for pattern in table if is_pattern(pattern) and matches(pattern, name)]
    return table[max(fitting, key=len)] if fitting else None


def _split(name: str) -> tuple[str, str | None]:
    match = _PORT.fullmatch(name)
    assert match is not None  # it takes anything
    return match["host"], match["port"]
