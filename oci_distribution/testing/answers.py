"""Answers in JSON, and what the registry says when it refuses (distribution specification, "Error Codes")."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from oci_distribution.spec.digest import Digest

__all__ = ["RegistryError", "json_response"]

_MAX_MESSAGE_LENGTH = 1000


def json_response(
    content: Any,
    status: int = 200,
    *,
    headers: Mapping[str, str] | None = None,
    media_type: str = "application/json",
) -> Response:
    """Return an answer in JSON, pure ASCII: what clients made us hold need not be valid Unicode."""
    body = json.dumps(content, separators=(",", ":")).encode()
    return Response(body, status, headers=headers, media_type=media_type)


class RegistryError(Exception):
    """A refusal: raised by whoever notices, turned into an answer by the app.

    Args:
        status: HTTP status of the answer.
        code: One of the specification's codes.
        message: For people.
        detail: Anything that JSON can hold.
        headers: Further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        detail: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.detail = detail
        self.headers: dict[str, str] = dict(headers or {})

    def response(self) -> Response:
        """Return the answer that says so."""
        entry: dict[str, Any] = {"code": self.code, "message": self.message[:_MAX_MESSAGE_LENGTH]}
        if self.detail is not None:
            entry["detail"] = self.detail
        return json_response({"errors": [entry]}, self.status, headers=self.headers)


def blob_unknown(digest: Digest) -> RegistryError:
    """Return the answer to a question for a blob that the repository does not hold."""
    return RegistryError(404, "BLOB_UNKNOWN", "blob unknown to registry", detail={"digest": digest})


def manifest_unknown(reference: str) -> RegistryError:
    """Return the answer to a question for a manifest or tag that the repository does not hold."""
    return RegistryError(
        404, "MANIFEST_UNKNOWN", "manifest unknown to registry", detail={"reference": reference}
    )


def upload_unknown() -> RegistryError:
    """Return the answer to a request for an upload that never was, is finished, or was cancelled."""
    return RegistryError(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")


def digest_invalid(message: str, *, detail: Any = None) -> RegistryError:
    """Return the answer to a digest that is malformed, or not the content's."""
    return RegistryError(400, "DIGEST_INVALID", message, detail=detail)
