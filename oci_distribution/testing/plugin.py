"""The pytest plugin: `oci_registry` and `oci_registry_factory`.

pytest loads this module in every environment that has the package, so nothing is imported here before a
fixture is used: neither the registry nor what it needs, which may not even be installed.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Unpack

import pytest

from oci_distribution.testing.extra import MissingExtra, extra_needed

if TYPE_CHECKING:
    from oci_distribution.testing.server import RunningRegistry, ServerOptions
    from oci_distribution.testing.threaded import NamespacedRegistry, RegistryFactory, SharedRegistry

__all__ = ["oci_registry", "oci_registry_factory"]


@contextmanager
def _explained() -> Generator[None]:
    """Say what to install where a part of the extra is missing, and no more."""
    try:
        with extra_needed():
            yield
    except MissingExtra as error:
        pytest.fail(str(error), pytrace=False)


def _start(stack: ExitStack, **options: Unpack[ServerOptions]) -> RunningRegistry:
    with _explained():
        from oci_distribution.testing.threaded import serve_in_thread  # noqa: PLC0415 - only when it is used

        return stack.enter_context(serve_in_thread(**options))


@pytest.fixture(scope="session")
def _oci_shared_registry() -> Generator[SharedRegistry]:
    with ExitStack() as stack:
        with _explained():
            from oci_distribution.testing.threaded import share_in_thread  # noqa: PLC0415 - only when it is used

            shared = stack.enter_context(share_in_thread())
        yield shared


@pytest.fixture
def oci_registry(_oci_shared_registry: SharedRegistry) -> Generator[NamespacedRegistry]:
    """A running registry on a loopback port, with a namespace that no other test uses.

    One server in a thread of its own serves all tests of a session (of each worker, with xdist). What a test
    leaves in its namespace is forgotten.
    """
    with _oci_shared_registry.namespace() as registry:
        yield registry


@pytest.fixture
def oci_registry_factory() -> Generator[RegistryFactory]:
    """A function that starts a registry of its own, with the options of `serve_registry`.

    Each runs in a thread of its own and stops at the end of the test.
    """
    with ExitStack() as stack:
        yield partial(_start, stack)
