"""The exception tree.

    OCIError
    ├── InvalidArgument (ValueError)        a bad argument, found before any request
    │   ├── InvalidReference
    │   ├── InvalidDigest
    │   └── InvalidMediaType
    ├── ConfigError                         a file or variable that configures us is broken
    │   └── CredentialError                 a credential file or helper is
    ├── StoreError                          a store on disk cannot be read or written
    │   └── InvalidLayout                   it is no OCI layout, or a broken one
    ├── NotFound                            a store does not hold it
    ├── TagExists                           a tag that must not move points elsewhere
    ├── UnsupportedError                    the other side cannot do it
    ├── ContentError                        bytes are not what they must be
    │   ├── DigestMismatch
    │   ├── SizeMismatch
    │   ├── LimitExceeded                   longer than we are willing to hold
    │   └── InvalidManifest                 malformed or ambiguous
    ├── RequestError                        a request to a host failed
    │   ├── TransportError                  no (whole) answer: connection, TLS, time
    │   │   ├── ConnectError
    │   │   │   └── TLSError
    │   │   ├── TimeoutExceeded (TimeoutError)
    │   │   │   └── DeadlineExceeded        the whole of it took too long
    │   │   └── BrokenAnswer                it stopped half-way
    │   ├── ProtocolError                   an answer that no registry may give
    │   ├── ForbiddenOrigin                 it sent us where we must not go
    │   ├── TokenError                      the token server refused or failed
    │   └── ResponseError                   a status that means no, one class for each code:
    │       ├── BlobUnknown, ManifestUnknown, NameUnknown (NotFound)
    │       ├── BlobUploadUnknown, BlobUploadInvalid, DigestInvalid, SizeInvalid, RangeInvalid
    │       ├── ManifestInvalid, ManifestBlobUnknown, NameInvalid, TagInvalid
    │       ├── Unauthorized, Denied, TooManyRequests
    │       └── Unsupported (UnsupportedError)
    └── CopyError (ExceptionGroup)          what a fan-out raises, always

Misuse of an object (a closed client, a reader read twice) is a `RuntimeError`, outside the tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Self

__all__ = [
    "Attempt",
    "BlobUnknown",
    "BlobUploadInvalid",
    "BlobUploadUnknown",
    "BrokenAnswer",
    "ConfigError",
    "ConnectError",
    "ContentError",
    "CopyError",
    "CredentialError",
    "DeadlineExceeded",
    "Denied",
    "DigestInvalid",
    "DigestMismatch",
    "ErrorDetail",
    "ForbiddenOrigin",
    "InvalidArgument",
    "InvalidDigest",
    "InvalidLayout",
    "InvalidManifest",
    "InvalidMediaType",
    "InvalidReference",
    "LimitExceeded",
    "ManifestBlobUnknown",
    "ManifestInvalid",
    "ManifestUnknown",
    "NameInvalid",
    "NameUnknown",
    "NotFound",
    "OCIError",
    "ProtocolError",
    "RangeInvalid",
    "RequestContext",
    "RequestError",
    "ResponseError",
    "SizeInvalid",
    "SizeMismatch",
    "StoreError",
    "TLSError",
    "TagExists",
    "TagInvalid",
    "TimeoutExceeded",
    "TokenError",
    "TooManyRequests",
    "TransportError",
    "Unauthorized",
    "Unsupported",
    "UnsupportedError",
    "redact_url",
]


def printable(text: str, limit: int | None = None) -> str:
    """Return the beginning of what a server says, fit for a terminal and a log: it could move the cursor."""
    begin = text[:limit]
    if begin.isprintable():
        return begin
    return "".join(character if character.isprintable() else " " for character in begin)


@lru_cache(maxsize=4096)
def redact_url(url: str) -> str:
    """Return `url` fit for eyes: without userinfo, and with what its query says hidden.

    Signed storage URLs and upload locations carry their secrets there. Anything is taken, since it may be
    what a hostile server wrote.
    """
    head, question, query = url.partition("#")[0].partition("?")
    scheme, slashes, rest = head.partition("//") if "//" in head else ("", "", head)
    authority, slash, path = rest.partition("/")
    bare = f"{scheme}{slashes}{authority.rpartition('@')[2]}{slash}{path}"
    return printable(bare + question + "&".join(_hide(pair) for pair in query.split("&")))


# What the specifications' own query parameters say is no secret, and explains a failure.
_HARMLESS_PARAMETERS = frozenset(
    {"artifactType", "digest", "digest-algorithm", "from", "last", "mount", "n", "scope", "service", "tag"}
)


def _hide(pair: str) -> str:
    name, equals, value = pair.partition("=")
    if not pair or (name in _HARMLESS_PARAMETERS and ";" not in value):
        return pair
    return f"{name}=***" if value else f"***{equals}"


@dataclass(frozen=True, slots=True)
class ErrorDetail:
    """One entry of a registry's error body, see "Error Codes" in the distribution specification."""

    code: str
    message: str = ""
    detail: Any = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a request that failed, and the wait after it.

    Args:
        reason: Why it failed: a status or the name of what broke.
        waited: Seconds of pause before the next try.
    """

    reason: str
    waited: float = 0.0


@dataclass(frozen=True, slots=True)
class RequestContext:
    """Which request an error is about, without secrets."""

    method: str = ""
    url: str = ""
    registry: str = ""
    status: int | None = None
    request_id: str | None = None
    retry_after: float | None = None
    attempts: tuple[Attempt, ...] = ()


class OCIError(Exception):
    """Base of everything that this library raises on purpose, save misuse."""

    context: RequestContext = RequestContext()
    """The request that met it; empty where no request is to blame."""

    @property
    def method(self) -> str:
        """Method of the request."""
        return self.context.method

    @property
    def url(self) -> str:
        """URL of the request, redacted."""
        return self.context.url

    @property
    def registry(self) -> str:
        """Host that the request was meant for."""
        return self.context.registry

    @property
    def status(self) -> int | None:
        """Status of the answer; None when there was none."""
        return self.context.status

    @property
    def request_id(self) -> str | None:
        """What the server calls this request in its own logs, when it says."""
        return self.context.request_id

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asked us to wait."""
        return self.context.retry_after

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The tries before the last one."""
        return self.context.attempts

    def about(self, context: RequestContext) -> Self:
        """Return this very error, with the request noted that met it."""
        self.context = context
        return self

    def __str__(self) -> str:
        context = self.context
        text = super().__str__()
        if context.method:
            text = f"{context.method} {context.url}: {text}"
        if context.attempts:
            text += f" (after {len(context.attempts) + 1} attempts)"
        if context.request_id:
            text += f" [request id {context.request_id}]"
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        # The default would call the class with `args` alone, and keyword-only arguments would be lost.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(cls: type[OCIError], args: tuple[Any, ...], state: dict[str, Any]) -> OCIError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class InvalidArgument(OCIError, ValueError):
    """An argument is not valid; nothing was sent."""


class InvalidReference(InvalidArgument):
    """A name, tag or reference breaks the grammar."""


class InvalidDigest(InvalidArgument):
    """A digest breaks the grammar, or uses an algorithm that we cannot compute."""


class InvalidMediaType(InvalidArgument):
    """A media type breaks the grammar of RFC 6838."""


class ConfigError(OCIError):
    """A file or variable that configures the client cannot be used."""


class CredentialError(ConfigError):
    """A credential file is broken, or a credential helper failed."""


class StoreError(OCIError):
    """A store on disk cannot be read or written."""


class InvalidLayout(StoreError):
    """A directory is no OCI image layout, or a broken one."""


class NotFound(OCIError):
    """A store does not hold what was asked for."""


class TagExists(OCIError):
    """A tag that must not move points at something else already."""


class UnsupportedError(OCIError):
    """The other side, or this library, cannot do what was asked for."""


class ContentError(OCIError):
    """Bytes are not what their descriptor or their kind says they are."""


class DigestMismatch(ContentError):
    """Bytes hash to another digest than they were asked for by."""


class SizeMismatch(ContentError):
    """There are more or fewer bytes than the descriptor says."""


class LimitExceeded(ContentError):
    """Something is larger than we are willing to hold in memory."""


class InvalidManifest(ContentError):
    """A manifest is malformed, or could be read in two ways (CVE-2021-41190)."""


class RequestError(OCIError):
    """A request to a host failed; `context` says which and how often it was tried.

    Args:
        message: What to tell the user.
        context: Which request it was.
    """

    def __init__(self, message: str, *, context: RequestContext | None = None) -> None:
        super().__init__(message)
        self.about(context if context is not None else RequestContext())

    def with_attempts(self, attempts: Iterable[Attempt]) -> Self:
        """Return this very error, with the tries that came before it noted."""
        return self.about(replace(self.context, attempts=tuple(attempts)))


class TransportError(RequestError):
    """There was no answer, or not a whole one."""


class ConnectError(TransportError):
    """No connection: name, network, port or TLS; nothing was sent."""


class TLSError(ConnectError):
    """The two sides do not agree on TLS: a certificate that we do not trust, or no TLS at all."""


class TimeoutExceeded(TransportError, TimeoutError):
    """The host took longer than the timeouts allow."""


class DeadlineExceeded(TimeoutExceeded):
    """An operation took longer than `Timeouts.total`, retries and waits included; it is not tried again."""


class BrokenAnswer(TransportError):
    """The connection broke before the answer, or in the middle of it."""


class ProtocolError(RequestError):
    """The answer is one that no registry may give."""


class ForbiddenOrigin(RequestError):
    """The host sent us to an origin where our rules forbid to go."""


class TokenError(RequestError):
    """The token server refused, failed, or answered nonsense."""


class ResponseError(RequestError):
    """The registry answered with a status that means no.

    Args:
        message: What to tell the user.
        context: Which request it was.
        errors: The entries of the error body; empty when the body was not the specified one.
    """

    def __init__(
        self, message: str, *, context: RequestContext | None = None, errors: Sequence[ErrorDetail] = ()
    ) -> None:
        super().__init__(message, context=context)
        self.errors: tuple[ErrorDetail, ...] = tuple(errors)

    @property
    def codes(self) -> tuple[str, ...]:
        """Codes of the error body, as the registry spelled them."""
        return tuple(error.code for error in self.errors)


class BlobUnknown(ResponseError, NotFound):
    """BLOB_UNKNOWN: the registry does not hold this blob."""


class BlobUploadInvalid(ResponseError):
    """BLOB_UPLOAD_INVALID: the upload cannot go on."""


class BlobUploadUnknown(ResponseError, NotFound):
    """BLOB_UPLOAD_UNKNOWN: the registry does not know this upload, or no longer."""


class DigestInvalid(ResponseError):
    """DIGEST_INVALID: the bytes that arrived do not have the digest that was announced."""


class SizeInvalid(ResponseError):
    """SIZE_INVALID: what was sent has not the announced length, or is more than is taken (status 413)."""


class RangeInvalid(ResponseError):
    """A range that the registry cannot serve, or a chunk out of order (status 416)."""


class ManifestBlobUnknown(ResponseError):
    """MANIFEST_BLOB_UNKNOWN: the manifest points at something that the registry does not hold."""


class ManifestInvalid(ResponseError):
    """MANIFEST_INVALID: the registry does not accept this manifest."""


class ManifestUnknown(ResponseError, NotFound):
    """MANIFEST_UNKNOWN: the registry does not hold this manifest or tag."""


class NameInvalid(ResponseError):
    """NAME_INVALID: the registry does not accept this repository name."""


class NameUnknown(ResponseError, NotFound):
    """NAME_UNKNOWN: the registry does not know this repository."""


class TagInvalid(ResponseError):
    """TAG_INVALID: the registry does not accept this tag."""


class Unauthorized(ResponseError):
    """UNAUTHORIZED: the registry wants (other) credentials."""


class Denied(ResponseError):
    """DENIED: who we are may not do this."""


class TooManyRequests(ResponseError):
    """TOOMANYREQUESTS: the registry asks us to slow down, and we ran out of patience."""


class Unsupported(ResponseError, UnsupportedError):
    """UNSUPPORTED: the registry does not offer this operation."""


CODE_CLASSES: dict[str, type[ResponseError]] = {
    "BLOB_UNKNOWN": BlobUnknown,
    "BLOB_UPLOAD_INVALID": BlobUploadInvalid,
    "BLOB_UPLOAD_UNKNOWN": BlobUploadUnknown,
    "DENIED": Denied,
    "DIGEST_INVALID": DigestInvalid,
    "MANIFEST_BLOB_UNKNOWN": ManifestBlobUnknown,
    "MANIFEST_INVALID": ManifestInvalid,
    "MANIFEST_UNKNOWN": ManifestUnknown,
    "NAME_INVALID": NameInvalid,
    "NAME_UNKNOWN": NameUnknown,
    "RANGE_INVALID": RangeInvalid,
    "SIZE_INVALID": SizeInvalid,
    "TAG_INVALID": TagInvalid,
    "TOOMANYREQUESTS": TooManyRequests,
    "UNAUTHORIZED": Unauthorized,
    "UNSUPPORTED": Unsupported,
}
"""Class for each error code of the specification, and those that distribution adds."""

# A status settles it where the code cannot: a HEAD's answer has no body, proxies send HTML, and a
# denied token server's 401 body may say DENIED (GHCR). 404 depends on what was asked for, so it is not here.
STATUS_CLASSES: dict[int, type[ResponseError]] = {
    401: Unauthorized,
    403: Denied,
    405: Unsupported,
    416: RangeInvalid,
    429: TooManyRequests,
    501: Unsupported,
}


class CopyError(OCIError, ExceptionGroup[Exception]):
    """A copy failed; `errors` holds every reason, each with the request that met it."""

    @property
    def errors(self) -> tuple[Exception, ...]:
        """The reasons, in the order they happened."""
        return self.exceptions

    def derive(self, excs: Sequence[Exception]) -> CopyError:  # type: ignore[override]
        """Return the part of this group that holds `excs` (called by `except*` and `split`)."""
        return CopyError(self.message, excs)

    def __str__(self) -> str:
        reasons = "; ".join(str(error) for error in self.exceptions)
        return f"{self.message}: {reasons}"
