"""The exception tree: what is caught by what, what it says, and what it must not say."""

from __future__ import annotations

import pickle
import traceback

import pytest
from hypothesis import given, strategies as st

import oci_distribution as oci
from oci_distribution import errors
from oci_distribution.errors import CODE_CLASSES, STATUS_CLASSES, redact_url

CLASSES = [
    value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, errors.OCIError)
]
CONTEXT = oci.RequestContext(
    method="GET",
    url="https://registry.example/v2/",
    registry="registry.example",
    status=404,
    request_id="abc-1",
    retry_after=2.5,
    attempts=(oci.Attempt("status 503", 1.0), oci.Attempt("BrokenAnswer")),
)
DETAIL = oci.ErrorDetail("MANIFEST_UNKNOWN", "no such", {"Tag": "v1"})


def made(cls: type[errors.OCIError]) -> errors.OCIError:
    if issubclass(cls, oci.CopyError):
        return cls("cannot copy", [oci.NotFound("a"), oci.BlobUnknown("b", context=CONTEXT, errors=[DETAIL])])
    if issubclass(cls, oci.ResponseError):
        return cls("no", context=CONTEXT, errors=[DETAIL])
    if issubclass(cls, oci.RequestError):
        return cls("no", context=CONTEXT)
    return cls("no").about(CONTEXT)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_has_a_name_on_the_face(cls: type[errors.OCIError]) -> None:
    """What can be raised can be caught by its public name, and is drawn in the tree."""
    assert getattr(oci, cls.__name__) is cls
    assert cls.__name__ in errors.__all__
    assert cls.__name__ in (errors.__doc__ or "") or cls is oci.OCIError
    assert cls.__doc__


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_can_be_made_and_read(cls: type[errors.OCIError]) -> None:
    """Its context can be asked for, whatever it is."""
    error = made(cls)

    assert isinstance(error, oci.OCIError)
    assert str(error)
    assert str(cls.__new__(cls, "bare", [ValueError()]) if cls is oci.CopyError else cls("bare"))
    if cls is not oci.CopyError:
        assert (error.method, error.url, error.registry) == ("GET", CONTEXT.url, "registry.example")
        assert (error.status, error.request_id, error.retry_after) == (404, "abc-1", 2.5)
        assert [attempt.reason for attempt in error.attempts] == ["status 503", "BrokenAnswer"]


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_goes_to_other_processes(cls: type[errors.OCIError]) -> None:
    """Pickled and back it has its type, text, context, details and notes."""
    error = made(cls)
    error.add_note("seen on a Monday")

    again = pickle.loads(pickle.dumps(error))

    assert type(again) is cls
    assert (str(again), again.args[:1], again.context) == (str(error), error.args[:1], error.context)
    assert again.__notes__ == ["seen on a Monday"]
    if isinstance(again, oci.ResponseError):
        assert again.errors == (DETAIL,)
        assert again.codes == ("MANIFEST_UNKNOWN",)
    if isinstance(again, oci.CopyError):
        first, second = again.errors
        assert (str(first), type(second)) == ("a", oci.BlobUnknown)
        assert isinstance(second, oci.ResponseError)
        assert second.errors == (DETAIL,)


@pytest.mark.parametrize(
    ("cls", "bases"),
    [
        (oci.InvalidReference, (oci.InvalidArgument, ValueError)),
        (oci.InvalidDigest, (oci.InvalidArgument, ValueError)),
        (oci.InvalidMediaType, (oci.InvalidArgument, ValueError)),
        (oci.CredentialError, (oci.ConfigError,)),
        (oci.InvalidLayout, (oci.StoreError,)),
        (oci.DigestMismatch, (oci.ContentError,)),
        (oci.SizeMismatch, (oci.ContentError,)),
        (oci.LimitExceeded, (oci.ContentError,)),
        (oci.InvalidManifest, (oci.ContentError,)),
        (oci.TLSError, (oci.ConnectError, oci.TransportError, oci.RequestError)),
        (oci.TimeoutExceeded, (oci.TransportError, TimeoutError)),
        (oci.BrokenAnswer, (oci.TransportError,)),
        (oci.BlobUnknown, (oci.ResponseError, oci.NotFound)),
        (oci.ManifestUnknown, (oci.ResponseError, oci.NotFound)),
        (oci.NameUnknown, (oci.ResponseError, oci.NotFound)),
        (oci.Unsupported, (oci.ResponseError, oci.UnsupportedError)),
        (oci.CopyError, (oci.OCIError, ExceptionGroup)),
    ],
)
def test_what_is_caught_by_what(cls: type[Exception], bases: tuple[type[Exception], ...]) -> None:
    """By its kind, and by Python's own class where there is one."""
    assert issubclass(cls, bases)


def test_every_code_of_the_specification_has_its_class() -> None:
    """Named after it, without underscores."""
    for code, cls in CODE_CLASSES.items():
        assert cls.__name__.lower() == code.replace("_", "").lower() or code == "TOOMANYREQUESTS"
        assert issubclass(cls, oci.ResponseError)
        assert code in (cls.__doc__ or "") or cls is oci.RangeInvalid
    assert set(STATUS_CLASSES.values()) <= set(CODE_CLASSES.values())


