"""Content in a directory: survives a restart, and every repository is an OCI image layout.

    <path>/repositories/<name, with "+" for "/">/oci-layout
                                                index.json           manifests and tags
                                                blobs/<algorithm>/<encoded>
    <path>/.uploads/                            what is not content yet

Everything is written under `.uploads/` and renamed into place when it is whole, so a killed process
leaves nothing that the next one could mistake for content. A mount is a hard link.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from oci_distribution.errors import ConfigError, InvalidReference
from oci_distribution.spec.digest import Digest
from oci_distribution.spec.mediatypes import MediaType
from oci_distribution.spec.reference import check_repository
from oci_distribution.testing.storage import ManifestEntry, RepositoryStorage

__all__ = ["DirectoryStorage"]

_WRITE_BUFFER = 1 << 20
_REF_NAME = "org.opencontainers.image.ref.name"
# A character that the grammar of names does not have, so names cannot collide with each other or climb out.
_SLASH = "+"
_OURS = re.compile(r"[0-9a-f]{32}", re.ASCII)


class DirectoryStorage:
    """Keeps everything under `path`.

    One process at a time: what an earlier one left unfinished is removed here.

    Args:
        path: Directory, made if it is not there.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Path = Path(path)
        self._uploads = self.path / ".uploads"
        self._root = self.path / "repositories"
        self._root.mkdir(parents=True, exist_ok=True)
        self._uploads.mkdir(exist_ok=True)
        for leftover in self._uploads.iterdir():
            if _OURS.fullmatch(leftover.name):
                leftover.unlink()
        self._repositories: dict[str, _DirectoryRepository] = {}

    def names(self) -> list[str]:
        """Return the names of the repositories that were pushed to, sorted."""
        names = (entry.name.replace(_SLASH, "/") for entry in self._root.iterdir())
        return sorted(name for name in names if _is_name(name))

    def find(self, name: str) -> RepositoryStorage | None:
        """Return a repository; None when nothing was ever pushed to it."""
        repository = self._repositories.get(name)
        if repository is None and self._path_of(name).is_dir():
            repository = self._load(name)
        return repository if repository is not None and repository.exists else None

    def open(self, name: str) -> RepositoryStorage:
        """Return a repository to push to. It exists from the first content on."""
        return self._repositories.get(name) or self._load(name)

    def _load(self, name: str) -> _DirectoryRepository:
        repository = _DirectoryRepository(self._path_of(name), self._uploads)
        self._repositories[name] = repository
        return repository

    def _path_of(self, name: str) -> Path:
        return self._root / check_repository(name).replace("/", _SLASH)


def _is_name(text: str) -> bool:
    try:
        check_repository(text)
    except InvalidReference:
        return False
    return True


class _DirectoryRepository(RepositoryStorage):
    def __init__(self, path: Path, uploads: Path) -> None:
        super().__init__()
        self._path = path
        self._uploads = uploads
        self.exists = path.is_dir()
        self._load()

    def size(self, digest: Digest) -> int | None:
        try:
            return self.path_of(digest).stat().st_size
        except FileNotFoundError:
            return None

    def open(self, digest: Digest) -> BinaryIO:
        return self.path_of(digest).open("rb")

    def new_upload(self) -> _DirectoryUpload:
        return _DirectoryUpload(self, self._uploads)

    def mount(self, digest: Digest, source: RepositoryStorage) -> bool:
        if not isinstance(source, _DirectoryRepository):
            return False
        self._prepare(digest)
        try:
            self.path_of(digest).hardlink_to(source.path_of(digest))
        except FileExistsError:
            return True
        except OSError:
            return False  # a file system without links, or a blob with too many: the client uploads instead
        return True

    def path_of(self, digest: Digest) -> Path:
        return self._path / "blobs" / digest.algorithm / digest.encoded

    def move_in(self, digest: Digest, file: Path) -> None:
        """Rename a whole file into place. Who else had the same content there has the same bytes."""
        self._prepare(digest)
        file.replace(self.path_of(digest))

    def put_content(self, digest: Digest, data: bytes) -> None:
        self.move_in(digest, self._write_aside(data))

    def remove_content(self, digest: Digest) -> None:
        self.path_of(digest).unlink()

    def _prepare(self, digest: Digest) -> None:
        if not self.exists:
            (self._path / "blobs").mkdir(parents=True, exist_ok=True)
            self._write_aside(b'{"imageLayoutVersion":"1.0.0"}').replace(self._path / "oci-layout")
            self.exists = True
            self.save_index()
        (self._path / "blobs" / digest.algorithm).mkdir(exist_ok=True)

    def _write_aside(self, data: bytes) -> Path:
        file = self._uploads / uuid4().hex
        file.write_bytes(data)
        return file

    def save_index(self) -> None:
        index = {"schemaVersion": 2, "mediaType": MediaType.IMAGE_INDEX, "manifests": self._descriptors()}
        self._write_aside(json.dumps(index).encode()).replace(self._path / "index.json")

    def _descriptors(self) -> list[dict[str, Any]]:
        """List every manifest: once for each of its tags, or once without any."""
        plain = {
            digest: {"mediaType": entry.media_type, "digest": digest, "size": entry.size}
            for digest, entry in self._manifests.items()
        }
        tagged = [plain[digest] | {"annotations": {_REF_NAME: tag}} for tag, digest in self._tags.items()]
        untagged = plain.keys() - self._tags.values()
        return tagged + [descriptor for digest, descriptor in plain.items() if digest in untagged]

    def _load(self) -> None:
        try:
            index = json.loads((self._path / "index.json").read_bytes())
            for descriptor in index["manifests"]:
                entry = ManifestEntry(
                    Digest(descriptor["digest"]), descriptor["mediaType"], descriptor["size"]
                )
                tag = descriptor.get("annotations", {}).get(_REF_NAME)
                self._note(entry, () if tag is None else (tag,))
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{self._path}/index.json is broken: {error!r}") from error


class _DirectoryUpload:
    def __init__(self, repository: _DirectoryRepository, uploads: Path) -> None:
        self._repository = repository
        self._path = uploads / uuid4().hex
        self._file: BinaryIO | None = None
        self.size = 0

    def write(self, data: bytes) -> None:
        if self._file is None:
            self._file = self._path.open("ab", buffering=_WRITE_BUFFER)
        self._file.write(data)
        self.size += len(data)

    def open(self) -> BinaryIO:
        self.release()
        return self._path.open("rb")

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def commit(self, digest: Digest) -> None:
        self.release()
        self._path.touch()  # an empty blob was never written to
        self._repository.move_in(digest, self._path)

    def discard(self) -> None:
        self.release()
        self._path.unlink(missing_ok=True)
