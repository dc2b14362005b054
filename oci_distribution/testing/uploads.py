"""Blobs, pushed (distribution specification, "Pushing blobs", "Mounting a blob from another repository")."""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass, field
from uuid import uuid4

import anyio
from starlette.requests import Request
from starlette.responses import Response

from oci_distribution.errors import InvalidDigest, InvalidReference
from oci_distribution.spec.digest import DEFAULT_ALGORITHM, Digest, Hasher
from oci_distribution.spec.headers import DOCKER_CONTENT_DIGEST, OCI_CHUNK_MIN_LENGTH, parse_content_length
from oci_distribution.spec.reference import check_repository
from oci_distribution.testing.answers import (
    RegistryError,
    digest_invalid,
    upload_unknown,
)
from oci_distribution.testing.auth import Access
from oci_distribution.testing.blobs import PIECE
from oci_distribution.testing.calls import Call, parse_digest
from oci_distribution.testing.storage import Upload

__all__ = ["UploadSession", "cancel_upload", "finish_upload", "patch_upload", "start_upload", "upload_status"]


@dataclass(slots=True)
class UploadSession:
    """An upload between its POST and its PUT.

    Args:
        name: Repository it belongs to.
        upload: The bytes so far.
        hasher: Their digest so far.
    """

    name: str
    upload: Upload
    hasher: Hasher
    id: str = field(default_factory=lambda: str(uuid4()))
    # Renewed with every answer, so a client that does not use the newest Location is found out.
    state: str = ""
    touched: float = 0.0
    # A chunk was shorter than the registry's minimum, which only the last one may be.
    had_last_chunk: bool = False
    # Bytes of each body that came, empty ones left out.
    chunks: list[int] = field(default_factory=list[int])
    closed: bool = False
    lock: anyio.Lock = field(default_factory=anyio.Lock)

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self.upload.size

    def write(self, data: bytes) -> None:
        """Append bytes.

        Raises:
            RegistryError: Somebody has cancelled the upload meanwhile.
        """
        if self.closed:
            raise upload_unknown()
        self.hasher.update(data)
        self.upload.write(data)

    def progress(self, call: Call) -> dict[str, str]:
        """Return the headers that say where the upload stands, and its newest `Location`."""
        return {
            "Location": f"{call.location(f'blobs/uploads/{self.id}')}?state={self.state}",
            "Range": f"0-{max(self.size - 1, 0)}",
            "Docker-Upload-UUID": self.id,
        }

    def close(self) -> None:
        """Forget the bytes."""
        self.closed = True
        self.upload.discard()


async def start_upload(call: Call) -> Response:
    """end-4a, end-4b, end-4c, end-11: `POST /v2/<name>/blobs/uploads/`."""
    query = call.request.query_params
    if "mount" in query and (digest := _mount(call, query["mount"], query.get("from"))) is not None:
        return _stored(call, digest)
    if "digest" in query:
        return await _push_at_once(call, parse_digest(query["digest"]))
    session = _new_session(call, query.get("digest-algorithm", DEFAULT_ALGORITHM))
    call.app.drop_idle_uploads()
    call.app.uploads[session.id] = session
    response = _progress(call, session, 202)
    if call.app.chunk_min_length:
        response.headers[OCI_CHUNK_MIN_LENGTH] = str(call.app.chunk_min_length)
    return response


def _mount(call: Call, digest_text: str, source_name: str | None) -> Digest | None:
    """Mount a blob if it is where the client says, or anywhere, and the client may read it there."""
    digest = parse_digest(digest_text)
    storage = call.app.storage
    for name in storage.names() if source_name is None else [_checked(source_name)]:
        refusal = call.app.refusal(
            call.request, Access.to(call.name, "pull", "push"), Access.to(name, "pull")
        )
        if refusal is not None and refusal.status == 403:
            continue
        if refusal is not None and source_name is not None:
            raise refusal  # as distribution does: it asks for a token for both, which this user can have
        # Without `from` no client can know what to ask a token for, so it counts what the user may do.
        source = storage.find(name)
        if source is None or source.size(digest) is None:
            continue
        if storage.open(call.name).mount(digest, source):
            return digest
    return None


def _checked(name: str) -> str:
    try:
        return check_repository(name)
    except InvalidReference as error:
        raise RegistryError(400, "NAME_INVALID", str(error)) from None


async def _push_at_once(call: Call, digest: Digest) -> Response:
    session = _new_session(call, digest.algorithm)
    try:
        await _receive(call.request, session)
        return await _finish(call, session, digest)
    finally:
        session.close()


def _new_session(call: Call, algorithm: str) -> UploadSession:
    try:
        hasher = Hasher(algorithm)
    except InvalidDigest as error:
        raise digest_invalid(str(error)) from None
    return UploadSession(call.name, call.app.storage.open(call.name).new_upload(), hasher)


async def patch_upload(call: Call) -> Response:
    """end-5: `PATCH <location>`: a chunk, or the whole as a stream without `Content-Range`."""
    session = _session_of(call)
    async with session.lock:
        _check_state(call, session)
        await _receive_chunk(call, session)
        return _progress(call, session, 202)


