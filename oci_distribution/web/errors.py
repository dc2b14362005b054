"""What our clients are told when a registry fails us."""

from __future__ import annotations

import logging
import math

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from oci_distribution.errors import InvalidArgument, NotFound, OCIError, TimeoutExceeded, TooManyRequests

__all__ = ["oci_error_handler"]

_LOGGER = logging.getLogger(__name__)

_SENTENCES = {
    400: "no valid name, tag or digest",
    404: "the registry does not hold it",
    429: "the registry asks for patience",
    502: "the registry refused, or gave no usable answer",
    503: "the registry is not available",
    504: "the registry did not answer in time",
}
"""Nothing of the error goes out: what a registry says of itself and of us is not for our clients."""


async def oci_error_handler(request: Request, error: Exception) -> Response:
    """Answer an error of this library; for `app.add_exception_handler(oci.OCIError, oci_error_handler)`.

    An invalid name, tag or digest is 400, what the registry does not hold 404, its 429 and 503 stay what
    they are, with `Retry-After`, its silence is 504, and all else 502. What really happened is logged,
    without secrets, and not told.

    Args:
        request: The request that met it.
        error: The error.
    """
    status = _status(error)
    if status >= 429:
        _LOGGER.warning("%s is answered with %d: %s", request.method, status, error)
    patience = error.retry_after if isinstance(error, OCIError) and status in {429, 503} else None
    headers = {} if patience is None else {"Retry-After": str(math.ceil(patience))}
    return JSONResponse({"detail": _SENTENCES[status]}, status, headers)


def _status(error: Exception) -> int:
    match error:
        case InvalidArgument():
            return 400
        case NotFound():
            return 404
        case TooManyRequests():
            return 429
        case TimeoutExceeded():
            return 504
        case OCIError(status=503):
            return 503
        case _:
            return 502
