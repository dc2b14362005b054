"""How a job must end when something goes wrong with one of its requests.

What passes by itself has to be survived: every rule that lets a job end with an error says why it may.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import NamedTuple

__all__ = ["COMPLETES", "Rule", "expectation"]

COMPLETES = "completes"


class Rule(NamedTuple):
    """How jobs end, for some requests and some faults.

    Args:
        requests: Pattern of method and endpoint.
        faults: Names of faults; any when empty.
        endings: `COMPLETES`, or names of errors: one of them it has to be.
        reason: Why.
        orphan: Whether an upload session may stay at the registry.
    """

    requests: str
    faults: tuple[str, ...]
    endings: tuple[str, ...]
    reason: str
    orphan: bool = False


_REFUSALS = ("400", "401", "403", "404", "405", "413", "416")

# The first one that fits decides.
_RULES = (
    Rule(
        "* token",
        (*_REFUSALS, "429 for hours"),
        ("TokenError", COMPLETES),
        "a refusal of the token server is final; it completes when the token was only for a mount",
    ),
    Rule(
        "POST mount",
        (*_REFUSALS, "429 for hours", "redirect to nowhere", "no location", "location elsewhere"),
        (COMPLETES,),
        "what cannot be mounted is pushed, and what is mounted needs no location",
    ),
    Rule(
        "* token",
        ("answer corrupted", "answer truncated"),
        ("TokenError", COMPLETES),
        "it is no JSON any more, or a token that is refused and asked for again",
    ),
    Rule(
        "* token",
        ("redirect elsewhere", "redirect to nowhere"),
        ("TokenError", COMPLETES),
        "secrets follow no redirect; it completes when the token was only for a mount",
    ),
    Rule(
        "GET referrers",
        ("404",),
        (COMPLETES, "Believed"),
        "there is no such repository, says the registry; a list is kept all the same",
    ),
    Rule(
        "GET referrers",
        ("400", "405", "redirect to nowhere", "wrong type", "no type"),
        (COMPLETES,),
        "there is no API, and the tag is read",
    ),
    Rule(
        "GET manifest of referrers",
        ("404",),
        (COMPLETES, "Believed"),
        "there is no such tag, says the registry; who writes the list finds out",
    ),
    Rule(
        "PUT manifest",
        ("400", "404", "405", "redirect to nowhere"),
        (COMPLETES, "Unsupported", "NameUnknown"),
        "it may have been the tags in the query: they are pushed one by one",
    ),
    Rule(
        "PUT manifest",
        ("wrong digest header",),
        (COMPLETES, "DigestMismatch"),
        "the registry says that it stored something else; that what must be refused was is all that counts",
    ),
    Rule(
        "GET tags",
        ("400", "405", "413"),
        (COMPLETES, "Unsupported", "SizeInvalid"),
        "refused pages are asked for smaller, but not in the middle of a listing",
    ),
    Rule(
        "GET tags",
        ("answer corrupted", "answer truncated"),
        (COMPLETES, "ProtocolError"),
        "it is no JSON any more; it completes when the answer was a 401",
    ),
    Rule("*", ("429 for hours",), ("TooManyRequests",), "a wait of hours is the user's to decide"),
    Rule(
        "HEAD manifest",
        ("400", "403", "404", "405", "413", "416"),
        (COMPLETES,),
        "GET says more, and what is not there is pushed",
    ),
    Rule(
        "PUT upload",
        ("404", "405", "413", "redirect to nowhere"),
        (COMPLETES, "NameUnknown", "Unsupported", "SizeInvalid"),
        "what is refused whole is sent in another way; the end of chunks that nobody has any more is not",
    ),
    Rule("PUT upload", ("416",), (COMPLETES, "RangeInvalid"), "it may have been the location that was stale"),
    Rule(
        "PATCH upload",
        ("404", "405", "413", "416", "redirect to nowhere"),
        (COMPLETES, "NameUnknown", "Unsupported", "SizeInvalid", "RangeInvalid"),
        "what is refused is sent in smaller pieces, or another way; what nobody has any more is not",
    ),
    Rule(
        "PATCH upload",
        ("location elsewhere",),
        ("ConnectError",),
        "nobody is there",
        orphan=True,
    ),
    Rule(
        "POST uploads",
        ("400", "405", "413", "no location", "location elsewhere"),
        (COMPLETES, "Unsupported", "SizeInvalid", "ProtocolError", "ConnectError"),
        "a blob that was stored at once needs no location, and one that is refused at once is sent after it",
        orphan=True,
    ),
    Rule(
        "HEAD blob",
        ("404", "redirect to nowhere", "wrong digest header"),
        (COMPLETES, "BlobUnknown", "DigestMismatch"),
        "what is not there is pushed; what was just stored in chunks has to be there",
    ),
    Rule("HEAD *", ("400", "413"), ("ResponseError",), "an answer without a body has no code"),
    Rule("*", ("400", "405"), ("Unsupported",), "a refusal is final"),
    Rule("*", ("401",), ("Unauthorized",), "it says not how to do better"),
    Rule("*", ("403",), ("Denied",), "a refusal is final"),
    Rule("*", ("404",), ("NameUnknown",), "a refusal is final, with the meaning that its code has"),
    Rule("*", ("413",), ("SizeInvalid",), "a refusal is final"),
    Rule("*", ("416",), ("RangeInvalid",), "a refusal is final"),
    Rule("HEAD *", ("redirect to nowhere",), (COMPLETES,), "what is not there is pushed"),
    Rule("*", ("redirect to nowhere",), ("Unsupported",), "the registry has nothing there"),
    *(
        Rule(
            requests,
            ("expired token",),
            (COMPLETES, "Denied"),
            "a token that was made for this request and is refused would be refused again",
        )
        for requests in ("GET *", "HEAD *", "PUT manifest")
    ),
    Rule(
        "GET manifest*",
        ("answer corrupted", "answer truncated", "wrong digest header"),
        (COMPLETES, "DigestMismatch"),
        "wrong bytes are no accident; it completes when the answer was a 401",
    ),
    Rule(
        "GET manifest*",
        ("wrong type",),
        (COMPLETES, "ProtocolError"),
        "a web page is no registry; it completes when the answer was a 401",
    ),
    Rule(
        "GET blob",
        ("answer corrupted", "answer corrupted late", "answer truncated"),
        (COMPLETES, "DigestMismatch", "SizeMismatch"),
        "wrong bytes are no accident; it completes when the blob is shorter than that, or the answer a 401",
    ),
    Rule(
        "PUT *",
        ("wrong digest header",),
        ("DigestMismatch",),
        "the registry says that it stored something else",
    ),
    Rule(
        "POST *",
        ("wrong digest header",),
        (COMPLETES, "DigestMismatch"),
        "the registry says that it stored something else; of what is not stored yet it may say anything",
    ),
    Rule(
        "POST *", ("answer lost", "silence"), (COMPLETES,), "nobody knows where that session is", orphan=True
    ),
    Rule("*", (), (COMPLETES,), "it passes, or matters to nobody"),
)


def expectation(request: str, fault: str) -> Rule:
    """Return the rule for a request, named by method and endpoint, and a fault."""
    return next(
        rule
        for rule in _RULES
        if fnmatchcase(request, rule.requests) and (not rule.faults or fault in rule.faults)
    )