async def finish_upload(call: Call) -> Response:
    """end-6: `PUT <location>?digest=<digest>`, with the whole, the last chunk, or nothing."""
    session = _session_of(call)
    if "digest" not in call.request.query_params:
        raise digest_invalid("the digest parameter is missing")
    digest = parse_digest(call.request.query_params["digest"])
    async with session.lock:
        _check_state(call, session)
        if session.size == 0:
            session.hasher = digest.hasher()
        await _receive_chunk(call, session)
        try:
            return await _finish(call, session, digest)
        finally:
            session.close()
            call.app.uploads.pop(session.id, None)


async def upload_status(call: Call) -> Response:
    """end-13: `GET <location>`: any Location of this upload will do, since the newest may have been lost."""
    session = _session_of(call)
    async with session.lock:
        _check_open(session)
        return _progress(call, session, 204)


async def cancel_upload(call: Call) -> Response:
    """end-14: `DELETE <location>`. A request that is still sending to the upload fails."""
    session = _session_of(call)
    _check_state(call, session)
    session.close()
    call.app.uploads.pop(session.id, None)
    return Response(status_code=204)


def _session_of(call: Call) -> UploadSession:
    session = call.app.uploads.get(call.argument)
    if session is None or session.name != call.name:
        raise upload_unknown()
    return session


def _check_open(session: UploadSession) -> None:
    if session.closed:
        raise upload_unknown()


def _check_state(call: Call, session: UploadSession) -> None:
    _check_open(session)
    if call.request.query_params.get("state") != session.state:
        raise _out_of_order(call, session, "this is not the newest location of the upload")


def _out_of_order(call: Call, session: UploadSession, message: str) -> RegistryError:
    headers = session.progress(call)
    return RegistryError(
        416, "BLOB_UPLOAD_INVALID", message, detail={"offset": session.size}, headers=headers
    )


async def _receive_chunk(call: Call, session: UploadSession) -> None:
    """Take in a body where its `Content-Range`, if it has one, says that it belongs."""
    text = call.request.headers.get("content-range")
    if text is None:
        await _receive(call.request, session)
        return
    match = re.fullmatch(r"([0-9]{1,18})-([0-9]{1,18})", text.strip(), re.ASCII)
    if match is None or int(match[2]) < int(match[1]):
        raise RegistryError(400, "BLOB_UPLOAD_INVALID", "Content-Range is not <first>-<last>")
    start, expected = int(match[1]), int(match[2]) - int(match[1]) + 1
    if start != session.size:
        raise _out_of_order(call, session, f"the chunk starts at {start}, the upload is at {session.size}")
    _check_minimum(session, expected, call.app.chunk_min_length)
    if parse_content_length(call.request.headers.get("content-length")) not in (None, expected):
        raise _wrong_length()
    await _receive(call.request, session)
    if session.size != start + expected:
        session.close()  # the bytes are in, and cannot be taken out of the hash again
        call.app.uploads.pop(session.id, None)
        raise _wrong_length()


def _check_minimum(session: UploadSession, length: int, minimum: int) -> None:
    """Let only the last chunk be shorter than `OCI-Chunk-Min-Length`: none may follow such a one."""
    if session.had_last_chunk:
        message = f"the chunk before this one was shorter than {minimum} bytes, so it was the last"
        raise RegistryError(400, "BLOB_UPLOAD_INVALID", message)
    session.had_last_chunk = length < minimum


def _wrong_length() -> RegistryError:
    return RegistryError(400, "SIZE_INVALID", "Content-Range and the length of the body disagree")


async def _receive(request: Request, session: UploadSession) -> None:
    start = session.size
    try:
        async for piece in request.stream():
            if piece:
                session.write(piece)
    finally:
        session.upload.release()
    if session.size > start:
        session.chunks.append(session.size - start)


async def _finish(call: Call, session: UploadSession, digest: Digest) -> Response:
    actual = (
        session.hasher.digest()
        if session.hasher.algorithm == digest.algorithm
        else await _rehash(session, digest)
    )
    _check_open(session)
    if actual != digest:
        raise digest_invalid("provided digest did not match uploaded content", detail={"actual": actual})
    session.upload.commit(digest)
    return _stored(call, digest)


async def _rehash(session: UploadSession, digest: Digest) -> Digest:
    """Hash what is there again: the client named another algorithm than it started with."""
    hasher = digest.hasher()
    with session.upload.open() as file:
        while piece := file.read(PIECE):
            hasher.update(piece)
            await anyio.lowlevel.checkpoint()
    return hasher.digest()


def _stored(call: Call, digest: Digest) -> Response:
    headers = {"Location": call.location(f"blobs/{digest}"), DOCKER_CONTENT_DIGEST: digest}
    return Response(status_code=201, headers=headers)


def _progress(call: Call, session: UploadSession, status: int) -> Response:
    session.state = secrets.token_urlsafe(12)
    session.touched = time.monotonic()
    return Response(status_code=status, headers=session.progress(call))
