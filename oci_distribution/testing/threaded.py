"""A registry in a thread of its own: for tests with any async runner, or with none."""

from __future__ import annotations

import secrets
from collections.abc import Generator
from contextlib import contextmanager
from typing import Unpack

from anyio.from_thread import start_blocking_portal

from oci_distribution.testing.app import RegistryApp
from oci_distribution.testing.faults import Fault
from oci_distribution.testing.record import RequestLog
from oci_distribution.testing.server import RunningRegistry, ServerOptions, serve_registry

__all__ = ["NamespacedFaults", "NamespacedRegistry", "serve_in_thread"]


@contextmanager
def serve_in_thread(**options: Unpack[ServerOptions]) -> Generator[RunningRegistry]:
    """Serve a registry in a thread, in an event loop of its own, as long as the context is open.

    Args:
        options: Those of `serve_registry`.

    Raises:
        OSError: The port is taken.
        StrictViolation: At the end, when the app is `strict` and there are `violations`.
    """
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(serve_registry(**options)) as registry,
    ):
        yield registry


class NamespacedRegistry:
    """A part of a registry that several tests share: a namespace in which nobody else is.

    Args:
        registry: The registry.
    """

    def __init__(self, registry: RunningRegistry) -> None:
        self._registry = registry
        self.namespace: str = f"test-{secrets.token_hex(4)}"
        self.faults: NamespacedFaults = NamespacedFaults(registry, self.namespace)
        """What goes wrong with requests to this namespace, and when."""

    @property
    def url(self) -> str:
        """Where the registry answers."""
        return self._registry.url

    @property
    def host(self) -> str:
        """Address and port, as it stands in references."""
        return self._registry.host

    @property
    def app(self) -> RegistryApp:
        """The application, which other tests use, too."""
        return self._registry.app

    @property
    def requests(self) -> RequestLog:
        """The requests to this namespace that have come so far, newest last."""
        return self._registry.requests.matching(path=f"/v2/{self.namespace}/*")

    def repository(self, name: str = "app") -> str:
        """Return the full name of a repository in this namespace, `127.0.0.1:5000/test-3f9a1b2c/app`."""
        return f"{self.host}/{self.namespace}/{name}"

    def __repr__(self) -> str:
        return f"<NamespacedRegistry {self.url} {self.namespace}>"


class NamespacedFaults:
    """Faults that strike only requests to one namespace.

    Args:
        registry: The registry.
        namespace: First part of the names of its repositories.
    """

    def __init__(self, registry: RunningRegistry, namespace: str) -> None:
        self._all = registry.faults
        self._namespace = namespace
        self._mine: list[tuple[Fault, Fault]] = []

    def add(self, fault: Fault) -> Fault:
        """Add a fault, and return it. Its path is taken for one in the namespace: `/v2/*`, `*/blobs/*`.

        Raises:
            ValueError: Its path is none of a repository; `oci_registry_factory` makes a registry for that.
        """
        below = fault.path.removeprefix("/v2/")
        if not below or below.startswith("/"):
            msg = f"{fault.path} is no path in a repository: use a registry of your own for this fault"
            raise ValueError(msg)
        mine = fault.model_copy(update={"path": f"/v2/{self._namespace}/{below}"})
        self._mine.append((fault, self._all.add(mine)))
        return fault

    def remove(self, fault: Fault) -> None:
        """Take a fault away, however often it was added."""
        for known, mine in self._mine:
            if known == fault:
                self._all.remove(mine)
        self._mine = [(known, mine) for known, mine in self._mine if known != fault]

    def clear(self) -> None:
        """Take all faults of this namespace away."""
        for _, mine in self._mine:
            self._all.remove(mine)
        self._mine.clear()

    def strikes(self, fault: Fault) -> int:
        """Return how many requests a fault has struck."""
        mine = next((mine for known, mine in self._mine if known == fault), None)
        return 0 if mine is None else self._all.strikes(mine)

    def __len__(self) -> int:
        return len(self._mine)
