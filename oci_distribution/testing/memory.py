"""Content in memory: gone with the process."""

from __future__ import annotations

import io
from typing import BinaryIO

from oci_distribution.spec.digest import Digest
from oci_distribution.testing.storage import RepositoryStorage

__all__ = ["MemoryStorage"]


class MemoryStorage:
    """Keeps everything in memory; the default, and right for most tests."""

    def __init__(self) -> None:
        self._repositories: dict[str, _MemoryRepository] = {}

    def names(self) -> list[str]:
        """Return the names of the repositories that were pushed to, sorted."""
        return sorted(name for name, repository in self._repositories.items() if repository.exists)

    def find(self, name: str) -> RepositoryStorage | None:
        """Return a repository; None when nothing was ever pushed to it."""
        repository = self._repositories.get(name)
        return repository if repository is not None and repository.exists else None

    def open(self, name: str) -> RepositoryStorage:
        """Return a repository to push to. It exists from the first content on."""
        return self._repositories.setdefault(name, _MemoryRepository())

    def forget(self, prefix: str) -> None:
        """Forget the repositories whose names start with `prefix`."""
        for name in [name for name in self._repositories if name.startswith(prefix)]:
            del self._repositories[name]


class _MemoryRepository(RepositoryStorage):
    def __init__(self) -> None:
        super().__init__()
        self.exists = False
        self.contents: dict[Digest, bytes] = {}

    def size(self, digest: Digest) -> int | None:
        data = self.contents.get(digest)
        return None if data is None else len(data)

    def open(self, digest: Digest) -> BinaryIO:
        return io.BytesIO(self.contents[digest])

    def new_upload(self) -> _MemoryUpload:
        return _MemoryUpload(self)

    def mount(self, digest: Digest, source: RepositoryStorage) -> bool:
        if not isinstance(source, _MemoryRepository):
            return False
        self.put_content(digest, source.contents[digest])
        return True

    def put_content(self, digest: Digest, data: bytes) -> None:
        self.exists = True
        self.contents.setdefault(digest, data)

    def remove_content(self, digest: Digest) -> None:
        del self.contents[digest]


class _MemoryUpload:
    def __init__(self, repository: _MemoryRepository) -> None:
        self._repository = repository
        self._buffer = io.BytesIO()

    @property
    def size(self) -> int:
        return self._buffer.tell()

    def write(self, data: bytes) -> None:
        self._buffer.write(data)

    def open(self) -> BinaryIO:
        return io.BytesIO(self._buffer.getvalue())

    def release(self) -> None:
        pass

    def commit(self, digest: Digest) -> None:
        # getvalue() hands out the buffer's own bytes: nothing is copied.
        self._repository.put_content(digest, self._buffer.getvalue())

    def discard(self) -> None:
        self._buffer = io.BytesIO()
