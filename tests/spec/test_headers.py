"""Headers, as registries send them and as attackers might."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from oci_distribution.spec.headers import (
    ByteRange,
    ContentRange,
    chunk_range,
    entity_tag,
    names_entity,
    next_link,
    parse_chunk_min_length,
    parse_content_length,
    parse_content_range,
    parse_links,
    parse_list,
    parse_media_type,
    parse_range,
    parse_retry_after,
    parse_upload_range,
    parse_warnings,
    range_header,
)


@pytest.mark.parametrize(
    ("value", "media_type"),
    [
        ("application/json", "application/json"),
        ("Application/JSON; charset=utf-8", "application/json"),
        (" a/b ;q=1", "a/b"),
        ("", None),
        (";", None),
        ("not a type", None),
        ("a" * 200 + "/b", None),
        (None, None),
    ],
)
def test_content_type(value: str | None, media_type: str | None) -> None:
    """Without parameters, in lower case; what is none says nothing."""
    assert parse_media_type(value) == media_type


@pytest.mark.parametrize(
    ("value", "length"),
    [
        ("0", 0),
        (" 12 ", 12),
        (str(2**59), 2**59),
        ("-1", None),
        ("+1", None),
        ("1_0", None),
        ("1.0", None),
        ("0x1", None),
        ("\uff11", None),
        ("1, 1", None),
        ("", None),
        (None, None),
        ("9" * 10_000, None),
    ],
)
def test_content_length(value: str | None, length: int | None) -> None:
    """A number of digits, and nothing that Python alone takes for one."""
    assert parse_content_length(value) == length


@pytest.mark.parametrize(
    ("value", "parsed"),
    [
        ("bytes 0-99/200", ContentRange(0, 100, 200)),
        ("bytes 5-5/6", ContentRange(5, 6, 6)),
        ("bytes 5-9/*", ContentRange(5, 10, None)),
        ("bytes */200", None),
        ("bytes 9-5/200", None),
        ("bytes 0-200/200", None),
        ("bytes 0-99", None),
        ("0-99/200", None),
        ("items 0-99/200", None),
        ("bytes -5-9/20", None),
        ("bytes 0-" + "9" * 100 + "/*", None),
        ("", None),
        (None, None),
    ],
)
def test_content_range(value: str | None, parsed: ContentRange | None) -> None:
    """Half-open on our side; what contradicts itself is none."""
    assert parse_content_range(value) == parsed


def test_ranges_that_we_send() -> None:
    """Inclusive on the wire, with a unit in one and without in the other."""
    assert range_header(5) == "bytes=5-"
    assert range_header(0, 1) == "bytes=0-0"
    assert range_header(5, 10) == "bytes=5-9"
    assert chunk_range(0, 1) == "0-0"
    assert chunk_range(10, 5) == "10-14"


@pytest.mark.parametrize(
    ("value", "held"),
    [
        ("0-0", 0),
        ("0--1", 0),
        ("0-9", 10),
        ("bytes=0-9", 10),
        (" 0-9 ", 10),
        ("1-9", None),
        ("0-", None),
        (None, None),
    ],
)
def test_how_far_an_upload_is(value: str | None, held: int | None) -> None:
    """Registries answer 0-0 for nothing."""
    assert parse_upload_range(value) == held


@pytest.mark.parametrize(
    ("value", "length"), [("10", 10), ("9" * 15, 1 << 30), ("-5", 0), ("x", 0), (None, 0)]
)
def test_the_minimum_of_a_chunk_is_bounded(value: str | None, length: int) -> None:
    """A server may not make us buffer more than a gigabyte."""
    assert parse_chunk_min_length(value) == length


def test_lists() -> None:
    """Separated by commas, with or without white space."""
    assert parse_list("artifactType, x ,,y") == ("artifactType", "x", "y")
    assert parse_list("") == parse_list(None) == ()


NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 1.5 ", 1.5),
        ("Fri, 02 Jan 2026 03:05:05 GMT", 60.0),
        ("Fri, 02 Jan 2026 04:05:05 +0100", 60.0),
        ("Friday, 02-Jan-26 03:05:05 GMT", 60.0),
        ("Fri Jan  2 03:05:05 2026", 60.0),
        ("Fri, 02 Jan 2026 03:00:00 GMT", 0.0),
        ("-5", None),
        ("soon", None),
        ("inf", None),
        ("nan", None),
        ("1e9", None),
        ("9" * 5000, None),
        ("Fri, 99 Jan 2026 03:05:05 GMT", None),
        ("Fri, 02 Jan 99999 03:05:05 GMT", None),
        ("Fri, 02 Jan 2026 03:05:05 +" + "9" * 20, None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    """Both forms, never negative; nonsense is as if it were not there."""
    assert parse_retry_after(value, now=NOW) == seconds


def test_retry_after_counts_from_now() -> None:
    """A date without a given moment is compared with the clock."""
    value = (datetime.now(UTC) + timedelta(hours=1)).strftime("%a, %d %b %Y %H:%M:%S GMT")

    seconds = parse_retry_after(value)

    assert seconds is not None
    assert 3500 < seconds <= 3600


@given(
    st.text(max_size=60) | st.from_regex(r"\w{3}, \d+ \w{3} \d+ \d+:\d+:\d+ ([+-]\d+|GMT)", fullmatch=True)
)
def test_any_retry_after_is_seconds_or_nothing(value: str) -> None:
    """No exception comes out of a header."""
    seconds = parse_retry_after(value, now=NOW)

    assert seconds is None or seconds >= 0


@pytest.mark.parametrize(
    ("values", "target"),
    [
        (['</v2/_catalog?last=a&n=2>; rel="next"'], "/v2/_catalog?last=a&n=2"),
        (["<x>; rel=next"], "x"),
        (["<x>;rel=NEXT"], "x"),
        (['<x> ; rel = "prev next"'], "x"),
        (["<a>; rel=prev, <x>; rel=next"], "x"),
        (["<a>; rel=prev", "<x>; rel=next"], "x"),
        (["<a,b;c>; rel=next"], "a,b;c"),
        (['<x>; title="a, <y>; rel=next"; rel=next'], "x"),
        (['<y>; title="; rel=next"', "<x>; rel=next"], "x"),
        ([r'<x>; title="\""; rel=next'], "x"),
        (["<x>; rel=next;"], "x"),
        (["<x>;; rel=next"], "x"),
        ([",, <x>; rel=next"], "x"),
        (["<>; rel=next"], ""),
        (["<x>; rel=prev; rel=next"], None),
        (["<x>; rel=nextpage"], None),
        (["<x>"], None),
        (["x; rel=next"], None),
        (["<x; rel=next"], None),
        (['<x>; rel="next'], None),
        ([""], None),
        ([], None),
    ],
)
def test_the_next_page(values: list[str], target: str | None) -> None:
    """Several links, in one header or in more; targets as they are spelled."""
    assert next_link(values) == target


HOSTILE = [
    "<x>" + ";a=   " * 5000 + '"',
    "<x>" + ";a = b  " * 5000 + '"',
    "<x>" + " " * 100_000 + "!",
    "<x>;" + " " * 100_000 + "!",
    "<x>;a" + " " * 100_000 + '"',
    "<x>" + ";" * 100_000 + '"',
    "<" * 100_000,
    "<x>;" * 30_000,
    "," * 100_000 + "x",
    '<x>;a="' + '\\"' * 50_000,
    "<x>," * 30_000 + "!",
]


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_link_costs_nothing(value: str) -> None:
    """The pattern never backtracks: sixty bytes could cost minutes otherwise."""
    start = time.perf_counter()

    list(parse_links([value]))

    assert time.perf_counter() - start < 2


@given(st.lists(st.text(alphabet='<>;,=" \\abrelnxt', max_size=60), max_size=3))
def test_any_link_header_can_be_read(values: list[str]) -> None:
    """It gives links or nothing, and no exception."""
    for link in parse_links(values):
        assert ">" not in link.target


@pytest.mark.parametrize(
    ("value", "asked"),
    [
        ("bytes=0-0", ByteRange(0, 0)),
        (" Bytes=3-9 ", ByteRange(3, 9)),
        ("bytes=3-", ByteRange(3, None)),
        ("bytes=-3", ByteRange(None, 3)),
        ("bytes=9-3", ByteRange(9, 3)),
        ("bytes=-", None),
        ("bytes=0-1,3-4", None),
        ("bytes=0-1\n2", None),
        ("bytes=\uff11-2", None),
        ("lines=0-1", None),
        ("", None),
        (None, None),
        (f"bytes=0-{'9' * 10_000}", None),
    ],
)
def test_range(value: str | None, asked: ByteRange | None) -> None:
    """One range of bytes; several, and what is malformed, are none."""
    assert parse_range(value) == asked


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (ByteRange(2, 4), [2, 3, 4]),
        (ByteRange(8, 99), [8, 9]),
        (ByteRange(8, None), [8, 9]),
        (ByteRange(None, 2), [8, 9]),
        (ByteRange(None, 99), list(range(10))),
        (ByteRange(None, 0), []),
        (ByteRange(10, 10), []),
        (ByteRange(4, 2), []),
    ],
)
def test_range_of_ten_bytes(asked: ByteRange, found: list[int]) -> None:
    """What there is of it."""
    assert list(asked.within(10)) == found


def test_range_that_ends_before_it_starts() -> None:
    """It is told from one that asks for what is not there."""
    ranges = [ByteRange(4, 2), ByteRange(4, 4), ByteRange(4, None), ByteRange(None, 2)]
    assert [asked.is_backwards for asked in ranges] == [True, False, False, False]


@pytest.mark.parametrize(
    ("condition", "strong", "weak"),
    [
        ('"a"', True, True),
        ("*", True, True),
        (' "b", "a"', True, True),
        ('W/"a"', False, True),
        ('W/"b", "a"', True, True),
        ("a", False, False),
        ('"b"', False, False),
        ('"*"', False, False),
        ("", False, False),
    ],
)
def test_entity_tags(condition: str, strong: bool, weak: bool) -> None:
    """A list names what is there, or everything; a weak tag only where that is enough."""
    assert names_entity(condition, entity_tag("a"), weak=False) is strong
    assert names_entity(condition, entity_tag("a")) is weak


def test_hostile_entity_tags_take_no_time() -> None:
    """A megabyte of quotation marks is read once."""
    began = time.monotonic()
    assert not names_entity('W/"' * 400_000, entity_tag("a"))
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([], ()),
        (
            ['299 - "Your auth token will expire in 30 seconds."'],
            ("Your auth token will expire in 30 seconds.",),
        ),
        (['299 - "one", 299 - "two"', '299 - "three"'], ("one", "two", "three")),
        (['299 - "once", 299 - "once"', '299 - "once"'], ("once",)),
        (['299 - "it says \\"no\\", and \\\\"'], ('it says "no", and \\',)),
        (['299 - "with a date" "Wed, 25 Nov 2026 12:00:00 GMT", 299 - "next"'], ("with a date", "next")),
        (['110 anderson/1.3.37 "Response is stale", 299 - "ours"'], ("ours",)),
        (['299 proxy.example "of a proxy"'], ()),
        (['299 - ""', '299 - "  "'], ()),
        (["299 - unquoted"], ()),
        (['299 - "not closed'], ()),
        (['299 - "one" junk, 299 - "two"'], ()),
        (['299 - "one", junk, 299 - "two"'], ("one",)),
        ([', , 299  -  "spaces" ,'], ("spaces",)),
        (['299 - "\x1b[2J\u202egnp.exe\u2028 bell\x07"'], ("[2J gnp.exe  bell",)),
        (['299 - "' + "x" * 4000 + '"', '299 - "too much by now' + "y" * 100 + '"'], ("x" * 4000,)),
        (['299 - "' + "x" * 5000 + '"', '299 - "short"'], ()),
        (['٢٩٩ - "other digits"'], ()),
    ],
)
def test_warnings(values: list[str], texts: tuple[str, ...]) -> None:
    """The registry's own, unquoted, printable, once each, and no more than a registry may send."""
    assert parse_warnings(values) == texts


@given(st.lists(st.text(alphabet='29- "\\,x\n', max_size=60), max_size=4))
def test_any_warnings_are_taken(values: list[str]) -> None:
    """Nothing raises, and nothing that cannot be printed comes out."""
    assert all(text.isprintable() and text for text in parse_warnings(values))


@pytest.mark.parametrize(
    "value", ['299 - "' + '\\"' * 30_000, '299 - "x" ' * 8000, "," * 60_000, '299 - "a",' * 6000]
)
def test_hostile_warnings_take_no_time(value: str) -> None:
    """Every header of that size is parsed in a moment."""
    began = time.monotonic()
    parse_warnings([value] * 10)
    assert time.monotonic() - began < 5
