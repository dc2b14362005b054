"""Responses that are content of a registry, passed on as it comes."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

from starlette.background import BackgroundTask
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from oci_distribution.content.sources import BytesSource
from oci_distribution.errors import OCIError
from oci_distribution.remote.repository import Repository
from oci_distribution.spec.headers import DOCKER_CONTENT_DIGEST, entity_tag
from oci_distribution.spec.mediatypes import MediaType
from oci_distribution.spec.models import Descriptor
from oci_distribution.web.clients import WebClient
from oci_distribution.web.conditions import holds, wanted_range

__all__ = ["BlobResponse", "ManifestResponse"]

_LOGGER = logging.getLogger(__name__)

PATIENCE = 60.0
"""Seconds that a client may take to accept a piece: nginx's `send_timeout`, too."""


class _ContentResponse(Response, ABC):
    """Answers GET and HEAD for content that a digest names (RFC 9110)."""

    def __init__(
        self,
        *,
        headers: Mapping[str, str] | None,
        media_type: str | None,
        background: BackgroundTask | None,
        patience: float,
    ) -> None:
        self.status_code = 200
        self.media_type = media_type
        self.background = background
        self._patience = patience
        self.init_headers(headers)

    @abstractmethod
    async def _stat(self, *, must_exist: bool) -> Descriptor:
        """Say what there is, without its bytes; whoever wants no bytes has no other way to learn that."""

    @abstractmethod
    def _open(
        self, known: Descriptor | None, part: range | None
    ) -> AbstractAsyncContextManager[tuple[Descriptor, AsyncIterator[bytes]]]:
        """Open what there is, or a part; `known` is what `_stat` returned, if it was asked."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        client = WebClient(scope, receive, send, self._patience)
        try:
            await client.while_here(partial(self._answer, client))
        except OCIError as error:
            if client.has_answer:
                # Here, since middleware on the way out may put an error of its own in the place of this one.
                _LOGGER.warning("a response is broken off: %s", error)
            raise
        if self.background is not None:
            await self.background()

    async def _answer(self, client: WebClient) -> None:
        if not (client.is_asking_for_head or {"if-none-match", "range"} & set(client.headers)):
            await self._pass_on(client, None, None)
            return
        known = await self._stat(must_exist=client.is_asking_for_head or "if-none-match" in client.headers)
        etag = entity_tag(known.digest)
        part = None if client.is_asking_for_head else wanted_range(client.headers, etag, known.size)
        if holds(client.headers, etag):
            await client.start(304, self._headers_for(known))
        elif client.is_asking_for_head:
            await client.start(200, self._headers_for(known, length=known.size))
        elif part is not None and not part:
            # Without the caller's headers: what is said of the content may not hold for a refusal.
            await client.start(416, Response(headers={"Content-Range": f"bytes */{known.size}"}).raw_headers)
        else:
            await self._pass_on(client, known, part)
            return
        await client.end()

    async def _pass_on(self, client: WebClient, known: Descriptor | None, part: range | None) -> None:
        """Send the content, or a part of it, a piece at a time."""
        async with self._open(known, part) as (content, pieces):
            # Before the status: by then, the registry has begun, and what comes in one piece is verified.
            piece = await anext(pieces, b"")
            if part is None:
                await client.start(200, self._headers_for(content, length=content.size))
            else:
                shown = {"Content-Range": f"bytes {part.start}-{part.stop - 1}/{content.size}"}
                await client.start(206, self._headers_for(content, shown, length=len(part)))
            while piece:
                await client.send(piece)
                piece = await anext(pieces, b"")
        await client.end()

    def _headers_for(
        self, content: Descriptor, more: Mapping[str, str] | None = None, *, length: int | None = None
    ) -> list[tuple[bytes, bytes]]:
        headers = MutableHeaders(raw=list(self.raw_headers))
        headers["ETag"] = entity_tag(content.digest)
        headers[DOCKER_CONTENT_DIGEST] = content.digest
        headers.update(more or {})
        if length is not None:
            headers["Content-Length"] = str(length)
            headers["Accept-Ranges"] = "bytes"
            # Anybody may have pushed it: a browser shall not find a page of ours in it.
            headers.setdefault("Content-Type", _harmless(content.media_type))
            headers.setdefault("X-Content-Type-Options", "nosniff")
        return headers.raw


def _harmless(media_type: str) -> str:
    """Return a type that no browser runs scripts of: a vendor's own, but for XML, or one of mere bytes."""
    kind = media_type.lower()
    is_harmless = kind.startswith("application/vnd.") and not kind.endswith("+xml")
    return media_type if is_harmless else MediaType.OCTET_STREAM


