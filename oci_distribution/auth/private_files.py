"""Private files: read with a bound and without trust, replaced as a whole.

All of it blocks: call it in a thread.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from oci_distribution.errors import CredentialError

__all__ = ["locked", "mapped_os_errors", "read_file", "replace_file"]

LOCK_TIMEOUT = 10.0
"""Seconds to wait for others who change the same file: a change takes milliseconds."""


@contextmanager
def mapped_os_errors(path: Path, what: str) -> Generator[None]:
    """Turn what the operating system says into an error that names the file."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        # The second is what a loop of symbolic links is, to Python 3.12 and older.
        reason = error.strerror if isinstance(error, OSError) else None
        raise CredentialError(f"{path} cannot be {what}: {reason or error}") from error


def read_file(path: Path, limit: int, *, untrusted: int = stat.S_IWOTH, owned: bool = False) -> bytes | None:
    """Return what is in a file; None when it is not there.

    Args:
        path: The file; a device such as /dev/null will do.
        limit: Longest content to take in, in bytes.
        untrusted: Bits that its mode must not have: whoever may write to it could make us run another helper,
            or send a credential of theirs.
        owned: Whether it must be ours.

    Raises:
        CredentialError: It cannot be read, is too long, or is not to be trusted.
    """
    try:
        with mapped_os_errors(path, "read"), open(path, "rb", opener=_open) as file:
            _check(path, os.fstat(file.fileno()), untrusted, owned=owned)
            content = file.read(limit + 1)
    except CredentialError as error:
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            return None
        raise
    if len(content) > limit:
        raise CredentialError(f"{path} is longer than {limit} bytes")
    return content


def _open(path: str, flags: int) -> int:
    # Without blocking: nobody may ever write into a pipe.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check(path: Path, status: os.stat_result, untrusted: int, *, owned: bool) -> None:
    if stat.S_ISFIFO(status.st_mode):
        raise CredentialError(f"{path} is a pipe, which can be read only once, and no file")
    if not stat.S_ISREG(status.st_mode) or not hasattr(os, "getuid"):
        return
    mode = stat.S_IMODE(status.st_mode)
    if mode & untrusted:
        raise CredentialError(
            f"{path} has the mode {mode:04o}, so that others could change or read it: chmod 600 it"
        )
    if owned and status.st_uid != os.getuid():
        raise CredentialError(f"{path} belongs to another user (id {status.st_uid})")


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Be the only one, of all processes, who changes a file; its folder is made where it is missing."""
    lock = FileLock(f"{path}.lock", timeout=LOCK_TIMEOUT, mode=0o600)
    with mapped_os_errors(path, "written"):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout:
            raise CredentialError(f"{path} cannot be written: {lock.lock_file} is held by others") from None
    try:
        yield
    finally:
        lock.release()


def replace_file(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Put `content` in the place of a file, whole or not at all, readable by us alone.

    Args:
        path: The file.
        content: All that is in it then.
        durable: Whether it must be there after a power failure, too, which takes milliseconds.

    Raises:
        CredentialError: It cannot be written, or something is in its place that is no file.
    """
    with mapped_os_errors(path, "written"):
        if path.exists() and not path.is_file():
            # Renamed over, /dev/null would be /dev/null no more.
            raise CredentialError(f"{path} cannot be written: it is no file")
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, which nobody else can have
                file.write(content)
                file.flush()
                if durable:
                    os.fsync(descriptor)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
