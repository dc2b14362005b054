"""A token cache in a file, for programs that start often and run briefly.

Access tokens are short-lived secrets, and are kept as `docker login` keeps passwords: in a file that only we
can read. Passwords, identity and refresh tokens are not in it. Whose a token is, is told by a name that is
made of the credential with a slow hash (scrypt) and a random key of the file's own: a credential has the same
name in each process, and another one in each file, and who steals a file can hardly guess a password with it.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from oci_distribution.auth.cache import Recent, Token, TokenKey
from oci_distribution.auth.credentials import Credential, Unpicklable
from oci_distribution.auth.private_files import locked, read_file, replace_file
from oci_distribution.auth.single_flight import SingleFlight
from oci_distribution.auth.token_server import identity_of
from oci_distribution.errors import InvalidArgument
from oci_distribution.waiting import in_thread

__all__ = ["FileTokenCache"]

CAPACITY = 256
"""Tokens in a file: each change writes it anew, and a token lives for minutes."""
MAX_TOKEN = 16 << 10
"""Characters of a token that is kept; the longest seen in the wild have some 5,000."""
MAX_FILE = 8 << 20
"""Bytes of a file that we take in: more than the largest that we write."""
_GROUP_AND_OTHERS = 0o077
_Seconds = Annotated[float, Field(allow_inf_nan=False)]


class _Entry(Unpicklable, BaseModel):
    """A token; its times are seconds since 1970, since no other clock means anything to the next process."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, hide_input_in_errors=True)

    origin: str
    realm: str
    service: str
    scope: str
    identity: str
    token: str = Field(repr=False)
    stored_at: _Seconds
    expires_at: _Seconds
    lifetime: _Seconds

    @property
    def key(self) -> tuple[str, ...]:
        """What it is looked up by."""
        return self.origin, self.realm, self.service, self.scope, self.identity


class _Document(Unpicklable, BaseModel):
    """What is in the file."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, hide_input_in_errors=True)

    version: Literal[1] = 1
    key: str = Field(default_factory=lambda: secrets.token_hex(32), repr=False)
    tokens: tuple[_Entry, ...] = ()

    def find(self, key: TokenKey) -> _Entry | None:
        """Return the entry of a key."""
        wanted = _words(key)
        return next((entry for entry in self.tokens if entry.key == wanted), None)

    def without(self, key: TokenKey, now: float) -> list[_Entry]:
        """Return all entries but that of a key, and those that have ended."""
        wanted = _words(key)
        return [entry for entry in self.tokens if entry.key != wanted and entry.expires_at > now]


class FileTokenCache:
    """Remembers tokens in a file, also for other processes, several at once included.

    A file that is no cache, broken or of another version, is begun anew: nothing is lost but tokens. One that
    others could read or write, or that belongs to somebody else, is an error.

    Args:
        path: Of the file, which is made with its folder when it is needed, with the modes 0600 and 0700. An
            empty file whose name ends with `.lock` stands beside it. Take a folder that only you may write
            to, and not /tmp.
        capacity: Tokens that it keeps; the oldest go first.
        clock: Monotonic seconds, those of the `Authorizer`.
        now: Seconds since 1970. When they go back, tokens from the future are not used.

    Raises:
        InvalidArgument: The capacity is less than 1.
        CredentialError: From every method, when the file cannot be read, trusted or written.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        capacity: int = CAPACITY,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        if capacity < 1:
            raise InvalidArgument(f"a cache that keeps {capacity} tokens is none: give no cache instead")
        self._path = Path(path).expanduser()
        self._capacity = capacity
        self._clock = clock
        self._now = now
        self._known: tuple[tuple[int, ...], _Document] | None = None
        self._identities: Recent[tuple[str, str], str] = Recent()
        self._flights: SingleFlight[tuple[str, str], str] = SingleFlight()

    async def identify(self, credential: Credential) -> str:
        """Return a name for who has this credential: the same in every process, empty for nobody."""
        if credential.is_anonymous:
            return ""
        key = (await in_thread(self._established)).key
        whose = key, identity_of(credential)
        known = self._identities.get(whose)
        if known is not None:
            return known

        async def compute() -> str:
            name = await in_thread(lambda: _slow_name(credential, bytes.fromhex(key)))
            self._identities.set(whose, name)
            return name

        return await self._flights.run(whose, compute)

    async def get(self, key: TokenKey) -> Token | None:
        """Return the token that is remembered, unless a clock says that it has ended."""
        document = await in_thread(self._load)
        entry = document.find(key) if document is not None else None
        now = self._now()
        if entry is None or not entry.stored_at <= now < entry.expires_at:
            return None
        return Token(entry.token, self._clock() + entry.expires_at - now, entry.lifetime)

    async def set(self, key: TokenKey, token: Token) -> None:
        """Remember a token."""
        await in_thread(lambda: self._change(key, token))

    async def discard(self, key: TokenKey) -> None:
        """Forget a token."""
        await in_thread(lambda: self._change(key, None))

    def _established(self) -> _Document:
        """Return what is in the file, which is made if it is not there: its key is the same for all then."""
        document = self._load()
        if document is not None:
            return document
        with locked(self._path):
            return self._load() or self._write(_Document())

    def _change(self, key: TokenKey, token: Token | None) -> None:
        with locked(self._path):
            document, now = self._load() or _Document(), self._now()
            if token is None and document.find(key) is None:
                return
            entries = document.without(key, now)
            if token is not None and len(token.value) <= MAX_TOKEN:
                entries.append(self._entry(key, token, now))
            self._write(document.model_copy(update={"tokens": tuple(entries[-self._capacity :])}))

    def _entry(self, key: TokenKey, token: Token, now: float) -> _Entry:
        origin, realm, service, scope, identity = _words(key)
        return _Entry(
            origin=origin,
            realm=realm,
            service=service,
            scope=scope,
            identity=identity,
            token=token.value,
            stored_at=now,
            expires_at=now + token.expires_at - self._clock(),
            lifetime=token.lifetime,
        )

    def _load(self) -> _Document | None:
        """Return what is in the file; None when it is not there, or no cache."""
        stamp = self._stamp()
        if stamp is not None and self._known is not None and self._known[0] == stamp:
            return self._known[1]
        content = read_file(self._path, MAX_FILE, untrusted=_GROUP_AND_OTHERS, owned=True)
        document = _parsed(content)
        self._known = (stamp, document) if stamp is not None and document is not None else None
        return document

    def _stamp(self) -> tuple[int, ...] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode, status.st_uid

    def _write(self, document: _Document) -> _Document:
        replace_file(self._path, document.model_dump_json().encode(), durable=False)
        return document

    def __repr__(self) -> str:
        return f"FileTokenCache({str(self._path)!r})"


def _words(key: TokenKey) -> tuple[str, ...]:
    return str(key.origin), key.realm, key.service, str(key.scope), key.identity


def _parsed(content: bytes | None) -> _Document | None:
    if content is None:
        return None
    try:
        document = _Document.model_validate_json(content)
        bytes.fromhex(document.key)
    except (ValidationError, ValueError):
        return None
    return document


def _slow_name(credential: Credential, key: bytes) -> str:
    """Return a name that takes some 40 ms and 16 MiB to compute: too much to try many passwords."""
    secret = f"{credential.username}\0{credential.password}\0{credential.identity_token}"
    return hashlib.scrypt(secret.encode(), salt=key, n=1 << 14, r=8, p=1, dklen=16).hex()