def test_an_error_says_all_that_is_known() -> None:
    """Request, reason, attempts, and what the server calls it in its own logs."""
    text = str(made(oci.ManifestUnknown))

    assert text == "GET https://registry.example/v2/: no (after 3 attempts) [request id abc-1]"
    assert str(oci.NotFound("alone")) == "alone"


def test_attempts_can_be_noted_later() -> None:
    """On the very same error."""
    error = oci.ResponseError("no", context=oci.RequestContext(method="GET", url="https://a.example/"))

    assert error.with_attempts([oci.Attempt("status 500", 0.5)]) is error
    assert error.attempts == (oci.Attempt("status 500", 0.5),)
    assert error.method == "GET"


def test_no_error_shares_its_context() -> None:
    """What one met is not what another met."""
    oci.NotFound("one").about(CONTEXT)

    assert oci.NotFound("other").context == oci.RequestContext()


def test_a_copy_error_is_a_group() -> None:
    """`except*` and `split` take it apart, and every part is a CopyError."""
    reasons = [oci.NotFound("a"), oci.BlobUnknown("b"), oci.DigestMismatch("c")]
    error = oci.CopyError("cannot copy", reasons)

    assert error.errors == tuple(reasons)
    assert str(error) == "cannot copy: a; b; c"
    missing, others = error.split(oci.NotFound)
    assert isinstance(missing, oci.CopyError)
    assert isinstance(others, oci.CopyError)
    assert [str(reason) for reason in missing.errors] == ["a", "b"]
    assert [str(reason) for reason in others.errors] == ["c"]
    assert error.subgroup(oci.OCIError) is error


def test_except_star_leaves_the_rest() -> None:
    """What is handled is gone; what is left is a CopyError with the same message."""
    handled: list[Exception] = []

    with pytest.raises(oci.CopyError) as caught:
        try:
            raise oci.CopyError("cannot copy", [oci.NotFound("a"), oci.DigestMismatch("c")])
        except* oci.NotFound as group:
            handled.extend(group.exceptions)

    assert [str(error) for error in handled] == ["a"]
    assert [type(error) for error in caught.value.errors] == [oci.DigestMismatch]
    assert str(caught.value) == "cannot copy: c"


def test_a_copy_error_can_hold_others() -> None:
    """One of several copies; a traceback shows them all."""
    inner = oci.CopyError("inner", [oci.NotFound("a")])
    outer = oci.CopyError("outer", [inner, ValueError("b")])

    text = "".join(traceback.format_exception(outer))

    assert str(outer) == "outer: inner: a; b"
    assert "NotFound: a" in text
    assert "ValueError: b" in text


def test_a_copy_error_has_a_reason() -> None:
    """Without any it would say nothing."""
    with pytest.raises(ValueError, match="non-empty"):
        oci.CopyError("cannot copy", [])


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://a.example/v2/x?n=5&last=b", "https://a.example/v2/x?n=5&last=b"),
        (
            "https://a.example/x?digest=sha256:a&_state=s3cret",
            "https://a.example/x?digest=sha256:a&_state=***",
        ),
        ("https://user:s3cret@a.example/x", "https://a.example/x"),
        ("https://s3cret@a.example", "https://a.example"),
        ("https://a@s3cret@a.example/x", "https://a.example/x"),
        (
            "https://a.example/x?X-Amz-Signature=s3cret&sig=s3cret",
            "https://a.example/x?X-Amz-Signature=***&sig=***",
        ),
        ("https://a.example/x?s3cret", "https://a.example/x?***"),
        ("https://a.example/x?a==s3cret", "https://a.example/x?a=***"),
        ("https://a.example/x?digest=a;sig=s3cret", "https://a.example/x?digest=***"),
        ("https://a.example/x#s3cret", "https://a.example/x"),
        ("https://a.example/x?a=b#s3cret", "https://a.example/x?a=***"),
        ("https://a.example/token?scope=repository:a:pull&service=b", None),
        ("//user:s3cret@a.example/x", "//a.example/x"),
        ("https:user:s3cret@a.example/x", "a.example/x"),
        ("https://[s3cret@a.example/x", "https://a.example/x"),
        ("https://[::1/x", None),
        ("/v2/x?_state=s3cret", "/v2/x?_state=***"),
        ("", ""),
    ],
)
def test_urls_are_shown_without_secrets(url: str, shown: str | None) -> None:
    """Neither userinfo nor what signs a URL, and no exception, whatever a server sent."""
    assert redact_url(url) == (url if shown is None else shown)
    assert "s3cret" not in redact_url(url)


@given(st.text(max_size=60) | st.text(alphabet="ahtps:/@?#&=[]", max_size=30))
def test_any_url_can_be_shown(url: str) -> None:
    """Redacting is for what went wrong, and must not go wrong itself."""
    assert redact_url(redact_url(url)) == redact_url(url)
