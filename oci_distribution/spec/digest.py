"""Digests: the grammar, and the hashing (image specification, "Digests" in descriptor.md)."""

from __future__ import annotations

import hashlib
import re
from copy import copy
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from pydantic_core import core_schema

from oci_distribution.errors import InvalidDigest

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler

__all__ = ["Digest", "Hasher"]

Bytes: TypeAlias = bytes | bytearray | memoryview

DEFAULT_ALGORITHM = "sha256"
"""What every registry understands; sha512 only some."""

# Every algorithm that the image specification registers and the standard library computes,
# with the exact form of its encoded part.
_ENCODED = {
    "sha256": re.compile(r"[a-f0-9]{64}", re.ASCII),
    "sha512": re.compile(r"[a-f0-9]{128}", re.ASCII),
}

_CONSTRUCTORS = {"sha256": hashlib.sha256, "sha512": hashlib.sha512}


class Digest(str):
    """A checked digest, `algorithm:encoded`; still a string, so it prints, hashes and compares as one.

    `Digest(text)` takes, for example, `sha256:` and 64 lower-case hexadecimal digits.

    Raises:
        InvalidDigest: The text is malformed, or its algorithm is neither sha256 nor sha512.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Check `text`; a `Digest` is returned as it is."""
        if type(text) is cls:
            return text
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] - not everybody checks types
            msg = f"a digest is text, not a {type(text).__name__}"
            raise TypeError(msg)
        algorithm, colon, encoded = text.partition(":")
        pattern = _ENCODED.get(algorithm)
        if not colon:
            raise InvalidDigest(f"invalid digest {text[:200]!r}: no ':' between algorithm and encoded part")
        if pattern is None:
            raise InvalidDigest(f"invalid digest {text[:200]!r}: algorithm is not sha256 or sha512")
        if pattern.fullmatch(encoded) is None:
            raise InvalidDigest(f"invalid digest {text[:200]!r}: wrong length, or not lower-case hexadecimal")
        return super().__new__(cls, text)

    @classmethod
    def of(cls, data: Bytes, algorithm: str = DEFAULT_ALGORITHM) -> Self:
        """Return the digest of `data`."""
        hasher = Hasher(algorithm)
        hasher.update(data)
        return cls(hasher.digest())

    @property
    def algorithm(self) -> str:
        """The part before the colon, for example `sha256`."""
        return self.partition(":")[0]

    @property
    def encoded(self) -> str:
        """The part after the colon, lower-case hexadecimal."""
        return self.partition(":")[2]

    def hasher(self) -> Hasher:
        """Return a fresh hasher of this digest's algorithm."""
        return Hasher(self.algorithm)

    def __repr__(self) -> str:
        return f"Digest({str(self)!r})"

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Let pydantic models hold digests: checked when read, plain strings when written."""
        del source, handler
        return core_schema.no_info_after_validator_function(cls, core_schema.str_schema())


class Hasher:
    """Computes a digest piece by piece, and counts the bytes.

    Args:
        algorithm: `sha256` or `sha512`.

    Raises:
        InvalidDigest: Another algorithm.
    """

    __slots__ = ("_hash", "algorithm", "size")

    def __init__(self, algorithm: str = DEFAULT_ALGORITHM) -> None:
        if algorithm not in _ENCODED:
            raise InvalidDigest(f"digest algorithm {algorithm!r} is not sha256 or sha512")
        self.algorithm: str = algorithm
        self.size: int = 0
        # Not by `hashlib.new`, which looks the algorithm up each time: small manifests have many digests.
        self._hash = _CONSTRUCTORS[algorithm](usedforsecurity=False)

    def update(self, data: Bytes) -> None:
        """Take in more bytes."""
        self._hash.update(data)
        self.size += data.nbytes if isinstance(data, memoryview) else len(data)

    def copy(self) -> Hasher:
        """Return another that stands where this one does."""
        other = copy(self)
        other._hash = self._hash.copy()  # noqa: SLF001 - of this very class
        return other

    def digest(self) -> Digest:
        """Return the digest of all bytes so far."""
        return Digest(f"{self.algorithm}:{self._hash.hexdigest()}")
