"""URLs that registries name: whose they are, and where we do not go."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from oci_distribution.spec.origins import why_forbidden
from oci_distribution.spec.urls import (
    Origin,
    is_local_host,
    is_loopback_host,
    resolve_url,
    same_origin,
    with_query,
)

BASE = "https://registry.example:8443/v2/a/blobs/uploads/"
REGISTRY = Origin("https", "registry.example", 443)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://a.example", Origin("https", "a.example", 443)),
        ("http://a.example/x?y#z", Origin("http", "a.example", 80)),
        ("HTTPS://A.Example:443/", Origin("https", "a.example", 443)),
        ("https://user:pw@a.example/", Origin("https", "a.example", 443)),
        ("https://good.example@evil.example/", Origin("https", "evil.example", 443)),
        ("http://[::1]:5000/", Origin("http", "::1", 5000)),
        ("http://a.example:0/", Origin("http", "a.example", 0)),
        ("http://a.example:/", Origin("http", "a.example", 80)),
    ],
)
def test_origins(url: str, origin: Origin) -> None:
    """Scheme, host and port; the port is always a number."""
    assert Origin.of(url) == origin


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.example",
        "//a.example",
        "/x",
        "ftp://a.example",
        "file:///etc/passwd",
        "https:a.example",
        "https:///x",
        "https://",
        "https://:443/",
        "https://a.example:x/",
        "https://a.example:99999/",
        "https://a.example:-1/",
        "https://[::1/",
        "https://[x]/",
        "https://good.example\\@evil.example/",
        "https://good.example\\.evil.example/",
        "https://a.example/\\x",
        "https://a.example/ x",
        " https://a.example/",
        "https://a.exa\nmple/",
        "https://a.exa\tmple/",
        "https://a.example/\x00",
        "https://a.example/\x7f",
        "https://\uff11\uff12\uff17.0.0.1/",
        "https://\u2460.example/",
        "https://b\u00fccher.example/",
        "https://a.example\uff0fx/",
        "https://a.example\u3002evil.example/",
    ],
)
def test_what_has_no_origin(url: str) -> None:
    """What two libraries may read in two ways is refused; a foreign name is written in its ASCII form."""
    with pytest.raises(ValueError):  # noqa: PT011 - the messages are the standard library's, too
        Origin.of(url)


def test_origins_print_as_they_are_sent() -> None:
    """Without the scheme's own port; an address of IPv6 in brackets."""
    assert str(Origin.of("https://a.example:443/x")) == "https://a.example"
    assert str(Origin.of("http://a.example:443/x")) == "http://a.example:443"
    assert Origin.of("http://[::1]:5000").netloc == "[::1]:5000"
    assert Origin.of("http://[::1]:80").netloc == "[::1]"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://a.example/x", "https://A.EXAMPLE:443/y?z", True),
        ("https://a.example", "http://a.example", False),
        ("https://a.example", "https://a.example:444", False),
        ("https://a.example", "https://a.example:0", False),
        ("https://a.example", "https://b.a.example", False),
        ("https://a.example", "https://a.example.", False),
        ("https://a.example", "https://a.example@evil.example", False),
    ],
)
def test_the_same_origin(one: str, other: str, same: bool) -> None:
    """All three parts are the same."""
    assert same_origin(one, other) is same


LOOPBACK = [
    "localhost",
    "LOCALHOST",
    "localhost.",
    "app.localhost",
    "app.localhost.",
    "127.0.0.1",
    "127.1.2.3",
]
LOOPBACK += [
    "::1",
    "[::1]",
    "::ffff:127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "127.0.0.1.",
]
PRIVATE = [
    "10.0.0.1",
    "192.168.1.1",
    "172.16.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "::",
    "fd00::1",
]
PRIVATE += [
    "fe80::1",
    "fe80::1%eth0",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "2002:a00:1::1",
    "0",
    "0xa9fea9fe",
    "2852039166",
    "10.1",
    "0300.0250.1.1",
]
PUBLIC = [
    "registry.example",
    "localhost.evil.example",
    "evil-localhost",
    "notlocalhost",
    "8.8.8.8",
    "134744072",
]
PUBLIC += [
    "2606:4700::1111",
    "127.0.0.1.evil.example",
    "10.example",
    "1e100.net",
    "127.0.0.1.nip.io",
    "",
    "...",
]


@pytest.mark.parametrize("host", LOOPBACK)
def test_this_machine(host: str) -> None:
    """However it is written; what the resolver reads as an address is one."""
    assert is_loopback_host(host)
    assert is_local_host(host)


@pytest.mark.parametrize("host", PRIVATE)
def test_private_networks(host: str) -> None:
    """Literally; names are not looked up."""
    assert is_local_host(host)
    assert not is_loopback_host(host)


