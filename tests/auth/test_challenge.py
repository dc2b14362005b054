"""Challenges, as servers really write them, and as an attacker would."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, strategies as st

from oci_distribution.auth.challenge import Challenge, parse_challenges

HUB = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push"'
HUB_PARAMETERS = {
    "realm": "https://auth.docker.io/token",
    "service": "registry.docker.io",
    "scope": "repository:a/b:pull,push",
}


def schemes(*values: str) -> list[str]:
    return [challenge.scheme for challenge in parse_challenges(values)]


def parameters(value: str) -> dict[str, str]:
    (challenge,) = parse_challenges([value])
    return dict(challenge.parameters)


def test_a_comma_in_quotes_separates_nothing() -> None:
    """The scope of a usual challenge keeps its comma."""
    assert parse_challenges([HUB]) == [Challenge("bearer", HUB_PARAMETERS)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('Bearer realm="r",scope=""', {"realm": "r", "scope": ""}),
        ('Bearer realm="r",service="",scope="s"', {"realm": "r", "service": "", "scope": "s"}),
        ("Bearer realm=https://h/t,service=s", {"realm": "https://h/t", "service": "s"}),
        ("Bearer scope=,realm=r", {"scope": "", "realm": "r"}),
        ('Bearer  realm = "r" ,\tservice="s"', {"realm": "r", "service": "s"}),
        ('bEaReR REALM="R"', {"realm": "R"}),
        (r'Bearer realm="a\"b\\c\d"', {"realm": 'a"b\\cd'}),
        ('Bearer ,, realm="r",,service="s",', {"realm": "r", "service": "s"}),
        ('Bearer realm="r" service="s" scope="t"', {"realm": "r", "service": "s", "scope": "t"}),
        ('Bearer realm="r",realm="evil"', {"realm": "r"}),
        ('Bearer realm="Größe"', {"realm": "Größe"}),
        ("Basic", {}),
    ],
)
def test_parameters_are_read_as_servers_write_them(value: str, expected: dict[str, str]) -> None:
    """Empty values, missing quotes and commas, spaces, escapes and repetitions are understood."""
    assert parameters(value) == expected


SIMPLE, APPS = (
    Challenge("basic", {"realm": "simple"}),
    Challenge("newauth", {"realm": "apps", "type": "1", "title": 'Login to "apps"'}),
)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        # RFC 9110, section 11.6.1
        (
            [r'Basic realm="simple", Newauth realm="apps", type=1, title="Login to \"apps\""'],
            [SIMPLE, APPS],
        ),
        (
            [r'Newauth realm="apps", type=1, title="Login to \"apps\"", Basic realm="simple"'],
            [APPS, SIMPLE],
        ),
        (
            [r'Newauth realm="apps", type=1, title="Login to \"apps\""', 'Basic realm="simple"'],
            [APPS, SIMPLE],
        ),
        # RFC 7617, section 2.1, and RFC 6750, section 3
        (
            ['Basic realm="foo", charset="UTF-8"'],
            [Challenge("basic", {"realm": "foo", "charset": "UTF-8"})],
        ),
        (
            ['Bearer realm="e", error="invalid_token", error_description="The access token expired"'],
            [
                Challenge(
                    "bearer",
                    {
                        "realm": "e",
                        "error": "invalid_token",
                        "error_description": "The access token expired",
                    },
                )
            ],
        ),
    ],
)
def test_the_examples_of_the_standards(headers: list[str], expected: list[Challenge]) -> None:
    """They mean what the standards say that they mean."""
    assert parse_challenges(headers) == expected


@pytest.mark.parametrize(
    ("registry", "value", "expected"),
    [
        (
            "GHCR",
            'Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:user/image:pull"',
            ("bearer", "https://ghcr.io/token", "ghcr.io", "repository:user/image:pull"),
        ),
        (
            "ECR",
            'Basic realm="https://1.dkr.ecr.eu-west-1.amazonaws.com/",service="ecr.amazonaws.com"',
            ("basic", "https://1.dkr.ecr.eu-west-1.amazonaws.com/", "ecr.amazonaws.com", None),
        ),
        (
            "ACR",
            'Bearer realm="https://x.azurecr.io/oauth2/token",service="x.azurecr.io",error="invalid_token"',
            ("bearer", "https://x.azurecr.io/oauth2/token", "x.azurecr.io", None),
        ),
        (
            "GAR",
            (
                'Bearer realm="https://europe-docker.pkg.dev/v2/token",service="europe-docker.pkg.dev",'
                'scope="repository:p/r/i:pull"'
            ),
            (
                "bearer",
                "https://europe-docker.pkg.dev/v2/token",
                "europe-docker.pkg.dev",
                "repository:p/r/i:pull",
            ),
        ),
        (
            "Quay",
            'Bearer realm="https://quay.io/v2/auth",service="quay.io",scope="repository:o/a:pull"',
            ("bearer", "https://quay.io/v2/auth", "quay.io", "repository:o/a:pull"),
        ),
        (
            "Harbor",
            'Bearer realm="https://h/service/token",service="harbor-registry",scope="repository:l/a:pull"',
            ("bearer", "https://h/service/token", "harbor-registry", "repository:l/a:pull"),
        ),
        (
            "GitLab",
            (
                'Bearer realm="https://gitlab.com/jwt/auth",service="container_registry",'
                'scope="repository:g/p:pull,push",error="insufficient_scope"'
            ),
            ("bearer", "https://gitlab.com/jwt/auth", "container_registry", "repository:g/p:pull,push"),
        ),
        (
            "Gitea",
            'Bearer realm="https://g/v2/token",service="container_registry",scope="*"',
            ("bearer", "https://g/v2/token", "container_registry", "*"),
        ),
        (
            "Nexus",
            'BASIC realm="Sonatype Nexus Repository Manager"',
            ("basic", "Sonatype Nexus Repository Manager", None, None),
        ),
    ],
)
def test_challenges_of_real_registries(
    registry: str, value: str, expected: tuple[str, str, str | None, str | None]
) -> None:
    """Each is one challenge, with all that it names."""
    (challenge,) = parse_challenges([value])
    names = ("realm", "service", "scope")
    assert (challenge.scheme, *map(challenge.parameters.get, names)) == expected


def test_unescaped_quotes_inside_of_a_value_stay_in_it() -> None:
    """A description in which the server quotes something does not cost the realm behind it."""
    value = 'Bearer error_description="the "a/b" is "private"",realm="https://h/token"'
    assert parameters(value) == {"error_description": 'the "a/b" is "private"', "realm": "https://h/token"}


def test_several_challenges_stand_in_one_header_and_in_several() -> None:
    """Each challenge keeps its own parameters, whatever stands beside it."""
    headers = ['Negotiate YII=, Basic realm="b", Bearer realm="t",scope="a,b", NTLM', 'Digest nonce="x, y"']
    assert parse_challenges(headers) == [
        Challenge("negotiate", {}, "YII="),
        Challenge("basic", {"realm": "b"}),
        Challenge("bearer", {"realm": "t", "scope": "a,b"}),
        Challenge("ntlm"),
        Challenge("digest", {"nonce": "x, y"}),
    ]


@pytest.mark.parametrize("value", ["", ",", " , ,", "=", '"', 'realm="r"', "Bearer=", "\x00", "ä ö"])
def test_what_is_no_challenge_is_none(value: str) -> None:
    """Junk is no challenge, and no error."""
    assert [challenge for challenge in parse_challenges([value]) if challenge.scheme == "bearer"] == []


def test_a_quote_that_never_ends_costs_nothing_before_it() -> None:
    """The parameters in front of an open quote are kept, and so is the next header."""
    first, second = parse_challenges(['Bearer realm="r",service="s', 'Basic realm="b"'])
    assert first == Challenge("bearer", {"realm": "r"})
    assert second == Challenge("basic", {"realm": "b"})


@given(st.text(max_size=200) | st.text(alphabet='Ba r=",\\ \t', max_size=200))
def test_nothing_that_a_server_sends_is_an_error(value: str) -> None:
    """Any text is parsed without an exception."""
    parse_challenges([value])


@given(st.text(alphabet='Basic ="\\,/:x\t;', max_size=60))
def test_a_junk_tail_loses_nothing_of_the_head(tail: str) -> None:
    """Whatever follows a whole challenge, its parameters are read as if nothing did."""
    first = parse_challenges([f"{HUB},{tail}"])[0]
    assert first.scheme == "bearer"
    assert dict(first.parameters) | HUB_PARAMETERS == dict(first.parameters)


@given(
    st.dictionaries(
        st.from_regex(r"[a-z_]{1,8}", fullmatch=True),
        st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=20),
        max_size=4,
    )
)
def test_what_is_quoted_by_the_rules_is_read_by_them(expected: dict[str, str]) -> None:
    """Any values come back as they were before they were escaped and quoted."""
    escaped = {name: value.replace("\\", "\\\\").replace('"', '\\"') for name, value in expected.items()}
    text = ", ".join(f'{name}="{value}"' for name, value in escaped.items())
    assert parameters(f"Bearer {text}") == expected


SIZE = 1 << 16


@pytest.mark.parametrize(
    "value",
    [
        "Bearer a=" + " " * SIZE + '"x',
        "Bearer" + " " * SIZE + '"',
        "Bearer a" + " " * SIZE + '"',
        "Bearer " + "," * SIZE + '"',
        "Bearer " + "a" * SIZE + '"',
        "Bearer " + "=" * SIZE + '"',
        "Bearer a=" + "=" * SIZE,
        'Bearer a="' + "\\" * SIZE,
        'Bearer a="' + '"' * SIZE,
        'Bearer a="' + '" x' * (SIZE // 3),
        'Bearer a="' + '" ' * (SIZE // 2) + "\\",
        'Bearer a="' + '"' + " " * SIZE + "x",
        "a," * (SIZE // 2),
        "a " * (SIZE // 2),
        "a=b," * (SIZE // 4),
        "Bearer " + "a=b," * (SIZE // 4),
        "Bearer " + "a=b " * (SIZE // 4) + '"',
        "a " + "b, " * (SIZE // 3) + "=",
    ],
)
def test_a_long_header_takes_no_longer_than_it_is_long(value: str) -> None:
    """No 64 KiB of a hostile server keep us busy: nothing is read again and again."""
    began = time.process_time()
    parse_challenges([value])
    assert time.process_time() - began < 0.5
