"""Warnings that registries send along with their answers, shown once each (specification, "Warnings")."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable

from oci_distribution.spec.headers import parse_warnings

__all__ = ["RegistryWarning", "Warned"]

_MAX_TEXTS, _MAX_REGISTRIES = 50, 1000
"""Texts of a registry that we remember, and registries; what comes after so many is not shown: a registry
could make us hold anything. It silences no other by that."""
_PACKAGE = __name__.partition(".")[0]


class RegistryWarning(UserWarning):
    """A registry warns its users: of a token that ends soon, of a repository that will move.

    Args:
        registry: Its name.
        text: What it says, one printable line.
    """

    def __init__(self, registry: str, text: str) -> None:
        super().__init__(registry, text)
        self.registry: str = registry
        self.text: str = text

    def __str__(self) -> str:
        return f"{self.registry}: {self.text}"


class Warned:
    """Shows what registries warn of: each text of each registry once.

    Args:
        show: What shows a warning; by default Python's own `warnings`.
    """

    def __init__(self, show: Callable[[RegistryWarning], object] | None = None) -> None:
        self._show = show if show is not None else _warn
        self._known: dict[str, set[str]] = {}

    def take(self, registry: str, values: Iterable[str]) -> None:
        """Show what is new in the `Warning` headers of an answer.

        What shows it may raise, as Python's warnings do when they are errors; that is for the caller.
        """
        known = self._known.get(registry)
        if known is None:
            if len(self._known) >= _MAX_REGISTRIES:
                return
            known = self._known[registry] = set()
        for text in parse_warnings(values):
            if text not in known and len(known) < _MAX_TEXTS:
                known.add(text)
                self._show(RegistryWarning(registry, text))


def _warn(warning: RegistryWarning) -> None:
    """Warn with the line of the caller's own code that called us, as far as there is one on the stack."""
    level, frame = 1, inspect.currentframe()  # `skip_file_prefixes` comes with Python 3.12
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        level, frame = level + 1, frame.f_back
    warnings.warn(warning, stacklevel=level)
