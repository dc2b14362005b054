"""Quirks of the web application around a registry."""

from __future__ import annotations

from http.cookies import SimpleCookie

from starlette.responses import Response

from oci_distribution.testing.answers import RegistryError
from oci_distribution.testing.blobs import delete_blob, get_blob
from oci_distribution.testing.calls import Call, Handler
from oci_distribution.testing.listings import list_referrers, list_repositories, list_tags
from oci_distribution.testing.manifests import delete_manifest, get_manifest, put_manifest
from oci_distribution.testing.quirks.quirk import Quirk, drain
from oci_distribution.testing.uploads import (
    cancel_upload,
    finish_upload,
    patch_upload,
    start_upload,
    upload_status,
)

_EVERYTHING = (
    cancel_upload,
    delete_blob,
    delete_manifest,
    finish_upload,
    get_blob,
    get_manifest,
    list_referrers,
    list_repositories,
    list_tags,
    patch_upload,
    put_manifest,
    start_upload,
    upload_status,
)


def cookies_make_browsers(source: str) -> Quirk:
    """Every answer sets a cookie; who sends it back is taken for a browser, and cannot write any more."""

    async def quirk(call: Call, handler: Handler) -> Response:
        cookies = SimpleCookie(call.request.headers.get("cookie", ""))
        if "sid" in cookies and call.request.method not in {"GET", "HEAD"}:
            await drain(call)
            raise RegistryError(403, "FORBIDDEN", "CSRF token invalid")
        response = await handler(call)
        response.set_cookie("sid", "0" * 32, path="/", httponly=True)
        return response

    what = "sets a session cookie, and answers 403 to writes that send it back"
    return Quirk(what, source, _EVERYTHING, quirk)
