"""Scopes: what a token is for, as a set (docker's "Token Scope Documentation")."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["Scope"]

# pull before push, as every client writes it; what else there is comes after, sorted.
_ORDER = {"pull": 0, "push": 1, "delete": 2, "*": 3}


@dataclass(frozen=True, slots=True)
class Scope:
    """An immutable set of resources with the actions on each.

    Args:
        resources: `(type:name, actions)`, in the order they were first named: some registries look only at
            the first.
    """

    resources: tuple[tuple[str, frozenset[str]], ...] = ()

    @staticmethod
    @lru_cache(maxsize=1024)
    def parse(text: str) -> Scope:
        """Parse `repository:a/b:pull,push repository:c:pull`; what has another form is kept as it is."""
        return _merged(map(_read, text.split()))

    def __or__(self, other: Scope) -> Scope:
        """Return the union; our resources come first."""
        return _merged((*self.resources, *other.resources))

    def without(self, other: Scope) -> Scope:
        """Return what is here of the resources that `other` does not name."""
        named = {resource for resource, _ in other.resources}
        return Scope(tuple(entry for entry in self.resources if entry[0] not in named))

    def covers(self, other: Scope) -> bool:
        """Say whether all that `other` wants is in here."""
        ours = dict(self.resources)
        return all(
            resource in ours and (actions <= ours[resource] or "*" in ours[resource])
            for resource, actions in other.resources
        )

    def __bool__(self) -> bool:
        return bool(self.resources)

    @property
    def items(self) -> tuple[str, ...]:
        """Each resource with its actions, `repository:a/b:pull,push`."""
        return tuple(_spelled(resource, actions) for resource, actions in self.resources)

    @property
    def repository(self) -> str | None:
        """Name of the first repository, which credentials may be bound to."""
        names = (resource.partition(":") for resource, _ in self.resources)
        return next((name for kind, _, name in names if kind == "repository"), None)

    def __str__(self) -> str:
        return " ".join(self.items)


def _merged(resources: Iterable[tuple[str, frozenset[str]]]) -> Scope:
    merged: dict[str, frozenset[str]] = {}
    for resource, actions in resources:
        merged[resource] = merged.get(resource, frozenset()) | actions
    return Scope(tuple(merged.items()))


def _read(item: str) -> tuple[str, frozenset[str]]:
    resource, _, actions = item.rpartition(":")
    if ":" not in resource:
        return item, frozenset()
    return resource, frozenset(action for action in actions.split(",") if action)


def _spelled(resource: str, actions: frozenset[str]) -> str:
    ordered = sorted(actions, key=lambda action: (_ORDER.get(action, 9), action))
    # Without its colon, the end of `type:host:5000/name` would be read as actions.
    return f"{resource}:{','.join(ordered)}" if ordered or resource.count(":") > 1 else resource
