"""Single flight: what many want at once is done once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from copy import copy
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import anyio

from oci_distribution.errors import OCIError

__all__ = ["SingleFlight"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(slots=True)
class _Flight(Generic[V]):
    landed: anyio.Event = field(default_factory=anyio.Event)
    results: list[V] = field(default_factory=list[V])
    error: Exception | None = None


class SingleFlight(Generic[K, V]):
    """Lets one task do what others with the same key then get, failures included.

    When the one that does it is cancelled, the next does it instead: nobody fails for another's cancel.
    """

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[V]] = {}

    async def run(self, key: K, work: Callable[[], Awaitable[V]]) -> V:
        """Do `work`, or wait for who does it, and return its result."""
        while (flight := self._flights.get(key)) is not None:
            await flight.landed.wait()
            if flight.error is not None:
                raise _own(flight.error)
            if flight.results:
                return flight.results[0]
        flight = self._flights[key] = _Flight()
        try:
            result = await work()
            flight.results.append(result)
            return result
        except Exception as error:
            flight.error = error
            raise
        finally:
            del self._flights[key]
            flight.landed.set()


def _own(error: Exception) -> Exception:
    """Return an error for one task alone: a traceback and notes of what was tried are added on its way."""
    return copy(error) if isinstance(error, OCIError) else error
