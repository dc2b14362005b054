"""The digest that an answer names, and whether it is the one that was asked for or sent."""

from __future__ import annotations

from oci_distribution.errors import DigestMismatch, InvalidDigest, ProtocolError
from oci_distribution.spec.digest import Digest
from oci_distribution.spec.headers import DOCKER_CONTENT_DIGEST, parse_list
from oci_distribution.transport.answers import Answer

__all__ = ["announced_digest", "check_announced"]


def announced_digest(answer: Answer) -> Digest | None:
    """Return the digest that an answer names; None when it names none.

    Raises:
        ProtocolError: It names something else, or two.
    """
    # A proxy that adds what the registry says already says it twice.
    text = ", ".join(dict.fromkeys(parse_list(answer.headers.get(DOCKER_CONTENT_DIGEST))))
    try:
        return Digest(text) if text else None
    except InvalidDigest as error:
        raise ProtocolError(f"{DOCKER_CONTENT_DIGEST}: {error}", context=answer.context) from None


def check_announced(answer: Answer, digest: Digest, content: bytes | None = None) -> None:
    """Compare what the registry says that it has with what it must be.

    A digest of another algorithm (distribution calls every blob by its sha256) is no contradiction, unless
    the content is at hand, and hashes to something else.

    Args:
        answer: What the registry says.
        digest: Of what was asked for, or sent.
        content: The bytes of that, where they are at hand.

    Raises:
        DigestMismatch: It has something else.
        ProtocolError: It names no digest.
    """
    announced = announced_digest(answer)
    if announced is None:
        return
    if announced.algorithm != digest.algorithm:
        if content is None:
            return
        digest = Digest.of(content, announced.algorithm)
    if announced != digest:
        raise DigestMismatch(f"the registry has {announced}, not {digest}").about(answer.context)
