"""Scopes are sets: what is spelled is read again, and union and covering keep their laws."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from oci_distribution.auth.scope import Scope

NAMES = st.sampled_from(
    ["repository:a", "repository:host:5000/a/b", "registry:catalog", "repository(plugin):p"]
)
ACTIONS = st.frozensets(st.sampled_from(["pull", "push", "delete", "*", "x"]), max_size=3)
SCOPES = st.lists(st.tuples(NAMES, ACTIONS), max_size=4).map(
    lambda pairs: Scope.parse(" ".join(f"{name}:{','.join(sorted(actions))}" for name, actions in pairs))
)
TEXTS = st.text(alphabet="ab:,*/ \t", max_size=40) | st.text(max_size=40)


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("repository:a/b:push,pull", "repository:a/b:pull,push"),
        ("repository:a:*,delete,push,pull,archive", "repository:a:pull,push,delete,*,archive"),
        ("repository:a:pull repository:a:push", "repository:a:pull,push"),
        ("repository:b:pull repository:a:pull", "repository:b:pull repository:a:pull"),
        ("repository:host:5000/a:pull", "repository:host:5000/a:pull"),
        ("  repository:a:pull,,pull \t ", "repository:a:pull"),
        ("whatever", "whatever"),
        ("", ""),
    ],
)
def test_a_scope_has_one_spelling(text: str, spelled: str) -> None:
    """Actions are ordered and merged, resources stay where they were first named."""
    assert str(Scope.parse(text)) == spelled


@given(TEXTS)
def test_what_is_spelled_is_read_again(text: str) -> None:
    """Any text is read without an error, and its spelling means the same."""
    scope = Scope.parse(text)
    assert Scope.parse(str(scope)) == scope
    assert bool(scope) == bool(text.split())


@given(SCOPES, SCOPES, SCOPES)
def test_union_is_associative_and_idempotent(one: Scope, two: Scope, three: Scope) -> None:
    """Unions may be made in any grouping and more than once, and the empty scope adds nothing."""
    assert (one | two) | three == one | (two | three)
    assert one | two | two == one | two
    assert one | Scope() == one == Scope() | one


@given(SCOPES, SCOPES)
def test_a_union_has_the_same_contents_in_either_order(one: Scope, two: Scope) -> None:
    """Only the order of the resources differs, ours first."""
    assert dict((one | two).resources) == dict((two | one).resources)
    assert (one | two).resources[: len(one.resources)] == tuple(
        (name, dict((one | two).resources)[name]) for name, _ in one.resources
    )


@given(SCOPES, SCOPES, SCOPES)
def test_covering_is_an_order_with_unions_above(one: Scope, two: Scope, three: Scope) -> None:
    """A scope covers itself, a union covers its parts, and who covers a coverer covers the covered."""
    assert one.covers(one)
    assert one.covers(Scope())
    assert (one | two).covers(one)
    assert (one | two).covers(two)
    assert not (one.covers(two) and two.covers(three)) or one.covers(three)


def test_a_star_covers_every_action_of_its_resource_only() -> None:
    """`*` is all actions, on that resource and on no other."""
    everything = Scope.parse("repository:a:*")
    assert everything.covers(Scope.parse("repository:a:pull,delete"))
    assert not everything.covers(Scope.parse("repository:b:pull"))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("repository:a/b:pull repository:c:pull", "a/b"),
        ("registry:catalog:* repository:c:pull", "c"),
        ("registry:catalog:*", None),
        ("", None),
    ],
)
def test_the_first_repository_is_the_one_that_credentials_are_for(text: str, name: str | None) -> None:
    """The repository of a scope is the first that it names."""
    assert Scope.parse(text).repository == name
