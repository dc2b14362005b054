"""Challenges: what a 401 wants (RFC 9110 section 11.6.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Challenge", "best_challenge", "parse_challenges"]

# Possessive throughout (`++`, `*+`): whatever a server sends, nothing is read twice.
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_SCHEME = re.compile(rf"[\s,]*+({_WORD})(?=\s|,|$)(?!\s*+=)", re.ASCII)
# A quote inside of a quoted value ends it only where something follows that may: servers forget to escape.
_END = rf"(?=\s*+(?:,|$)|\s++{_WORD}\s*+=)"
# No possessive group here: with a look-ahead inside, Python 3.11.2 does not match it. Each turn of this
# loop can be taken in one way only, so it is linear all the same.
_QUOTED = rf"\"([^\"\\]*+(?:(?:\\.|\"(?!{_END}))[^\"\\]*+)*)\"{_END}"
_PARAMETER = re.compile(rf"[\s,]*+({_WORD})\s*+=\s*+(?:{_QUOTED}|([^\s,\"]*+){_END})", re.ASCII | re.DOTALL)
# `scope=,realm=...` is no token68 but a parameter without a value: nothing but a scheme may follow.
_TOKEN68 = re.compile(
    rf"\s++([A-Za-z0-9\-._~+/]++=*+)(?=\s*+(?:,|$))(?!\s*+,[\s,]*+{_WORD}\s*+=\s*+[^\s,=])", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to be let in.

    Args:
        scheme: In lower case, `basic` or `bearer`.
        parameters: By lower-case name, without quotes.
        token68: The opaque value that some schemes have in their place.
    """

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])
    token68: str | None = None

    def lasting(self) -> Challenge:
        """Return what of it holds for other requests, too."""
        kept = {name: value for name, value in self.parameters.items() if name in {"realm", "service"}}
        return Challenge(self.scheme, kept)


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """Parse `WWW-Authenticate` headers: several headers, and several challenges in one.

    What cannot be read ends its header, and loses nothing of what stood before it. Of a parameter that
    stands there twice the first one counts.
    """
    return [challenge for value in values for challenge in _parse(value)]


def best_challenge(challenges: Sequence[Challenge]) -> Challenge | None:
    """Return the challenge to answer: Bearer, else Basic, which is also better than a Bearer from nowhere."""
    by_scheme = {challenge.scheme: challenge for challenge in reversed(challenges)}
    bearer, basic = by_scheme.get("bearer"), by_scheme.get("basic")
    return bearer if bearer is not None and (basic is None or bearer.parameters.get("realm")) else basic


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
                parameter[1].lower(), bare if quoted is None else re.sub(r"(?s)\\(.)", r"\1", quoted)
            )
        yield Challenge(scheme[1].lower(), parameters)
