"""Challenges: what a 401 wants (RFC 9110 section 11.6.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

__all__ = ["Challenge", "parse_challenges"]

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME = re.compile(rf"[\s,]*({_WORD})(?=\s|,|$)(?!\s*=)", re.ASCII)
_PARAMETER = re.compile(
    rf"[\s,]*({_WORD})\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|({_WORD}|[^\s,\"]*))(?=\s*(?:,|$))", re.ASCII
)
_TOKEN68 = re.compile(r"\s+([A-Za-z0-9\-._~+/]+=*)(?=\s*(?:,|$))", re.ASCII)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to be let in.

    Args:
        scheme: In lower case, `basic` or `bearer`.
        parameters: By lower-case name, without quotes.
        token68: The opaque value that some schemes have in their place.
    """

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    token68: str | None = None


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """Parse `WWW-Authenticate` headers: several headers, and several challenges in one.

    What cannot be read ends its header, and loses nothing of what stood before it.
    """
    return [challenge for value in values for challenge in _parse(value)]


def _parse(value: str) -> Iterator[Challenge]:
    position = 0
    while scheme := _SCHEME.match(value, position):
        position = scheme.end()
        token68 = _TOKEN68.match(value, position)
        if token68 is not None:
            position = token68.end()
            yield Challenge(scheme[1].lower(), {}, token68[1])
            continue
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(value, position):
            position = parameter.end()
            quoted, bare = parameter[2], parameter[3]
            parameters.setdefault(
                parameter[1].lower(), re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else bare
            )
        yield Challenge(scheme[1].lower(), parameters)
