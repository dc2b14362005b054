"""`index.json` of a layout as a value: which manifests it lists, under which tags.

It is kept as it was read, so that fields which we do not know survive.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Self, TypeAlias, cast

from pydantic import ValidationError

from oci_distribution.errors import InvalidLayout, InvalidReference
from oci_distribution.spec.digest import Digest
from oci_distribution.spec.manifest import Manifest
from oci_distribution.spec.mediatypes import MediaType
from oci_distribution.spec.models import Descriptor
from oci_distribution.spec.reference import Reference, check_tag

__all__ = ["LayoutIndex", "load_object"]

REF_NAME: Final = "org.opencontainers.image.ref.name"
"""Annotation that holds a tag (image specification, annotations.md), or the reference, as crane does."""

_Entry: TypeAlias = dict[str, Any]


def _empty() -> dict[str, Any]:
    return {"schemaVersion": 2, "mediaType": MediaType.IMAGE_INDEX, "manifests": []}


@dataclass(frozen=True, slots=True)
class LayoutIndex:
    """The document in `index.json` (image specification, image-layout.md).

    Args:
        document: The JSON object.
    """

    document: dict[str, Any] = field(default_factory=_empty)

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read what is in the file. Entries are looked at when they are asked for.

        Raises:
            InvalidLayout: It is no image index.
        """
        document = load_object(raw)
        if document is None or document.get("schemaVersion") != 2:
            raise InvalidLayout("index.json is no image index of schema version 2")
        entries: Any = document.get("manifests")
        if entries is not None and not _is_list_of_objects(entries):
            raise InvalidLayout("index.json is malformed: manifests is not a list of objects")
        return cls(document)

    def dump(self) -> bytes:
        """Return the bytes for the file."""
        # In ASCII: what others wrote may hold halves of characters, which have no other form.
        return json.dumps(self.document, separators=(",", ":")).encode()

    @property
    def _entries(self) -> list[_Entry]:
        return self.document.get("manifests") or []

    def tags(self) -> Iterator[str]:
        """Iterate over the tags."""
        seen = {tag for entry in self._entries if (tag := _tag_of(_name(entry))) is not None}
        return iter(sorted(seen))

    def find_tag(self, tag: str) -> Descriptor | None:
        """Return the manifest of this tag: named so exactly, else by a whole reference with this tag.

        Raises:
            InvalidLayout: Several manifests have it, so nobody knows which is meant.
        """
        exact = [entry for entry in self._entries if _name(entry) == tag]
        found = exact or [entry for entry in self._entries if _tag_of(_name(entry)) == tag]
        if len({str(entry.get("digest")) for entry in found}) > 1:
            raise InvalidLayout(f"index.json lists several manifests under the tag {tag}; use a digest")
        return _descriptor(found[0]) if found else None

    def find_digest(self, digest: Digest) -> Descriptor | None:
        """Return the entry of this digest."""
        found = next((entry for entry in self._entries if entry.get("digest") == digest), None)
        return _descriptor(found) if found is not None else None

    def only_unnamed(self) -> Descriptor | None:
        """Return the one manifest of an index that lists nothing else and gives it no name."""
        entries = self._entries
        return _descriptor(entries[0]) if len(entries) == 1 and _name(entries[0]) is None else None

    def with_manifest(self, manifest: Manifest, tags: Sequence[str]) -> Self:
        """Return the index with `manifest` listed, under `tags` or under no name.

        What had one of the tags loses it, and stays: nobody asked for its deletion. Unnamed entries of what
        the manifest refers to go, since they can be found through it.
        """
        children = {child.digest for child in manifest.children}
        entries = [_without_name(entry) if _name(entry) in tags else entry for entry in self._entries]
        named = {entry.get("digest") for entry in entries if _name(entry) is not None}
        if tags:
            named.add(manifest.digest)
        kept = [
            entry for entry in entries if not (_is_bare(entry) and entry.get("digest") in named | children)
        ]
        bare: _Entry = manifest.descriptor.bare().dump()
        added = [bare | {"annotations": {REF_NAME: tag}} for tag in tags]
        if not added and all(entry.get("digest") != manifest.digest for entry in kept):
            added = [bare]
        return type(self)(self.document | {"manifests": _distinct([*kept, *added])})


def load_object(raw: bytes) -> dict[str, Any] | None:
    """Return a JSON object; None when `raw` is something else."""
    try:
        document = json.loads(raw.decode())
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", document) if isinstance(document, dict) else None


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in cast("list[object]", value))


def _annotations(entry: _Entry) -> dict[str, Any]:
    annotations: Any = entry.get("annotations")
    return cast("dict[str, Any]", annotations) if isinstance(annotations, dict) else {}


def _name(entry: _Entry) -> str | None:
    name = _annotations(entry).get(REF_NAME)
    return name if isinstance(name, str) and name else None


def _tag_of(name: str | None) -> str | None:
    """Return the tag in a name: crane writes `host/repository:tag`, where others write the tag alone."""
    if name is None:
        return None
    with suppress(InvalidReference):
        return check_tag(name)
    with suppress(InvalidReference):
        return Reference.parse(name).tag
    return None


def _without_name(entry: _Entry) -> _Entry:
    annotations = {key: value for key, value in _annotations(entry).items() if key != REF_NAME}
    bare = {key: value for key, value in entry.items() if key != "annotations"}
    return bare | ({"annotations": annotations} if annotations else {})


def _is_bare(entry: _Entry) -> bool:
    """Whether an entry says nothing that the manifest itself, or another entry, does not say."""
    return entry.keys() <= {"mediaType", "digest", "size"}


def _distinct(entries: Iterable[_Entry]) -> list[_Entry]:
    kept: list[_Entry] = []
    seen: set[str] = set()
    for entry in entries:
        key = json.dumps(entry, sort_keys=True)
        if key not in seen:
            seen.add(key)
            kept.append(entry)
    return kept


def _descriptor(entry: _Entry) -> Descriptor:
    try:
        return Descriptor.model_validate_json(json.dumps(entry), by_name=False).bare()
    except ValidationError:
        raise InvalidLayout(
            f"index.json has a malformed entry for {str(entry.get('digest'))[:100]!r}"
        ) from None