class BlobResponse(_ContentResponse):
    """A blob for a client of your application: return it from a path operation for GET and HEAD.

    Nothing is asked before the response is sent. Then the blob is passed on piece by piece, no faster than
    the client takes it, and the connection to the registry ends when the client leaves. One range
    (`Range`, `If-Range`), `HEAD` and `If-None-Match` are answered; the entity tag is the digest. A whole
    blob is verified before its last piece is sent: when it is not what it should be, the response is
    broken off, and the client sees that it is not whole. Parts cannot be verified. A part of a blob of which
    only the digest is given costs a HEAD, too.

    Args:
        repository: Holds the blob.
        blob: Its descriptor, or its digest.
        headers: More headers, such as `Cache-Control`.
        media_type: The `Content-Type`. By default it is the descriptor's where that is `application/vnd.…`,
            else `application/octet-stream`: whoever pushed the blob shall make no web page of yours.
        background: What to do after the response was sent, or the client has left.
        patience: Seconds that the client may take to accept a piece, before the response is broken off.

    Raises:
        OCIError: By the time it is sent, when there is nothing to send; see `oci_error_handler`.
    """

    def __init__(
        self,
        repository: Repository,
        blob: Descriptor | str,
        *,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        background: BackgroundTask | None = None,
        patience: float = PATIENCE,
    ) -> None:
        super().__init__(headers=headers, media_type=media_type, background=background, patience=patience)
        self._repository = repository
        self._blob = blob

    async def _stat(self, *, must_exist: bool) -> Descriptor:
        blob, blobs = self._blob, self._repository.blobs
        if not isinstance(blob, Descriptor):
            return await blobs.stat(blob)
        if must_exist and (blob.urls or blob.data is not None):
            async with blobs.open(blob):  # it may be elsewhere than in the registry
                return blob
        if must_exist:
            await blobs.stat(blob.digest)
        return blob

    @asynccontextmanager
    async def _open(
        self, known: Descriptor | None, part: range | None
    ) -> AsyncGenerator[tuple[Descriptor, AsyncIterator[bytes]]]:
        start, stop = (0, None) if part is None else (part.start, part.stop)
        async with self._repository.blobs.open(known or self._blob, start=start, stop=stop) as reader:
            yield reader.descriptor, reader


class ManifestResponse(_ContentResponse):
    """A manifest for a client of your application, verified; otherwise like `BlobResponse`.

    `If-None-Match` is answered by a HEAD to the registry, which Docker Hub does not count as a pull.

    Args:
        repository: Holds the manifest.
        reference: Its tag or digest.
        headers: More headers, such as `Cache-Control`.
        background: What to do after the response was sent, or the client has left.
        patience: Seconds that the client may take to accept a piece, before the response is broken off.

    Raises:
        OCIError: By the time it is sent, when there is nothing to send; see `oci_error_handler`.
    """

    def __init__(
        self,
        repository: Repository,
        reference: str,
        *,
        headers: Mapping[str, str] | None = None,
        background: BackgroundTask | None = None,
        patience: float = PATIENCE,
    ) -> None:
        super().__init__(headers=headers, media_type=None, background=background, patience=patience)
        self._repository = repository
        self._reference = reference

    async def _stat(self, *, must_exist: bool) -> Descriptor:  # noqa: ARG002 - only asking tells
        return await self._repository.manifests.stat(self._reference)

    @asynccontextmanager
    async def _open(
        self, known: Descriptor | None, part: range | None
    ) -> AsyncGenerator[tuple[Descriptor, AsyncIterator[bytes]]]:
        # By digest once it is known: a tag may have moved, and a part must be of what was announced.
        manifest = await self._repository.manifests.get(self._reference if known is None else known.digest)
        content = manifest.raw if part is None else manifest.raw[part.start : part.stop]
        async with BytesSource(content).open() as pieces:
            yield manifest.descriptor, pieces
