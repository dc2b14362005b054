"""A registry: the interface of the specification, flat, with the repository as an argument.

(Longer than other files: it is one table of operations, and most of it is their reference.)
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

from oci_distribution.content.protocols import MountPoint, PushOutcome
from oci_distribution.content.sources import SourceLike, as_source
from oci_distribution.errors import ProtocolError, UnsupportedError
from oci_distribution.remote import deletes, downloads, manifest_push, manifests, pushes, referrers
from oci_distribution.remote.blob_reader import BlobReader
from oci_distribution.remote.blob_sources import blob_reader
from oci_distribution.remote.blob_writer import BlobWriter
from oci_distribution.remote.failover import asked_in_turn
from oci_distribution.remote.listings import check_page_size, names
from oci_distribution.remote.open_upload import UploadTarget
from oci_distribution.remote.referrers_index import ReferrerQueues
from oci_distribution.remote.upload_session import UploadSession
from oci_distribution.remote.uploads import CHUNK_SIZE, mount_name
from oci_distribution.spec import endpoints
from oci_distribution.spec.digest import Digest
from oci_distribution.spec.headers import DOCKER_API_VERSION, parse_content_length
from oci_distribution.spec.manifest import Manifest
from oci_distribution.spec.mediatypes import MediaType
from oci_distribution.spec.models import Descriptor, Platform, RepositoryList, TagList
from oci_distribution.spec.rate_limit import RateLimit
from oci_distribution.spec.reference import check_repository
from oci_distribution.transport.answers import SMALL_ANSWER, Answer
from oci_distribution.transport.calls import Host
from oci_distribution.transport.learned import Learned
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
        referrer_queues: Who waits to change a list of referrers; shared by all that talk to one host.
    """

    sender: Sender
    host: Host
    max_manifest: int = MAX_MANIFEST
    referrer_queues: ReferrerQueues = field(default_factory=ReferrerQueues, compare=False)

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
        """Return the API version that the registry names, `registry/2.0` (end-1); None if it names none.

        Raises:
            RequestError: It is no registry, or we may not talk to it.
        """
        answer = await self.sender.request(self.host, endpoints.ping(), limit=self.max_manifest)
        version: str | None = answer.headers.get(DOCKER_API_VERSION)
        return version

    async def stat_manifest(self, repository: str, reference: Descriptor | str) -> Descriptor:
        """Return the descriptor of a manifest (end-3).

        Asked by HEAD, which Docker Hub does not count; by GET where the HEAD does not tell.

        Args:
            repository: Name of the repository.
            reference: A tag, a digest, or a descriptor.

        Raises:
            ManifestUnknown: There is no such manifest.
            DigestMismatch: The registry names another digest than was asked for.
        """
        return await manifests.stat(self, repository, _named(reference))

    async def get_manifest(
        self, repository: str, reference: Descriptor | str, *, platform: Platform | str | None = None
    ) -> Manifest:
        """Return a manifest, verified (end-3).

        Args:
            repository: Name of the repository.
            reference: A tag, digest or descriptor. By tag, what the registry says of the digest is checked;
                by descriptor, the length, too, and whether it is an index.
            platform: The image for this platform, `linux/arm64`, out of the index that `reference` names;
                an image that is no part of an index has to be for it. None for what `reference` names itself.

        Raises:
            ManifestUnknown: There is no such manifest.
            NotFound: There is none for that platform.
            DigestMismatch: The bytes are others than were asked for or announced.
            InvalidManifest: The bytes are no manifest, or could be read in two ways.
            LimitExceeded: It is longer than `max_manifest`.
        """
        if platform is not None:
            return await manifests.get_for_platform(self, repository, _named(reference), platform)
        manifest = await manifests.get(self, repository, _named(reference))
        return manifest.verify(reference) if isinstance(reference, Descriptor) else manifest

    async def get_manifest_if_changed(
        self, repository: str, reference: str, known: Descriptor | str
    ) -> Manifest | None:
        """Return a manifest, or None when it is the known one still (end-3, RFC 9110 section 13.1.2).

        Args:
            repository: Name of the repository.
            reference: A tag or a digest.
            known: What was there before: its descriptor or digest.

        Raises:
            ManifestUnknown: There is no such manifest any more.
        """
        return await manifests.get_if_changed(self, repository, reference, _digest_of(known))

    async def has_tag_moved(self, repository: str, tag: str, known: Descriptor | str) -> bool:
        """Say whether a tag points elsewhere than it did, or is gone: one HEAD, which costs no quota (end-3).

        Args:
            repository: Name of the repository.
            tag: The tag.
            known: What it pointed at: its descriptor or digest.
        """
        return await manifests.has_moved(self, repository, tag, _digest_of(known))

    async def push_manifest(
        self, repository: str, manifest: Manifest, tags: Sequence[str] = (), *, if_absent: bool = False
    ) -> Descriptor:
        """Store a manifest byte for byte (end-7a, end-7b).

        Several tags go in one request where the registry takes them so. A manifest with a subject is put on
        the list of its referrers, if the registry has no referrers API ("Referrers Tag Schema"); where that
        takes no notice of `If-Match`, it takes part of a second, since others may change the list, too.

        Args:
            repository: Name of the repository.
            manifest: What to store; all that it refers to must be there, but its subject.
            tags: Tags that shall point at it; without any it can be had by its digest.
            if_absent: Whether a tag that points elsewhere shall stay where it is, which is an error then, and
                no tag is pushed. The registry is asked for all of them before; where it ignores
                `If-None-Match`, somebody may come in between.

        Raises:
            ManifestBlobUnknown: Something that it refers to is missing.
            DigestMismatch: The bytes are not those of the descriptor, or the registry says that it stored
                something else.
            TagExists: A tag that must not move points elsewhere.
            LimitExceeded: It is longer than `max_manifest`.
            SizeInvalid: It is too long for the registry.
            UnsupportedError: The registry cannot tag a manifest whose digest is not a sha256; the manifest is
                stored by its digest. Or it keeps no list of referrers, and lets nobody keep one (GitLab).
            InvalidManifest: What is under the tag for the list of referrers is something else.
        """
        return await manifest_push.push(self, repository, manifest, tags, if_absent=if_absent)

    async def delete_manifest(
        self, repository: str, digest: Descriptor | str, *, missing_ok: bool = False
    ) -> bool:
        """Delete a manifest, with every tag that points at it (end-9), and say whether it was there.

        Where the registry has no referrers API, the list that a tag keeps instead is put right.

        Args:
            repository: Name of the repository.
            digest: Its digest or descriptor; to delete a tag alone, there is `delete_tag`.
            missing_ok: Whether it is fine that there is no such manifest.

        Raises:
            ManifestUnknown: There is no such manifest.
            Unsupported: The registry does not delete, or not while there are tags (GAR).
        """
        return await deletes.delete_manifest(self, repository, _digest_of(digest), missing_ok=missing_ok)

    async def delete_tag(self, repository: str, tag: str, *, missing_ok: bool = False) -> bool:
        """Delete a tag, and never what it points at (end-9), and say whether it was there.

        Args:
            repository: Name of the repository.
            tag: The tag.
            missing_ok: Whether it is fine that there is no such tag.

        Raises:
            ManifestUnknown: There is no such tag.
            Unsupported: The registry deletes no tags, only manifests with all their tags.
        """
        return await deletes.delete_tag(self, repository, tag, missing_ok=missing_ok)

    async def stat_blob(self, repository: str, digest: Descriptor | str) -> Descriptor:
        """Return size and digest of a blob (end-2); registries do not know its media type.

        Args:
            repository: Name of the repository.
            digest: Its digest or descriptor.

        Raises:
            BlobUnknown: The repository does not hold it.
            ProtocolError: The registry does not say how long it is.
        """
        check_repository(repository)
        checked = _digest_of(digest)

        async def ask(place: Registry, name: str) -> Descriptor:
            answer = await place.ask(endpoints.head_blob(name, checked), limit=SMALL_ANSWER)
            size = parse_content_length(answer.headers.get("Content-Length"))
            if size is None:
                raise ProtocolError("the registry does not say how long the blob is", context=answer.context)
            return Descriptor(media_type=MediaType.OCTET_STREAM, digest=checked, size=size)

        return await asked_in_turn(self, repository, ask, by_digest=True)

    @property
    def without_mirrors(self) -> Registry:
        """This registry, asked itself for everything."""
        return replace(self, host=replace(self.host, mirrors=()))

    def get_blob(
        self,
        repository: str,
        blob: Descriptor | str,
        *,
        start: int = 0,
        stop: int | None = None,
        connections: int = 1,
    ) -> BlobReader:
        """Return a reader of a blob (end-2), not open yet: `async with` opens it.

        Args:
            repository: Name of the repository.
            blob: Its descriptor, or its digest when the size is not known. Content that the descriptor
                holds itself (`data`) is not asked for; where the registry does not have the blob, the
                descriptor's `urls` are asked, without authorization.
            start: First byte wanted.
            stop: The byte to stop before; None for the end.
            connections: How many parts to fetch at once, 8 MiB each, where the registry serves ranges:
                for hosts that limit the rate of a connection. One is best for all others.

        Raises:
            InvalidArgument: The blob has no such range.

        Opening raises `BlobUnknown` where the blob is nowhere, reading `DigestMismatch` or `SizeMismatch`
        before the last piece of a blob that is another, and `TransportError` when patience is at its end.
        """
        check_repository(repository)
        wanted = blob if isinstance(blob, Descriptor) else Digest(blob)
        return blob_reader(
            self.sender, self.host, repository, wanted, start=start, stop=stop, connections=connections
        )

    async def download_blob(
        self,
        repository: str,
        blob: Descriptor | str,
        path: str | os.PathLike[str],
        *,
        resume: bool = False,
        connections: int = 1,
    ) -> Descriptor:
        """Write a blob to a file, which is there whole and verified, or not at all (end-2).

        Progress is told by `Downloaded` events, see `observe`.

        Args:
            repository: Name of the repository.
            blob: Its descriptor, or its digest.
            path: The file, which is replaced; its directory is made.
            resume: Whether to keep what came when the download is broken off, in `<name>.<digest>.part`,
                and to go on from there next time, in whatever process. What is kept is hashed again, and a
                file that is what it shall be is left alone.
            connections: How many parts to fetch at once, see `get_blob`.

        Raises:
            BlobUnknown: The repository does not hold it.
            DigestMismatch: The bytes hash to something else.
            StoreError: The file cannot be written, or another process is downloading to it.
        """
        target = Path(path)
        if not resume:
            return await downloads.download(
                lambda: self.get_blob(repository, blob, connections=connections), target
            )
        known = blob if isinstance(blob, Descriptor) else await self.stat_blob(repository, blob)

        def open_at(position: int) -> BlobReader:
            return self.get_blob(repository, known, start=position, connections=connections)

        await downloads.resume(open_at, known, target)
        return known

    async def push_blob(
        self,
        repository: str,
        data: SourceLike | AsyncIterable[bytes],
        *,
        descriptor: Descriptor | None = None,
        media_type: str = MediaType.OCTET_STREAM,
        mount_from: MountPoint | None = None,
        chunk_size: int | None = None,
    ) -> tuple[Descriptor, PushOutcome]:
        """Store a blob by the cheapest way that the registry offers (end-4a, end-4b, end-5, end-6, end-11).

        What is there already is left alone, what can be mounted is; else it goes in one request where the
        registry takes that, or in chunks. Progress is told by `Uploaded` events, see `observe`, but not that
        of an async iterable, whose length nobody knows.

        Args:
            repository: Name of the repository.
            data: Bytes, a path, a function that returns the bytes as an async iterable, or a source, all of
                which can be read again; or an async iterable, which cannot, and so goes in chunks.
            descriptor: What the data must be; without it, it is read twice, first to be hashed.
            media_type: Goes into the descriptor that is made then.
            mount_from: A store that holds the blob; used when it is of this registry.
            chunk_size: Bytes of each chunk, to send it in chunks in any case; for registries behind proxies
                that limit a request.

        Raises:
            DigestMismatch: The data, or what the registry stored, hashes to something else.
            DigestInvalid: The registry says so.
            SizeMismatch: The data has another length.
            InvalidMediaType: The media type breaks the grammar.
        """
        target = self._upload_target(repository)
        from_name = mount_name(mount_from, self.host, repository)
        return await pushes.push(
            target,
            data,
            descriptor,
            media_type=media_type,
            mount_from=from_name,
            chunk_size=chunk_size,
        )

    def push_blob_chunked(
        self, repository: str, *, chunk_size: int = CHUNK_SIZE, algorithm: str = "sha256"
    ) -> BlobWriter:
        """Return a writer of a blob, not open yet: `async with` opens it (end-4a, end-5, end-6).

        Where the registry takes no chunks (`RegistryProfile.chunks`), the writer keeps all of it in a
        temporary file until `commit`.

        Args:
            repository: Name of the repository.
            chunk_size: Bytes of each chunk, two at least; more where the registry wants more, fewer where it
                takes no more.
            algorithm: Of the digest: `sha256` or `sha512`.

        Raises:
            InvalidArgument: Chunks of nothing.
            InvalidDigest: Another algorithm.
        """
        return BlobWriter(self._upload_target(repository), chunk_size=chunk_size, algorithm=algorithm)

    def resume_blob(
        self,
        repository: str,
        session: UploadSession,
        *,
        prefix: SourceLike | None = None,
        chunk_size: int | None = None,
    ) -> BlobWriter:
        """Return a writer that goes on with an upload, in whatever process it was begun (end-13).

        Go on at `writer.size`: the registry may hold more than the session knows, or less.

        Args:
            repository: Name of the repository.
            session: What `BlobWriter.suspend` returned, or `BlobWriter.session` said.
            prefix: What was written before, or more; it is hashed again. Without it, `commit` needs the
                digest, and only the registry verifies it.
            chunk_size: Bytes of each chunk; None for those of the session.

        Opening raises `BlobUploadUnknown` when the registry has forgotten the upload (distribution 2.8 also
        when it took a chunk that the session does not know), `SizeMismatch` or `DigestMismatch` when the
        prefix is not what it holds; the upload is left as it is then.
        """
        source = None if prefix is None else as_source(prefix, size=session.size)
        return BlobWriter(
            self._upload_target(repository),
            chunk_size=session.chunk_size if chunk_size is None else chunk_size,
            algorithm=session.algorithm,
            session=session,
            prefix=source,
        )

    async def mount_blob(self, repository: str, digest: Descriptor | str, from_repository: str) -> bool:
        """Let a repository have a blob of another one, without sending it (end-11); whether that was done.

        False when the registry would rather be sent it; the upload that it opens then is cancelled.

        Args:
            repository: Name of the repository that shall have it.
            digest: Its digest or descriptor.
            from_repository: Name of one that has it, in this registry.

        Raises:
            ResponseError: The registry refuses mounts, or to let us read the other repository.
        """
        target = self._upload_target(repository)
        checked = _digest_of(digest)
        endpoint = endpoints.mount_blob(repository, checked, check_repository(from_repository))
        upload = await target.start(endpoint, digest=checked)
        if upload is None:
            return True
        await upload.give_up()
        return False

    def _upload_target(self, repository: str) -> UploadTarget:
        return UploadTarget(self.sender, self.host, check_repository(repository))

    async def delete_blob(
        self, repository: str, digest: Descriptor | str, *, missing_ok: bool = False
    ) -> bool:
        """Delete a blob (end-10), and say whether it was there.

        Args:
            repository: Name of the repository.
            digest: Its digest or descriptor.
            missing_ok: Whether it is fine that there is no such blob.

        Raises:
            BlobUnknown: There is no such blob.
            Unsupported: The registry does not delete.
        """
        return await deletes.delete_blob(self, repository, _digest_of(digest), missing_ok=missing_ok)

    def list_referrers(
        self, repository: str, subject: Descriptor | str, *, artifact_type: str | None = None
    ) -> AsyncGenerator[Descriptor]:
        """Iterate over what refers to a manifest: signatures, SBOMs, … (end-12a, end-12b).

        Where there is no referrers API, the tag is read that stands for it ("Referrers Tag Schema").

        Args:
            repository: Name of the repository.
            subject: The manifest: its descriptor or digest. It need not exist.
            artifact_type: Only referrers of this type.

        Raises:
            RequestError: The registry refused, or failed; a repository that is not there has no referrers.
        """
        return referrers.list_all(self, repository, _digest_of(subject), artifact_type)

    async def get_referrers(
        self, repository: str, subject: Descriptor | str, *, artifact_type: str | None = None
    ) -> list[Descriptor]:
        """Return what refers to a manifest, as a list (end-12a, end-12b).

        Args:
            repository: Name of the repository.
            subject: The manifest: its descriptor or digest. It need not exist.
            artifact_type: Only referrers of this type.

        Raises:
            RequestError: The registry refused, or failed; see `list_referrers`.
        """
        found = self.list_referrers(repository, subject, artifact_type=artifact_type)
        return [descriptor async for descriptor in found]

    def list_tags(
        self, repository: str, *, page_size: int | None = None, last: str | None = None
    ) -> AsyncGenerator[str]:
        """Iterate over the tags of a repository, in the registry's order (end-8a, end-8b).

        Args:
            repository: Name of the repository.
            page_size: Tags asked for at a time; by default the registry decides. Where it refuses so many,
                it is asked for fewer.
            last: Start after this tag.

        Raises:
            NameUnknown: There is no such repository.
            InvalidArgument: A page of nothing.
        """
        check_repository(repository)
        check_page_size(page_size)
        return names(
            self.sender,
            self.host,
            lambda n, after: endpoints.list_tags(repository, n=n, last=after),
            lambda answer: _document(TagList, answer).tags,
            page_size=page_size,
            last=last,
        )

    def list_repositories(
        self, *, page_size: int | None = None, last: str | None = None
    ) -> AsyncGenerator[str]:
        """Iterate over the names of the registry's repositories (`_catalog`, which many registries refuse).

        Args:
            page_size: Names asked for at a time; by default the registry decides. Where it refuses so many,
                it is asked for fewer.
            last: Start after this name.

        Raises:
            InvalidArgument: A page of nothing.
            UnsupportedError: The registry is known to list them to nobody (Docker Hub).
            ResponseError: The registry refuses.
        """
        check_page_size(page_size)
        if not self.host.profile.catalog:
            raise UnsupportedError(f"{self.name} lists its repositories to nobody (RegistryProfile.catalog)")
        return names(
            self.sender,
            self.host,
            lambda n, after: endpoints.list_repositories(n=n, last=after),
            lambda answer: _document(RepositoryList, answer).repositories,
            page_size=page_size,
            last=last,
        )

    @property
    def rate_limit(self) -> RateLimit | None:
        """What the registry said last of its rate limit, in an answer to this client; None when nothing."""
        return self.sender.rate_limit(self.host)

    @property
    def learned(self) -> Learned:
        """What the registry can do, as far as we know: what its profile says, and what it has shown."""
        return self.sender.learned(self.host)

    async def ask(
        self, endpoint: endpoints.Endpoint, *, limit: int, headers: Sequence[tuple[str, str]] = ()
    ) -> Answer:
        """Send an endpoint without a body, and return the whole answer, of at most `limit` bytes."""
        return await self.sender.request(self.host, endpoint, limit=limit, headers=headers)

    def __repr__(self) -> str:
        return f"<Registry {self.name} at {self.host.origin}>"


def _digest_of(known: Descriptor | str) -> Digest:
    return known.digest if isinstance(known, Descriptor) else Digest(known)


def _named(reference: Descriptor | str) -> str:
    return reference.digest if isinstance(reference, Descriptor) else reference


def _document(model: type[M], answer: Answer) -> M:
    try:
        return model.model_validate_json(answer.content)
    except ValidationError:
        raise ProtocolError("the answer is not the JSON that it must be", context=answer.context) from None
