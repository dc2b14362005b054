"""Directories as archives: the same files make the same bytes, and nothing gets out that is unpacked.

All functions here block: call them in a thread.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import stat
import tarfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Final, NoReturn, cast

from oci_distribution.errors import ContentError, DigestMismatch, InvalidArgument, LimitExceeded
from oci_distribution.spec.digest import Digest, Hasher

__all__ = ["check_directory", "check_title", "pack_directory", "unpack_directory"]

MAX_DEPTH: Final = 256
"""Directories in one another; some functions of the standard library call themselves for each."""
MAX_HEADER: Final = 1 << 20
"""Bytes before the content of a member, which tarfile holds in memory: a long name, attributes, a map."""
MAX_LINKS: Final = 1 << 17
"""Links of an archive, which are held in memory until they are made."""
MAX_STEPS: Final = 256
"""Names on the way that a link leads, those of other links on it included; Linux follows 40 links."""

_PIECE: Final = 1 << 20
# What another system takes for a separator or a drive is refused everywhere.
_ODD: Final = re.compile(r"[\x00-\x1f\\]|^[A-Za-z]:")


def check_title(title: str) -> PurePosixPath:
    """Return a name that somebody else chose, as a path that stays below where it is put.

    Raises:
        ContentError: It does not.
    """
    path = PurePosixPath(title)
    is_path = 0 < len(path.parts) <= MAX_DEPTH and not path.is_absolute()
    if not is_path or ".." in path.parts or _ODD.search(title):
        raise ContentError(f"{title[:200]!r} is no name for a file below a directory")
    return path


def check_directory(directory: Path, *, name: PurePosixPath) -> None:
    """Make sure that `pack_directory` will find nothing that `unpack_directory` refuses.

    Raises:
        InvalidArgument: It will: a name that is none elsewhere, or a link that leads out.
    """
    for _ in _members(directory.resolve(), name):
        pass


def pack_directory(directory: Path, archive: Path, *, name: PurePosixPath) -> Digest:
    """Write a directory to a tar file compressed by gzip, and return the digest of the tar file in it.

    No times, owners or orders of the file system go in. Links stay links, and files with several names
    several files; devices, pipes and sockets are left out.

    Args:
        directory: What to pack.
        archive: The file, which is made.
        name: What the directory is called in the archive.

    Raises:
        InvalidArgument: It holds what `unpack_directory` refuses.
    """
    with archive.open("xb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
        hashing = _Hashing(packed)
        # Not closed: it would be filled up to 20 blocks, and oras hashes what comes before that.
        tar = tarfile.TarFile(fileobj=cast("IO[bytes]", hashing), mode="w", format=tarfile.PAX_FORMAT)
        for path, member in _members(directory.resolve(), name):
            if member.isfile():
                with path.open("rb") as content:
                    tar.addfile(member, content)
            else:
                tar.addfile(member)
        hashing.write(bytes(2 * tarfile.BLOCKSIZE))
    return hashing.hasher.digest()


class _Hashing:
    """A file that hashes what is written to it."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self.hasher = Hasher()
        self._file = file

    def tell(self) -> int:
        return self.hasher.size

    def write(self, data: bytes) -> int:
        self.hasher.update(data)
        return self._file.write(data)


def _members(directory: Path, name: PurePosixPath) -> Iterator[tuple[Path, tarfile.TarInfo]]:
    """Describe what goes into an archive, the directory first."""
    for path in [directory, *sorted(_below(directory))]:
        member = _member(path, str(name / path.relative_to(directory).as_posix()))
        if member is None:
            continue
        try:
            check_title(member.name)
        except ContentError as error:
            raise InvalidArgument(f"{path} cannot be packed: {error}") from None
        if member.issym() and _leads_out(path, directory):
            raise InvalidArgument(f"{path} cannot be packed: it leads to {member.linkname!r}, out of {name}")
        yield path, member


def _below(directory: Path) -> Iterator[Path]:
    # Not `rglob`, which passes over what may not be read.
    for folder, directories, files in os.walk(directory, onerror=_raise):
        yield from (Path(folder, entry) for entry in (*directories, *files))


def _raise(error: OSError) -> NoReturn:
    raise error


def _member(path: Path, name: str) -> tarfile.TarInfo | None:
    """Describe a file, directory or link; None for anything else."""
    status = path.lstat()
    member = tarfile.TarInfo(name)
    member.mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISREG(status.st_mode):
        member.size = status.st_size
    elif stat.S_ISDIR(status.st_mode):
        member.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(status.st_mode):
        member.type, member.linkname = tarfile.SYMTYPE, str(path.readlink())
    else:
        return None
    return member


def _leads_out(link: Path, directory: Path) -> bool:
    """Say whether a link leads out of the directory, or to so many others that nobody follows it.

    A way that goes out and comes back by the directory's name leads out: unpacked, the name may be another.
    """
    place = list(link.parent.relative_to(directory).parts)  # without links in it
    ahead = [link.name]
    for _ in range(MAX_STEPS):
        if not ahead:
            return False
        part = ahead.pop()
        if part != "..":
            target = _target(directory.joinpath(*place, part))
            if target is None:
                place.append(part)
            elif target.is_absolute():
                return True
            else:
                ahead += reversed(target.parts)
        elif place:
            place.pop()
        else:
            return True
    return True


