"""Providers made of a table, or of other providers."""

from __future__ import annotations

import pytest

from oci_distribution.auth.credentials import ANONYMOUS, Credential
from oci_distribution.auth.providers import ChainProvider, StaticProvider
from oci_distribution.errors import CredentialError, InvalidArgument
from tests.auth.scripted import ANN, Provider

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
