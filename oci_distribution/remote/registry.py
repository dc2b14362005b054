"""A registry: the interface of the specification, flat, with the repository as an argument."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

from oci_distribution.content.protocols import MountPoint, PushOutcome
from oci_distribution.content.sources import SourceLike, as_source, describe
from oci_distribution.errors import (
    ContentError,
    Denied,
    DigestMismatch,
    InvalidDigest,
    ProtocolError,
    Unsupported,
    UnsupportedError,
)
from oci_distribution.remote.blob_body import BlobBody
from oci_distribution.remote.blob_reader import BlobReader
from oci_distribution.remote.listings import pages
from oci_distribution.remote.uploads import SMALL_ANSWER, Upload, mount_name
from oci_distribution.spec import endpoints
from oci_distribution.spec.digest import Digest
from oci_distribution.spec.headers import (
    DOCKER_API_VERSION,
    DOCKER_CONTENT_DIGEST,
    parse_content_length,
    parse_media_type,
)
from oci_distribution.spec.manifest import Manifest
from oci_distribution.spec.mediatypes import MediaType
from oci_distribution.spec.models import Descriptor, RepositoryList, TagList
from oci_distribution.spec.reference import check_repository, check_tag, check_tags
from oci_distribution.transport.answers import Answer
from oci_distribution.transport.calls import Host
from oci_distribution.transport.sender import Sender

if TYPE_CHECKING:
    from oci_distribution.remote.repository import Repository

__all__ = ["MAX_MANIFEST", "Registry"]

MAX_MANIFEST = 4 << 20
"""Bytes of a manifest that we take in: what registries must support, and most do not go beyond."""

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True, repr=False)
class Registry:
    """One registry; made by `Client.registry`.

    Args:
        sender: Sends the requests.
        host: Which registry, and where it answers.
        max_manifest: Longest manifest to take in, in bytes.
    """

    sender: Sender
    host: Host
    max_manifest: int = MAX_MANIFEST

    @property
    def name(self) -> str:
        """Canonical name, `host` or `host:port`; Docker Hub is `docker.io`."""
        return self.host.registry

    def repository(self, path: str) -> Repository:
        """Return a handle on one repository.

        Args:
            path: Its name within the registry, as it is: no `library/` is added here.

        Raises:
            InvalidReference: `path` breaks the grammar.
        """
        from oci_distribution.remote.repository import Repository  # noqa: PLC0415 - a repository knows its registry

        return Repository(self, check_repository(path))

    async def ping(self) -> None:
        """Make sure that this is a registry that we may talk to (end-1).

        Raises:
            RequestError: It is not, or we may not.
        """
        await self.version()

    async def version(self) -> str | None:
        """Return the API version that the registry names, `registry/2.0` (end-1); None if it names none."""
        answer = await self.sender.request(self.host, endpoints.ping(), limit=self.max_manifest)
        version: str | None = answer.headers.get(DOCKER_API_VERSION)
        return version

    async def stat_manifest(self, repository: str, reference: str) -> Descriptor:
        """Return the descriptor of a manifest (end-3).

        Asked by HEAD, which Docker Hub does not count; by GET where the HEAD does not tell.

        Args:
            repository: Name of the repository.
            reference: A tag or a digest.

        Raises:
            ManifestUnknown: There is no such manifest.
            DigestMismatch: The registry names another digest than was asked for.
        """
        digest = _checked_reference(repository, reference)
        try:
            answer = await self._ask(endpoints.head_manifest(repository, reference), SMALL_ANSWER)
        except (Unsupported, Denied):
            # 405 and 403 for HEAD alone are seen behind proxies; the GET says more, if only why.
            return (await self.get_manifest(repository, reference)).descriptor
        size = parse_content_length(answer.headers.get("Content-Length"))
        media_type = parse_media_type(answer.headers.get("Content-Type"))
        announced = _announced_digest(answer)
        if digest is not None and announced is not None and announced != digest:
            raise DigestMismatch(f"asked for {digest}, and the registry names {announced}").about(
                answer.context
            )
        digest = digest or announced
        if digest is None or size is None or media_type is None:
            return (await self.get_manifest(repository, reference)).descriptor
        return Descriptor(media_type=media_type, digest=digest, size=size)

    async def get_manifest(self, repository: str, reference: str) -> Manifest:
        """Return a manifest, verified (end-3).

        Args:
            repository: Name of the repository.
            reference: A tag or a digest. By tag, what the registry says of the digest is checked.

        Raises:
            ManifestUnknown: There is no such manifest.
            DigestMismatch: The bytes are others than were asked for or announced.
            InvalidManifest: The bytes are no manifest, or could be read in two ways.
            LimitExceeded: It is longer than `max_manifest`.
        """
        digest = _checked_reference(repository, reference)
        answer = await self._ask(endpoints.get_manifest(repository, reference), self.max_manifest)
        media_type = parse_media_type(answer.headers.get("Content-Type"))
        if media_type == "text/html":
            raise ProtocolError("answered with a web page: is this a registry?", context=answer.context)
        try:
            return Manifest.parse(answer.content, media_type, digest=digest or _announced_digest(answer))
        except ContentError as error:
            error.about(answer.context)
            raise

    async def push_manifest(
        self, repository: str, manifest: Manifest, tags: Sequence[str] = ()
    ) -> Descriptor:
        """Store a manifest byte for byte (end-7a).

        Args:
            repository: Name of the repository.
            manifest: What to store; all that it refers to must be there.
            tags: Tags that shall point at it; without any it can be had by its digest.

        Raises:
            ManifestBlobUnknown: Something that it refers to is missing.
            DigestMismatch: The registry says that it stored something else.
            UnsupportedError: Tags for a manifest whose digest is not a sha256.
        """
        check_repository(repository)
        check_tags(tags)
        if tags and manifest.digest.algorithm != "sha256":
            # By tag, a registry chooses the algorithm, and the tag would name another digest.
            raise UnsupportedError("a manifest with a sha512 digest cannot be pushed by tag")
        for reference in tags or (manifest.digest,):
            endpoint = endpoints.put_manifest(repository, reference, manifest.media_type)
            answer = await self.sender.request(self.host, endpoint, limit=SMALL_ANSWER, body=manifest.raw)
            stored = _announced_digest(answer)
            if stored is not None and stored != manifest.digest:
                raise DigestMismatch(f"the registry stored {stored}, not {manifest.digest}").about(
                    answer.context
                )
        return manifest.descriptor

    async def stat_blob(self, repository: str, digest: str) -> Descriptor:
        """Return size and digest of a blob (end-2); registries do not know its media type.

        Raises:
            BlobUnknown: The repository does not hold it.
            ProtocolError: The registry does not say how long it is.
        """
        check_repository(repository)
        checked = Digest(digest)
        answer = await self._ask(endpoints.head_blob(repository, checked), SMALL_ANSWER)
        size = parse_content_length(answer.headers.get("Content-Length"))
        if size is None:
            raise ProtocolError("the registry does not say how long the blob is", context=answer.context)
        return Descriptor(media_type=MediaType.OCTET_STREAM, digest=checked, size=size)

    def get_blob(self, repository: str, blob: Descriptor | str) -> BlobReader:
        """Return a reader of a blob (end-2), not open yet: `async with` opens it.

        Args:
            repository: Name of the repository.
            blob: Its descriptor, or its digest when the size is not known.
        """
        check_repository(repository)
        wanted = blob if isinstance(blob, Descriptor) else Digest(blob)
        digest = wanted.digest if isinstance(wanted, Descriptor) else wanted
        endpoint = endpoints.get_blob(repository, digest)
        return BlobReader(BlobBody(self.sender, self.host, endpoint), wanted)

    async def push_blob(
        self,
        repository: str,
        data: SourceLike,
        *,
        descriptor: Descriptor | None = None,
        media_type: str = MediaType.OCTET_STREAM,
        mount_from: MountPoint | None = None,
    ) -> tuple[Descriptor, PushOutcome]:
        """Store a blob: asked for, mounted if possible, else streamed in one PUT (end-4a, end-6, end-11).

        Args:
            repository: Name of the repository.
            data: Bytes, a path, or a source that can be opened again.
            descriptor: What the data must be; without it, it is read twice, first to be hashed.
            media_type: Goes into the descriptor that is made then.
            mount_from: A store that holds the blob; used when it is of this registry.

        Raises:
            DigestMismatch: The data, or what the registry stored, hashes to something else.
            SizeMismatch: The data has another length.
        """
        check_repository(repository)
        source = as_source(data)
        blob = descriptor if descriptor is not None else await describe(source, media_type)
        upload = Upload(self.sender, self.host, repository, blob, source)
        outcome = await upload.run(mount_from=mount_name(mount_from, self.host, repository))
        return blob, outcome

    async def list_tags(
        self, repository: str, *, page_size: int | None = None, last: str | None = None
    ) -> AsyncGenerator[str]:
        """Iterate over the tags of a repository, in the registry's order (end-8a, end-8b).

        Args:
            repository: Name of the repository.
            page_size: Tags asked for at a time; by default the registry decides, since some refuse a number.
            last: Start after this tag.

        Raises:
            NameUnknown: There is no such repository.
        """
        check_repository(repository)
        endpoint = endpoints.list_tags(repository, n=page_size, last=last)
        async for answer in pages(self.sender, self.host, endpoint):
            for tag in _document(TagList, answer).tags:
                yield tag

    async def list_repositories(
        self, *, page_size: int | None = None, last: str | None = None
    ) -> AsyncGenerator[str]:
        """Iterate over the names of the registry's repositories (`_catalog`, which many registries refuse).

        Args:
            page_size: Names asked for at a time; by default the registry decides.
            last: Start after this name.
        """
        async for answer in pages(
            self.sender, self.host, endpoints.list_repositories(n=page_size, last=last)
        ):
            for name in _document(RepositoryList, answer).repositories:
                yield name

    async def _ask(self, endpoint: endpoints.Endpoint, limit: int) -> Answer:
        return await self.sender.request(self.host, endpoint, limit=limit)

    def __repr__(self) -> str:
        return f"<Registry {self.name} at {self.host.origin}>"


def _checked_reference(repository: str, reference: str) -> Digest | None:
    """Check both before a URL is built from them; the digest, if the reference is one."""
    check_repository(repository)
    if ":" in reference:
        return Digest(reference)
    check_tag(reference)
    return None


def _announced_digest(answer: Answer) -> Digest | None:
    text = answer.headers.get(DOCKER_CONTENT_DIGEST)
    try:
        return Digest(text) if text else None
    except InvalidDigest as error:
        raise ProtocolError(f"{DOCKER_CONTENT_DIGEST}: {error}", context=answer.context) from None


def _document(model: type[M], answer: Answer) -> M:
    try:
        return model.model_validate_json(answer.content)
    except ValidationError:
        raise ProtocolError("the answer is not the JSON that it must be", context=answer.context) from None
