"""Docker's image manifest version 2, schema 1: old, signed inside itself, and still found in registries.

(Docker's "Image Manifest Version 2, Schema 1".) The digest of a signed one is not that of its bytes, but
of what was signed: the document as it was before the signatures were put into it.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from oci_distribution.errors import InvalidManifest

__all__ = ["signed_payload"]


def signed_payload(raw: bytes) -> bytes:
    """Return what the signatures of a signed schema 1 manifest are for.

    The signatures are not checked: nobody has the keys. What counts is that the digest names the payload.

    Raises:
        InvalidManifest: The signatures do not say what they are for, or do not agree.
    """
    try:
        signatures = json.loads(raw)["signatures"]
        # Compared by how they are made: a payload of each would take hundreds of times the manifest's length.
        formats = {_format(raw, signature["protected"]) for signature in signatures}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InvalidManifest("manifest is malformed: its signatures are no JSON Web Signatures") from None
    if len(formats) != 1:
        raise InvalidManifest("manifest is ambiguous: its signatures are for different documents")
    ((length, tail),) = formats
    return raw[:length] + tail


def _format(raw: bytes, protected: str) -> tuple[int, bytes]:
    """Return how much of the manifest was signed, and what came after it then."""
    header: dict[str, Any] = json.loads(_decoded(protected))
    length = header["formatLength"]
    if not isinstance(length, int) or not 0 <= length <= len(raw):
        raise ValueError(length)
    return length, _decoded(header["formatTail"])


def _decoded(text: str) -> bytes:
    """Decode base64url without its padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
