"""Faults over HTTP, for tests in other processes and languages: off unless the app is told otherwise.

GET    /_admin/faults    the faults, and how many requests each has struck
POST   /_admin/faults    adds one: a JSON object with the fields of `Fault`
DELETE /_admin/faults    takes all of them away
"""

from __future__ import annotations

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from oci_distribution.testing.answers import RegistryError, json_response
from oci_distribution.testing.calls import route_path
from oci_distribution.testing.faults import Fault, Faults

__all__ = ["serve_admin"]

_PATH = "/_admin/faults"
_MAX_FAULT_SIZE = 1 << 20


async def serve_admin(faults: Faults, request: Request) -> Response | None:
    """Answer a request that is about faults; None when it is about something else.

    Raises:
        RegistryError: It asks for what cannot be.
    """
    if route_path(request) != _PATH:
        return None
    if request.method == "GET":
        return json_response([_described(faults, fault) for fault in faults])
    if request.method == "POST":
        return json_response(_described(faults, faults.add(await _read_fault(request))), 201)
    if request.method == "DELETE":
        faults.clear()
        return Response(status_code=204)
    raise RegistryError(405, "UNSUPPORTED", "faults are had by GET, POST or DELETE")


def _described(faults: Faults, fault: Fault) -> dict[str, object]:
    return {**fault.model_dump(mode="json", exclude_defaults=True), "strikes": faults.strikes(fault)}


async def _read_fault(request: Request) -> Fault:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > _MAX_FAULT_SIZE:
            raise RegistryError(413, "SIZE_INVALID", f"a fault has at most {_MAX_FAULT_SIZE} bytes")
    try:
        return Fault.model_validate_json(bytes(body))
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, part['loc'])) or 'fault'}: {part['msg']}" for part in error.errors()]
        raise RegistryError(400, "UNSUPPORTED", "; ".join(problems)) from None
