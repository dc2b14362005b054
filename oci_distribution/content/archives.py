"""Directories as archives: the same files make the same bytes, and nothing gets out that is unpacked.

All functions here block: call them in a thread.
"""

from __future__ import annotations

import gzip
import re
import shutil
import tarfile
from pathlib import Path, PurePosixPath
from typing import IO, Final, cast

from oci_distribution.errors import ContentError, DigestMismatch, LimitExceeded
from oci_distribution.spec.digest import Digest, Hasher

__all__ = ["check_title", "pack_directory", "unpack_directory"]

_PIECE: Final = 1 << 20
# What another system takes for a separator or a drive is refused everywhere.
_ODD: Final = re.compile(r"[\x00-\x1f\\]|^[A-Za-z]:")


def check_title(title: str) -> PurePosixPath:
    """Return a name that somebody else chose, as a path that stays below where it is put.

    Raises:
        ContentError: It does not.
    """
    path = PurePosixPath(title)
    if not path.parts or path.is_absolute() or ".." in path.parts or _ODD.search(title):
        raise ContentError(f"{title!r} is no name for a file below a directory")
    return path


class _Hashing:
    """A file that hashes what is written to it, or read from it.

    Args:
        file: The file.
        limit: Bytes that may come from it.
    """

    def __init__(self, file: gzip.GzipFile, limit: int | None = None) -> None:
        self.hasher = Hasher()
        self._file = file
        self._limit = limit

    def tell(self) -> int:
        return self.hasher.size

    def write(self, data: bytes) -> int:
        self.hasher.update(data)
        return self._file.write(data)

    def read(self, size: int = -1) -> bytes:
        try:
            data = self._file.read(size)
        except (OSError, EOFError) as error:
            raise ContentError(f"the archive is damaged: {error}") from error
        self.hasher.update(data)
        if self._limit is not None and self.hasher.size > self._limit:
            raise LimitExceeded(f"the archive unpacks to more than {self._limit} bytes")
        return data


def pack_directory(directory: Path, archive: Path, *, name: PurePosixPath) -> Digest:
    """Write a directory to a tar file compressed by gzip, and return the digest of the tar file in it.

    No times, owners or orders of the file system go in. Links stay links; devices and sockets are left out.

    Args:
        directory: What to pack.
        archive: The file, which is made.
        name: What the directory is called in the archive.
    """
    with archive.open("xb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
        hashing = _Hashing(packed)
        # Not closed: it would be filled up to 20 blocks, and oras hashes what comes before that.
        tar = tarfile.TarFile(fileobj=cast("IO[bytes]", hashing), mode="w", format=tarfile.PAX_FORMAT)
        for path in [directory, *sorted(directory.rglob("*"))]:
            _pack(tar, path, str(name / path.relative_to(directory).as_posix()))
        hashing.write(bytes(2 * tarfile.BLOCKSIZE))
    return hashing.hasher.digest()


def _pack(tar: tarfile.TarFile, path: Path, name: str) -> None:
    if path.is_socket():
        return  # which tarfile has no description for
    member = tar.gettarinfo(str(path), arcname=name)
    if not (member.isfile() or member.isdir() or member.issym()):
        return
    member.mtime, member.uid, member.gid, member.uname, member.gname = 0, 0, 0, "", ""
    if member.isfile():
        with path.open("rb") as file:
            tar.addfile(member, file)
    else:
        tar.addfile(member)


def unpack_directory(
    archive: Path, target: Path, *, name: PurePosixPath, digest: str | None, limit: int
) -> None:
    """Unpack what `pack_directory`, or oras, packed. What fails leaves `target` for the caller to remove.

    Only files, directories and links below the directory come out, without owners or special permissions.
    Links are made last, so that nothing is written through one.

    Args:
        archive: The file.
        target: The directory, which is made.
        name: What the directory is called in the archive; nothing else may be in there.
        digest: That of the tar file in it; None where nobody said.
        limit: Bytes that it may unpack to: a small archive can hold very much.

    Raises:
        ContentError: It is damaged, or something in it would be outside of the directory.
        DigestMismatch: It is another one.
        LimitExceeded: It unpacks to more than `limit`.
    """
    links: list[tuple[Path, str]] = []
    with gzip.open(archive, "rb") as packed:
        hashing = _Hashing(packed, limit)
        try:
            with tarfile.open(mode="r|", fileobj=cast("IO[bytes]", hashing)) as tar:
                for member in tar:
                    _unpack(tar, member, _inside(target, member.name, name), links, (target, name))
            while hashing.read(_PIECE):
                pass  # to the end, for the digest
        except tarfile.TarError as error:
            raise ContentError(f"the archive is damaged: {error}") from error
    actual = hashing.hasher.digest()
    if digest not in {None, actual}:
        raise DigestMismatch(f"the archive hashes to {actual}, not to {digest}")
    _make_links(target, links)


def _inside(target: Path, path: str, name: PurePosixPath) -> Path:
    try:
        return target / check_title(path).relative_to(name)
    except ValueError:
        raise ContentError(f"{path!r} is not in the directory {name} that the archive is of") from None


def _unpack(
    tar: tarfile.TarFile,
    member: tarfile.TarInfo,
    path: Path,
    links: list[tuple[Path, str]],
    place: tuple[Path, PurePosixPath],
) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if member.isdir():
            path.mkdir(exist_ok=True)
        elif member.isfile():
            source = tar.extractfile(member)
            assert source is not None  # it is a file
            with path.open("xb") as file:
                shutil.copyfileobj(source, file, _PIECE)
            path.chmod(0o755 if member.mode & 0o100 else 0o644)
        elif member.islnk():
            shutil.copyfile(_inside(place[0], member.linkname, place[1]), path)
        elif member.issym():
            links.append((path, member.linkname))
        else:
            raise ContentError(f"{member.name!r} is no file, directory or link")
    except (FileExistsError, NotADirectoryError, IsADirectoryError, FileNotFoundError) as error:
        raise ContentError(f"{member.name!r} does not fit to what came before it in the archive") from error


def _make_links(target: Path, links: list[tuple[Path, str]]) -> None:
    for path, text in links:
        if path.exists() or path.is_symlink():
            raise ContentError(f"{path.name!r} is in the archive twice")
        path.symlink_to(text)
    # When all are there: one may lead through another.
    root = target.resolve()
    for path, text in links:
        if Path(text).is_absolute() or not path.resolve().is_relative_to(root):
            raise ContentError(f"the link {path.name!r} leads to {text!r}, out of the directory")
