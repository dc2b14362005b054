"""Providers made of a table, or of other providers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from oci_distribution.auth.authorizer import Authorizer
from oci_distribution.auth.credentials import ANONYMOUS, AuthProvider, Credential
from oci_distribution.auth.providers import ChainProvider, StaticProvider
from oci_distribution.errors import CredentialError, InvalidArgument
from tests.auth.scripted import ANN, NAME, ORIGIN, PULL, Provider

BOB = Credential("bob", "b0b")


@pytest.mark.parametrize(
    ("host", "repository", "credential"),
    [
        ("ghcr.io", "org/app", ANN),
        ("ghcr.io", None, ANN),
        ("quay.io", "org/app", BOB),
        ("quay.io", "org/team/app", ANN),
        ("quay.io", "organisation/app", ANONYMOUS),
        ("quay.io", None, ANONYMOUS),
        ("other.example", "org/app", ANONYMOUS),
    ],
)
async def test_a_table_is_looked_up_by_registry_and_namespace(
    host: str, repository: str | None, credential: Credential
) -> None:
    """The longest namespace decides, by whole components."""
    provider = StaticProvider({"ghcr.io": ANN, "quay.io/org": BOB, "quay.io/org/team": ANN})
    assert await provider(host, repository) == credential


@pytest.mark.parametrize(
    "key",
    [
        "docker.io",
        "index.docker.io",
        "registry-1.docker.io",
        "https://index.docker.io/v1/",
        "docker.io/library",
        "index.docker.io/library",
    ],
)
async def test_every_name_of_docker_hub_will_do(key: str) -> None:
    """As in credential files."""
    assert await StaticProvider({key: ANN})("docker.io", "library/alpine") == ANN


@pytest.mark.parametrize("key", ["", " ", "*.example", "not a host", "user:pass@host", "https://", "/org"])
def test_a_key_that_names_no_registry_is_an_error(key: str) -> None:
    """It would never be found, and the user would not know why; a password in it is not shown."""
    with pytest.raises(InvalidArgument) as caught:
        StaticProvider({key: ANN})
    assert "pass" not in str(caught.value).replace("password", "")


async def test_a_chain_ends_with_the_first_that_knows() -> None:
    """Those behind it are not asked."""
    nobody, first, second = Provider(), Provider(ANN), Provider(BOB)
    assert await ChainProvider(nobody, first, second)("h", "a") == ANN
    assert (nobody.asked, first.asked, second.asked) == ([("h", "a")], [("h", "a")], [])
    assert await ChainProvider(nobody)("h", None) == ANONYMOUS
    assert await ChainProvider()("h", None) == ANONYMOUS


async def test_a_broken_link_breaks_the_chain() -> None:
    """What cannot be read was meant to count: nobody goes on as somebody else."""

    async def broken(host: str, repository: str | None) -> Credential:
        raise CredentialError("config.json is no credential file")

    with pytest.raises(CredentialError):
        await ChainProvider(broken, Provider(ANN))("h", None)


def test_they_show_no_secret() -> None:
    """What is shown is where credentials come from."""
    text = repr(ChainProvider(StaticProvider({"ghcr.io": ANN})))
    assert text == "ChainProvider(StaticProvider({'ghcr.io'}))"


async def nothing(host: str, repository: str | None) -> None:
    del host, repository


def at_once(host: str, repository: str | None) -> Credential:
    del host, repository
    return Credential("me", "s3cr3t")


@pytest.mark.parametrize(
    ("provider", "name", "answer"),
    [
        (nothing, "nothing", "NoneType"),
        (at_once, "at_once", "Credential"),
        (StaticProvider({NAME: ("me", "s3cr3t")}), "StaticProvider", "tuple"),  # type: ignore[dict-item]
    ],
)
@pytest.mark.parametrize("wrap", [lambda provider: provider, ChainProvider])
async def test_what_is_no_provider_is_said(
    provider: Any, name: str, answer: str, wrap: Callable[[Any], AuthProvider]
) -> None:
    """With its name and the registry, and without what it returned."""
    authorizer = Authorizer(wrap(provider))
    with pytest.raises(CredentialError, match=f"{name} returned {answer} when .* {NAME}") as caught:
        await authorizer.authorize(ORIGIN, NAME, PULL)
    assert "s3cr3t" not in str(caught.value)
