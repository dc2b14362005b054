"""A real registry to develop and test against: an ASGI application, served over real sockets.

Needs the extra `testing`. Nothing of it is imported before it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from oci_distribution.testing.extra import extra_needed

if TYPE_CHECKING:
    from oci_distribution.testing.app import RegistryApp, RegistryOptions
    from oci_distribution.testing.auth import BasicAuth, User
    from oci_distribution.testing.directory import DirectoryStorage
    from oci_distribution.testing.faults import Fault, Faults
    from oci_distribution.testing.memory import MemoryStorage
    from oci_distribution.testing.profiles import PROFILES, Profile
    from oci_distribution.testing.quirks.quirk import Quirk
    from oci_distribution.testing.record import RecordedRequest, RequestLog
    from oci_distribution.testing.server import RunningRegistry, ServerOptions, serve_registry
    from oci_distribution.testing.strict import StrictViolation, Violation
    from oci_distribution.testing.threaded import NamespacedRegistry, RegistryFactory, serve_in_thread
    from oci_distribution.testing.tokens import TokenAuth

__all__ = [
    "PROFILES",
    "BasicAuth",
    "DirectoryStorage",
    "Fault",
    "Faults",
    "MemoryStorage",
    "NamespacedRegistry",
    "Profile",
    "Quirk",
    "RecordedRequest",
    "RegistryApp",
    "RegistryFactory",
    "RegistryOptions",
    "RequestLog",
    "RunningRegistry",
    "ServerOptions",
    "StrictViolation",
    "TokenAuth",
    "User",
    "Violation",
    "serve_in_thread",
    "serve_registry",
]

_MODULES = {
    "PROFILES": "profiles",
    "BasicAuth": "auth",
    "DirectoryStorage": "directory",
    "Fault": "faults",
    "Faults": "faults",
    "MemoryStorage": "memory",
    "NamespacedRegistry": "threaded",
    "Profile": "profiles",
    "Quirk": "quirks.quirk",
    "RecordedRequest": "record",
    "RegistryApp": "app",
    "RegistryFactory": "threaded",
    "RegistryOptions": "app",
    "RequestLog": "record",
    "RunningRegistry": "server",
    "ServerOptions": "server",
    "StrictViolation": "strict",
    "TokenAuth": "tokens",
    "User": "auth",
    "Violation": "strict",
    "serve_in_thread": "threaded",
    "serve_registry": "server",
}


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    with extra_needed():
        value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value
