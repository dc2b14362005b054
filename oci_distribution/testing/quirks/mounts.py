"""Quirks of mounting blobs from other repositories."""

from __future__ import annotations

from collections.abc import Callable

from starlette.responses import Response

from oci_distribution.spec.manifest import Manifest
from oci_distribution.testing.answers import RegistryError
from oci_distribution.testing.auth import Access
from oci_distribution.testing.calls import Call, Handler
from oci_distribution.testing.quirks.quirk import Quirk, without_parameters
from oci_distribution.testing.uploads import start_upload


def no_mounts(source: str) -> Quirk:
    """Nothing is ever mounted."""
    return _mounts_if(lambda call: False, "never mounts, and opens a session instead", source)  # noqa: ARG005


def mounts_within_account(source: str) -> Quirk:
    """Blobs are mounted between repositories of one account, which is the first part of their names."""

    def is_ours(call: Call) -> bool:
        return _from(call).partition("/")[0] == call.name.partition("/")[0]

    return _mounts_if(is_ours, "mounts within one account only, and opens a session otherwise", source)


def mounts_what_manifests_need(source: str) -> Quirk:
    """A blob is mounted once a manifest of the source needs it: one that was only pushed is not."""

    def is_needed(call: Call) -> bool:
        storage = call.app.storage.find(_from(call))
        if storage is None:
            return False
        manifests = (
            Manifest.parse(storage.read_manifest(entry.digest), entry.media_type, digest=entry.digest)
            for entry in storage.manifests()
        )
        wanted = call.request.query_params["mount"]
        return any(child.digest == wanted for manifest in manifests for child in manifest.children)

    what = "mounts what a manifest of the source needs, and opens a session for other blobs"
    return _mounts_if(is_needed, what, source)


def mount_needs_from(source: str) -> Quirk:
    """A mount that does not say where from is an error."""

    async def quirk(call: Call, handler: Handler) -> Response:
        query = call.request.query_params
        if "mount" in query and "from" not in query:
            raise RegistryError(400, "INVALID_REQUEST", "Invalid request")
        return await handler(call)

    return Quirk("answers 400 to a mount without `from`", source, (start_upload,), quirk)


def foreign_mount_is_unauthorized(source: str) -> Quirk:
    """A mount from where the client may not read is refused, in the place of a session."""

    async def quirk(call: Call, handler: Handler) -> Response:
        query = call.request.query_params
        if "mount" in query and "from" in query:
            access = Access.to(_from(call), "pull")
            if call.app.refusal(call.request, access) is not None:
                raise RegistryError(401, "UNAUTHORIZED", "authentication required", detail=[str(access)])
        return await handler(call)

    what = "answers 401 to a mount from a repository that the client may not read"
    return Quirk(what, source, (start_upload,), quirk)


def _mounts_if(may_mount: Callable[[Call], bool], what: str, source: str) -> Quirk:
    async def quirk(call: Call, handler: Handler) -> Response:
        if "mount" in call.request.query_params and not may_mount(call):
            call = without_parameters(call, "mount", "from")
        return await handler(call)

    return Quirk(what, source, (start_upload,), quirk)


def _from(call: Call) -> str:
    return call.request.query_params.get("from", "")