@pytest.mark.parametrize("host", PUBLIC)
def test_everything_else(host: str) -> None:
    """A name is what it ends with, and not what it begins with."""
    assert not is_local_host(host)
    assert not is_loopback_host(host)


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/v2/x", "https://registry.example:8443/v2/x"),
        ("/v2/x?a=%2F'\"&b=c%20", "https://registry.example:8443/v2/x?a=%2F'\"&b=c%20"),
        ("https://Other.Example:443/x?sig=a%2Bb+c&d='", "https://Other.Example:443/x?sig=a%2Bb+c&d='"),
        ("//evil.example/x", "https://evil.example/x"),
        ("uuid?state=a", "https://registry.example:8443/v2/a/blobs/uploads/uuid?state=a"),
        ("?state=a", "https://registry.example:8443/v2/a/blobs/uploads/?state=a"),
        ("../../x", "https://registry.example:8443/v2/a/x"),
        ("", BASE),
        ("/x#fragment", "https://registry.example:8443/x"),
        ("/x?next=http://other.example/", "https://registry.example:8443/x?next=http://other.example/"),
        ("/v2/a://b", "https://registry.example:8443/v2/a://b"),
        ("///x", None),
        ("https:evil.example", None),
        ("https:/evil.example", None),
        ("javascript:alert(1)", None),
        ("ftp://other.example/x", None),
        ("https://", None),
        ("https://other.example:x/", None),
        ("\\\\evil.example\\x", None),
        ("/\\evil.example", None),
        ("https://registry.example\\@evil.example/", None),
        ("/x y", None),
        ("/x\r\nHost: evil.example", None),
        ("/x\x00", None),
        ("\t//evil.example", None),
        ("https://\uff11.example/", None),
    ],
)
def test_locations(location: str, target: str | None) -> None:
    """Byte for byte where they are whole, by RFC 3986 where they are not, refused where they are tricks."""
    if target is None:
        with pytest.raises(ValueError):  # noqa: PT011 - the messages are the standard library's, too
            resolve_url(BASE, location)
    else:
        assert resolve_url(BASE, location) == target


@given(st.text(max_size=40) | st.text(alphabet="/\\:@?#.ahtps ", max_size=20))
def test_any_location_is_a_url_or_a_value_error(location: str) -> None:
    """And its origin is one that the text names, or the registry's own."""
    try:
        target = resolve_url(BASE, location)
    except ValueError:
        return
    assert Origin.of(target).scheme in {"http", "https"}
    assert location.startswith("//") or ":" in location.partition("/")[0] or same_origin(target, BASE)


@pytest.mark.parametrize(
    ("url", "result"),
    [
        ("https://a.example/x", "https://a.example/x?digest=d"),
        ("https://a.example/x?", "https://a.example/x?digest=d"),
        ("https://a.example/x?s=%2B'+&t", "https://a.example/x?s=%2B'+&t&digest=d"),
        ("https://a.example/x?digest=old&s=1", "https://a.example/x?s=1&digest=d"),
        ("/x?digests=1", "/x?digests=1&digest=d"),
    ],
)
def test_a_query_parameter_is_added(url: str, result: str) -> None:
    """What stands there stays byte for byte: it may be signed."""
    assert with_query(url, "digest", "d") == result


@pytest.mark.parametrize(
    "target",
    [
        "https://registry.example/v2/",
        "https://cdn.example/blob?sig=x",
        "https://registry.example:8443/x",
        "https://8.8.8.8/",
    ],
)
def test_where_a_public_registry_may_send_us(target: str) -> None:
    """To itself, and to any other public host over TLS."""
    assert why_forbidden(REGISTRY, target) is None


@pytest.mark.parametrize(
    "target",
    [
        "http://registry.example/v2/",
        "http://cdn.example/",
        "https://user@cdn.example/",
        "https://user:pw@registry.example/",
        "https://localhost/",
        "https://127.0.0.1/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://[::1]/",
        "https://[::ffff:169.254.169.254]/",
        "https://169.254.169.254/latest/meta-data/",
        "https://10.0.0.1/",
        "https://app.localhost./",
        "https://cdn.example\\@127.0.0.1/",
        "ftp://cdn.example/",
        "/v2/",
        "",
    ],
)
def test_where_a_public_registry_may_not_send_us(target: str) -> None:
    """Not out of TLS, not into our own network, and not with a user name; the reason is a text."""
    assert why_forbidden(REGISTRY, target)


def test_exceptions_are_the_users() -> None:
    """What he trusts is allowed; a local registry may name local hosts."""
    trusted = Origin.of("https://10.0.0.1:8443")

    assert why_forbidden(REGISTRY, "https://10.0.0.1:8443/x", trusted=[trusted]) is None
    assert why_forbidden(REGISTRY, "https://10.0.0.1/x", trusted=[trusted])
    assert why_forbidden(Origin("http", "localhost", 5000), "http://127.0.0.1:9000/x") is None
    assert why_forbidden(Origin("https", "10.0.0.5", 443), "https://10.0.0.6/x") is None
    assert why_forbidden(Origin("https", "10.0.0.5", 443), "http://10.0.0.6/x")