def _target(path: Path) -> Path | None:
    """Return where a link leads; None for what is no link, or is not there."""
    try:
        return path.readlink()
    except OSError:
        return None


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
        limit: Bytes that it may unpack to: a small archive can hold very much. What is said of each member
            counts, too, and a hard link as what it leads to.

    Raises:
        ContentError: It is damaged, or something in it would be outside of the directory.
        DigestMismatch: It is another one.
        LimitExceeded: It unpacks to more than `limit`, or cannot be read in little memory.
    """
    try:
        with gzip.open(archive, "rb") as file:
            packed = _Packed(file, limit)
            directory = _Directory(target, name, packed)
            _unpack(packed, directory)
        actual = packed.hasher.digest()
        if digest not in {None, actual}:
            raise DigestMismatch(f"the archive hashes to {actual}, not to {digest}")
        directory.make_links()
    # tarfile takes numbers and names without care, and calls itself for a header of a header.
    except (tarfile.TarError, ValueError, RecursionError) as error:
        raise ContentError(f"the archive is damaged: {error}") from error


def _unpack(packed: _Packed, directory: _Directory) -> None:
    with _Archive.open(mode="r|", fileobj=cast("IO[bytes]", packed)) as tar:
        while (member := tar.next()) is not None:
            packed.expect_content()
            directory.add(tar, member)
            tar.forget()
            packed.expect_header()
    packed.expect_content()
    while packed.read(_PIECE):
        pass  # to the end, for the digest


class _Packed:
    """A packed file that hashes what is read from it, and lets no more out than it may.

    Args:
        file: The file.
        limit: Bytes that may come from it, or be made of what came.
    """

    def __init__(self, file: gzip.GzipFile, limit: int) -> None:
        self.hasher = Hasher()
        self._file = file
        self._limit = limit
        self._made = 0
        self.expect_header()

    def expect_header(self) -> None:
        """Expect little: all of it is held in memory."""
        self._header_end: int | None = self.hasher.size + MAX_HEADER

    def expect_content(self) -> None:
        """Expect as much as comes."""
        self._header_end = None

    def count(self, size: int) -> None:
        """Count what is made besides that which comes."""
        self._made += size
        self._check()

    def read(self, size: int = -1) -> bytes:
        try:
            data = self._file.read(size)
        except (OSError, EOFError, zlib.error) as error:
            raise ContentError(f"the archive is damaged: {error}") from error
        self.hasher.update(data)
        self._check()
        return data

    def _check(self) -> None:
        if self.hasher.size + self._made > self._limit:
            raise LimitExceeded(f"the archive unpacks to more than {self._limit} bytes")
        if self._header_end is not None and self.hasher.size > self._header_end:
            raise LimitExceeded(f"the archive has a header of more than {MAX_HEADER} bytes")


class _Archive(tarfile.TarFile):
    """A tar file that is read once, from its first byte to its last."""

    members: list[tarfile.TarInfo]

    def forget(self) -> None:
        """Drop what is remembered of all members so far, of which there may be millions."""
        self.members.clear()
        self.pax_headers = {}


class _Directory:
    """A directory that is filled with the members of an archive.

    Args:
        target: The directory, which is made.
        name: What it is called in the archive.
        packed: Where the members come from.
    """

    def __init__(self, target: Path, name: PurePosixPath, packed: _Packed) -> None:
        target.mkdir()
        self._target = target
        self._name = name
        self._packed = packed
        self._links: list[tuple[Path, str]] = []

    def add(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """Unpack a member; links only later."""
        path = self._inside(member.name)
        if member.issparse():
            raise ContentError(f"{path.name!r} is a file with holes, which may be of any size")
        try:
            self._make(path.parent)
            if member.isdir():
                path.mkdir(exist_ok=True)
            elif member.isfile():
                source = tar.extractfile(member)
                assert source is not None  # it is a file
                _write(source, path, member)
            elif member.islnk():
                original = self._inside(member.linkname)
                self._packed.count(original.stat().st_size)
                with original.open("rb") as source:
                    _write(source, path, member)
            elif member.issym():
                self._add_link(path, member.linkname)
            else:
                raise ContentError(f"{member.name!r} is no file, directory or link")
        except (FileExistsError, NotADirectoryError, IsADirectoryError, FileNotFoundError) as error:
            raise ContentError(f"{member.name!r} does not fit to what came before it") from error

    def _make(self, directory: Path) -> None:
        """Make a directory that the archive does not list, and count it as if it did."""
        if not directory.is_dir():
            self._packed.count(tarfile.BLOCKSIZE * len(directory.relative_to(self._target).parts))
            directory.mkdir(parents=True)

    def _inside(self, path: str) -> Path:
        try:
            return self._target / check_title(path).relative_to(self._name)
        except ValueError:
            raise ContentError(f"{path[:200]!r} is not in {self._name}, of which the archive is") from None

    def _add_link(self, path: Path, text: str) -> None:
        if len(self._links) == MAX_LINKS:
            raise LimitExceeded(f"the archive has more than {MAX_LINKS} links")
        self._links.append((path, text))

    def make_links(self) -> None:
        """Make the links, now that all else is there."""
        for path, text in self._links:
            if path.exists() or path.is_symlink():
                raise ContentError(f"{path.name!r} is in the archive twice")
            path.symlink_to(text)
        # When all are there: one may lead through another.
        for path, text in self._links:
            if _leads_out(path, self._target):
                raise ContentError(f"the link {path.name!r} leads to {text!r}, out of the directory")


def _write(source: IO[bytes], path: Path, member: tarfile.TarInfo) -> None:
    """Write a file as this process writes files: what its umask takes away is not given."""
    mode = 0o777 if member.mode & 0o100 else 0o666
    with open(path, "xb", opener=partial(os.open, mode=mode)) as file:
        shutil.copyfileobj(source, file, _PIECE)
