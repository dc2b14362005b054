"""An upload that was left open, to be gone on with later: by another task, process or machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from oci_distribution.errors import redact_url
from oci_distribution.spec.digest import Digest
from oci_distribution.spec.reference import check_repository
from oci_distribution.spec.urls import Origin

__all__ = ["UploadSession"]


def _check_url(url: str) -> str:
    Origin.of(url)
    return url


class UploadSession(BaseModel):
    """Where an upload stands; `model_dump_json()` and `model_validate_json()` take it to a file and back.

    Registries forget an upload that nobody feeds, most of them after a day to a week. Its location may be
    all that it takes to write to it: keep it as you would a password. No `repr` shows it.

    Attributes:
        registry: Canonical name of the registry.
        repository: Name of the repository.
        location: Where the next request goes: an absolute URL.
        size: Bytes that the registry has acknowledged.
        chunk_size: Bytes of each chunk.
        minimum: Bytes that the registry wants in every chunk but the last.
        algorithm: Of the digest: `sha256` or `sha512`.
        digest: Digest of the bytes so far, by which a prefix is known to be theirs; None where nobody knows.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    registry: str
    repository: Annotated[str, AfterValidator(check_repository)]
    location: Annotated[str, AfterValidator(_check_url)]
    size: Annotated[int, Field(ge=0)]
    chunk_size: Annotated[int, Field(gt=0)]
    minimum: Annotated[int, Field(ge=0)] = 0
    algorithm: str = "sha256"
    digest: Digest | None = None

    def __repr_args__(self) -> Iterator[tuple[str, Any]]:
        for name, value in super().__repr_args__():
            if name is not None:
                yield name, redact_url(value) if name == "location" else value
