"""A registry in a thread of its own: for tests with any async runner, or with none."""

from __future__ import annotations

import secrets
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Protocol, Unpack

from anyio.from_thread import BlockingPortal, start_blocking_portal

from oci_distribution.spec.reference import check_repository
from oci_distribution.testing.app import RegistryApp
from oci_distribution.testing.faults import Fault
from oci_distribution.testing.memory import MemoryStorage
from oci_distribution.testing.record import RequestLog
from oci_distribution.testing.server import RunningRegistry, ServerOptions, serve_registry

__all__ = [
    "NamespacedFaults",
    "NamespacedRegistry",
    "RegistryFactory",
    "SharedRegistry",
    "serve_in_thread",
    "share_in_thread",
]

_KEPT_REQUESTS = 10_000
"""How many requests of a test are kept."""


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


class RegistryFactory(Protocol):
    """Starts registries: what the fixture `oci_registry_factory` gives."""

    def __call__(self, **options: Unpack[ServerOptions]) -> RunningRegistry:
        """Start a registry, which stops at the end of the test; the options are those of `serve_registry`."""
        ...


@contextmanager
def share_in_thread() -> Generator[SharedRegistry]:
    """Serve a registry that tests share, in a thread of its own, as long as the context is open."""
    storage, requests = MemoryStorage(), RequestLog(limit=_KEPT_REQUESTS)
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(serve_registry(storage=storage, requests=requests)) as registry,
    ):
        yield SharedRegistry(portal, registry, storage)


class SharedRegistry:
    """A registry for many tests, none of which leaves anything in it.

    Args:
        portal: The way into the registry's thread.
        registry: The registry.
        storage: Its storage.
    """

    def __init__(self, portal: BlockingPortal, registry: RunningRegistry, storage: MemoryStorage) -> None:
        self._portal = portal
        self._registry = registry
        self._storage = storage

    @contextmanager
    def namespace(self) -> Generator[NamespacedRegistry]:
        """Give a namespace, and forget at the end what is in it."""
        name = f"test-{secrets.token_hex(4)}"
        with self._registry.requests.capture(f"/v2/{name}/*") as requests:
            namespaced = NamespacedRegistry(self._registry, name, requests)
            try:
                yield namespaced
            finally:
                namespaced.faults.clear()
                self._portal.call(self._forget, f"{name}/")

    def _forget(self, prefix: str) -> None:
        app = self._registry.app
        for session in [session for session in app.uploads.values() if session.name.startswith(prefix)]:
            session.close()
            del app.uploads[session.id]
        self._storage.forget(prefix)


class NamespacedRegistry:
    """A part of a registry that several tests share: a namespace in which nobody else is.

    Args:
        registry: The registry.
        namespace: First part of the names of its repositories.
        requests: The log of the requests to them.
    """

    def __init__(self, registry: RunningRegistry, namespace: str, requests: RequestLog) -> None:
        self._registry = registry
        self.namespace = namespace
        self.requests = requests
        """The requests to this namespace, newest last. Others, as `GET /v2/`, are in `app.requests`."""
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

    def repository(self, name: str = "app") -> str:
        """Return the full name of a repository in this namespace, `127.0.0.1:5000/test-3f9a1b2c/app`.

        Raises:
            InvalidReference: The name breaks the grammar.
        """
        return f"{self.host}/{check_repository(f'{self.namespace}/{name}')}"

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
        mine = fault.model_copy(update={"path": self._inside(fault.path)})
        self._mine.append((fault, self._all.add(mine)))
        return fault

    def _inside(self, path: str) -> str:
        """Return the pattern for the same paths in the namespace."""
        if self._namespace in path:
            return path  # it matches no other namespace
        below = path.removeprefix("/v2/")
        if not below or below.startswith("/"):
            msg = f"{path} is no path in a repository: use a registry of your own for this fault"
            raise ValueError(msg)
        return f"/v2/{self._namespace}/{below}"

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

    def __iter__(self) -> Iterator[Fault]:
        return iter([fault for fault, _ in self._mine])

    def __len__(self) -> int:
        return len(self._mine)

    def __repr__(self) -> str:
        return f"<NamespacedFaults {list(self)}>"
