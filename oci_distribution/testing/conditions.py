"""Conditional requests (RFC 9110 section 13): what lets writers see that somebody was there before them."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from oci_distribution.spec.digest import Digest
from oci_distribution.spec.headers import DOCKER_CONTENT_DIGEST, entity_tag, names_entity
from oci_distribution.testing.answers import RegistryError

__all__ = ["not_modified", "require_preconditions"]


def require_preconditions(request: Request, current: Digest | None) -> None:
    """Go on only where `If-Match` and, for methods that write, `If-None-Match` allow it.

    Args:
        request: The request.
        current: Digest of what the target of the request holds now; None when it holds nothing.

    Raises:
        RegistryError: 412, with what is there in its detail.
    """
    wanted = request.headers.get("if-match")
    if wanted is not None and not _names(wanted, current, weak=False):
        raise _precondition_failed("If-Match", current)
    unwanted = request.headers.get("if-none-match")
    if unwanted is not None and request.method not in {"GET", "HEAD"} and _names(unwanted, current):
        raise _precondition_failed("If-None-Match", current)


def not_modified(request: Request, current: Digest) -> Response | None:
    """Return the 304 that a client gets who says that it holds `current`; None for everybody else."""
    known = request.headers.get("if-none-match")
    if known is None or not _names(known, current):
        return None
    return Response(status_code=304, headers={"ETag": entity_tag(current), DOCKER_CONTENT_DIGEST: current})


def _names(condition: str, current: Digest | None, *, weak: bool = True) -> bool:
    """Say whether a list of entity tags, or `*`, names what is there."""
    return current is not None and names_entity(condition, entity_tag(current), weak=weak)


def _precondition_failed(header: str, current: Digest | None) -> RegistryError:
    """Return the answer to a condition that does not hold; the specification has no code for it."""
    return RegistryError(412, "DENIED", f"{header} does not hold", detail={"current": current})
