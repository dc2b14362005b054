"""Blobs and manifests for the clients of your own web application, with FastAPI or Starlette.

Needs the extra `web`; it is the only room that users import from by its name.
"""

from __future__ import annotations

from oci_distribution.web.errors import oci_error_handler as oci_error_handler
from oci_distribution.web.responses import BlobResponse as BlobResponse, ManifestResponse as ManifestResponse

__all__ = ["BlobResponse", "ManifestResponse", "oci_error_handler"]
