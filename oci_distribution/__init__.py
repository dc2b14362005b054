"""An asyncio client for OCI registries.

Every public name is here, flat. Each is loaded when it is first used, so that `import oci_distribution`
costs next to nothing, and a program that only parses references loads no HTTP library.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from oci_distribution.auth.authorizer import (
        Authorizer as Authorizer,
        TokenOptions as TokenOptions,
        TokenRequest as TokenRequest,
        TokenResponse as TokenResponse,
    )
    from oci_distribution.auth.cache import (
        ChallengeCache as ChallengeCache,
        LastingTokenCache as LastingTokenCache,
        MemoryChallengeCache as MemoryChallengeCache,
        MemoryTokenCache as MemoryTokenCache,
        Token as Token,
        TokenCache as TokenCache,
        TokenKey as TokenKey,
    )
    from oci_distribution.auth.challenge import Challenge as Challenge
    from oci_distribution.auth.credentials import AuthProvider as AuthProvider, Credential as Credential
    from oci_distribution.auth.direct import (
        direct_requests as direct_requests,
        is_direct_request as is_direct_request,
    )
    from oci_distribution.auth.docker_config import AuthFile as AuthFile
    from oci_distribution.auth.file_cache import FileTokenCache as FileTokenCache
    from oci_distribution.auth.httpx_auth import RegistryAuth as RegistryAuth
    from oci_distribution.auth.providers import (
        ChainProvider as ChainProvider,
        StaticProvider as StaticProvider,
    )
    from oci_distribution.auth.search import (
        AuthFileProvider as AuthFileProvider,
        default_auth_provider as default_auth_provider,
    )
    from oci_distribution.auth.token_client import TokenClient as TokenClient
    from oci_distribution.content.artifacts import (
        ArtifactFile as ArtifactFile,
        pull_files as pull_files,
        push_files as push_files,
    )
    from oci_distribution.content.layout import Layout as Layout
    from oci_distribution.content.memory import MemoryStore as MemoryStore
    from oci_distribution.content.protocols import (
        MountPoint as MountPoint,
        PushOutcome as PushOutcome,
        ReadableStore as ReadableStore,
        Source as Source,
        Store as Store,
        StoreOpener as StoreOpener,
        WritableStore as WritableStore,
    )
    from oci_distribution.content.sources import (
        BlobSource as BlobSource,
        BytesSource as BytesSource,
        FileSource as FileSource,
        SourceLike as SourceLike,
    )
    from oci_distribution.errors import (
        Attempt as Attempt,
        BlobUnknown as BlobUnknown,
        BlobUploadInvalid as BlobUploadInvalid,
        BlobUploadUnknown as BlobUploadUnknown,
        BrokenAnswer as BrokenAnswer,
        ConfigError as ConfigError,
        ConnectError as ConnectError,
        ContentError as ContentError,
        CopyError as CopyError,
        CredentialError as CredentialError,
        DeadlineExceeded as DeadlineExceeded,
        Denied as Denied,
        DigestInvalid as DigestInvalid,
        DigestMismatch as DigestMismatch,
        ErrorDetail as ErrorDetail,
        ForbiddenOrigin as ForbiddenOrigin,
        InvalidArgument as InvalidArgument,
        InvalidDigest as InvalidDigest,
        InvalidLayout as InvalidLayout,
        InvalidManifest as InvalidManifest,
        InvalidMediaType as InvalidMediaType,
        InvalidReference as InvalidReference,
        LimitExceeded as LimitExceeded,
        ManifestBlobUnknown as ManifestBlobUnknown,
        ManifestInvalid as ManifestInvalid,
        ManifestUnknown as ManifestUnknown,
        NameInvalid as NameInvalid,
        NameUnknown as NameUnknown,
        NotFound as NotFound,
        OCIError as OCIError,
        ProtocolError as ProtocolError,
        RangeInvalid as RangeInvalid,
        RequestContext as RequestContext,
        RequestError as RequestError,
        ResponseError as ResponseError,
        SizeInvalid as SizeInvalid,
        SizeMismatch as SizeMismatch,
        StoreError as StoreError,
        TagExists as TagExists,
        TagInvalid as TagInvalid,
        TimeoutExceeded as TimeoutExceeded,
        TLSError as TLSError,
        TokenError as TokenError,
        TooManyRequests as TooManyRequests,
        TransportError as TransportError,
        Unauthorized as Unauthorized,
        Unsupported as Unsupported,
        UnsupportedError as UnsupportedError,
    )
    from oci_distribution.events import (
        Event as Event,
        EventSink as EventSink,
        Paused as Paused,
        RateLimitLow as RateLimitLow,
        Redirected as Redirected,
        RequestEvent as RequestEvent,
        RequestFailed as RequestFailed,
        RequestSent as RequestSent,
        ResponseEnded as ResponseEnded,
        ResponseReceived as ResponseReceived,
        RetryScheduled as RetryScheduled,
        TokenReceived as TokenReceived,
        TokenRequested as TokenRequested,
        observe as observe,
    )
    from oci_distribution.mirror.copy import copy as copy
    from oci_distribution.mirror.progress import (
        CopyOutcome as CopyOutcome,
        Discovered as Discovered,
        Finished as Finished,
        Transferred as Transferred,
    )
    from oci_distribution.mirror.report import CopyReport as CopyReport
    from oci_distribution.remote.blob_reader import BlobReader as BlobReader
    from oci_distribution.remote.blob_writer import BlobWriter as BlobWriter
    from oci_distribution.remote.client import Client as Client
    from oci_distribution.remote.distribution import Distribution as Distribution
    from oci_distribution.remote.downloads import Downloaded as Downloaded
    from oci_distribution.remote.failover import MirrorFailed as MirrorFailed
    from oci_distribution.remote.login import Login as Login
    from oci_distribution.remote.registry import Registry as Registry
    from oci_distribution.remote.repository import (
        Blobs as Blobs,
        Manifests as Manifests,
        Referrers as Referrers,
        Repository as Repository,
        Tags as Tags,
    )
    from oci_distribution.remote.upload_session import UploadSession as UploadSession
    from oci_distribution.remote.uploads import Uploaded as Uploaded
    from oci_distribution.spec.digest import Digest as Digest, Hasher as Hasher
    from oci_distribution.spec.headers import DOCKER_CONTENT_DIGEST as DOCKER_CONTENT_DIGEST
    from oci_distribution.spec.manifest import Manifest as Manifest
    from oci_distribution.spec.mediatypes import (
        MediaType as MediaType,
        manifest_accept_header as manifest_accept_header,
    )
    from oci_distribution.spec.models import (
        Descriptor as Descriptor,
        DockerManifest as DockerManifest,
        DockerManifestList as DockerManifestList,
        DockerManifestV1 as DockerManifestV1,
        ImageIndex as ImageIndex,
        ImageManifest as ImageManifest,
        OpaqueManifest as OpaqueManifest,
        Platform as Platform,
    )
    from oci_distribution.spec.pack import (
        EMPTY_DESCRIPTOR as EMPTY_DESCRIPTOR,
        EMPTY_JSON as EMPTY_JSON,
        pack_index as pack_index,
        pack_manifest as pack_manifest,
    )
    from oci_distribution.spec.rate_limit import RateLimit as RateLimit
    from oci_distribution.spec.reference import Reference as Reference
    from oci_distribution.spec.urls import Origin as Origin
    from oci_distribution.transport.calls import Timeouts as Timeouts
    from oci_distribution.transport.containerd_hosts import hosts_from_containerd as hosts_from_containerd
    from oci_distribution.transport.detect import detect_scheme as detect_scheme
    from oci_distribution.transport.engine import AiohttpTransport as AiohttpTransport
    from oci_distribution.transport.hosts import HostConfig as HostConfig, Mirror as Mirror
    from oci_distribution.transport.http_client import RegistryHTTPClient as RegistryHTTPClient
    from oci_distribution.transport.learned import Learned as Learned
    from oci_distribution.transport.pacing import Limits as Limits, Slots as Slots
    from oci_distribution.transport.profiles import RegistryProfile as RegistryProfile
    from oci_distribution.transport.registries_conf import (
        hosts_from_registries_conf as hosts_from_registries_conf,
    )
    from oci_distribution.transport.retry import RetryPolicy as RetryPolicy
    from oci_distribution.transport.warned import RegistryWarning as RegistryWarning

__all__ = [
    "DOCKER_CONTENT_DIGEST",
    "EMPTY_DESCRIPTOR",
    "EMPTY_JSON",
    "AiohttpTransport",
    "ArtifactFile",
    "Attempt",
    "AuthFile",
    "AuthFileProvider",
    "AuthProvider",
    "Authorizer",
    "BlobReader",
    "BlobSource",
    "BlobUnknown",
    "BlobUploadInvalid",
    "BlobUploadUnknown",
    "BlobWriter",
    "Blobs",
    "BrokenAnswer",
    "BytesSource",
    "ChainProvider",
    "Challenge",
    "ChallengeCache",
    "Client",
    "ConfigError",
    "ConnectError",
    "ContentError",
    "CopyError",
    "CopyOutcome",
    "CopyReport",
    "Credential",
    "CredentialError",
    "DeadlineExceeded",
    "Denied",
    "Descriptor",
    "Digest",
    "DigestInvalid",
    "DigestMismatch",
    "Discovered",
    "Distribution",
    "DockerManifest",
    "DockerManifestList",
    "DockerManifestV1",
    "Downloaded",
    "ErrorDetail",
    "Event",
    "EventSink",
    "FileSource",
    "FileTokenCache",
    "Finished",
    "ForbiddenOrigin",
    "Hasher",
    "HostConfig",
    "ImageIndex",
    "ImageManifest",
    "InvalidArgument",
    "InvalidDigest",
    "InvalidLayout",
    "InvalidManifest",
    "InvalidMediaType",
    "InvalidReference",
    "LastingTokenCache",
    "Layout",
    "Learned",
    "LimitExceeded",
    "Limits",
    "Login",
    "Manifest",
    "ManifestBlobUnknown",
    "ManifestInvalid",
    "ManifestUnknown",
    "Manifests",
    "MediaType",
    "MemoryChallengeCache",
    "MemoryStore",
    "MemoryTokenCache",
    "Mirror",
    "MirrorFailed",
    "MountPoint",
    "NameInvalid",
    "NameUnknown",
    "NotFound",
    "OCIError",
    "OpaqueManifest",
    "Origin",
    "Paused",
    "Platform",
    "ProtocolError",
    "PushOutcome",
    "RangeInvalid",
    "RateLimit",
    "RateLimitLow",
    "ReadableStore",
    "Redirected",
    "Reference",
    "Referrers",
    "Registry",
    "RegistryAuth",
    "RegistryHTTPClient",
    "RegistryProfile",
    "RegistryWarning",
    "Repository",
    "RequestContext",
    "RequestError",
    "RequestEvent",
    "RequestFailed",
    "RequestSent",
    "ResponseEnded",
    "ResponseError",
    "ResponseReceived",
    "RetryPolicy",
    "RetryScheduled",
    "SizeInvalid",
    "SizeMismatch",
    "Slots",
    "Source",
    "SourceLike",
    "StaticProvider",
    "Store",
    "StoreError",
    "StoreOpener",
    "TLSError",
    "TagExists",
    "TagInvalid",
    "Tags",
    "TimeoutExceeded",
    "Timeouts",
    "Token",
    "TokenCache",
    "TokenClient",
    "TokenError",
    "TokenKey",
    "TokenOptions",
    "TokenReceived",
    "TokenRequest",
    "TokenRequested",
    "TokenResponse",
    "TooManyRequests",
    "Transferred",
    "TransportError",
    "Unauthorized",
    "Unsupported",
    "UnsupportedError",
    "UploadSession",
    "Uploaded",
    "WritableStore",
    "copy",
    "default_auth_provider",
    "detect_scheme",
    "direct_requests",
    "hosts_from_containerd",
    "hosts_from_registries_conf",
    "is_direct_request",
    "manifest_accept_header",
    "observe",
    "pack_index",
    "pack_manifest",
    "pull_files",
    "push_files",
]

# Where each name lives; a test compares this with the imports above.
_HOMES: Final = {
    "auth.authorizer": "Authorizer TokenOptions TokenRequest TokenResponse",
    "auth.cache": (
        "ChallengeCache LastingTokenCache MemoryChallengeCache MemoryTokenCache Token TokenCache TokenKey"
    ),
    "auth.challenge": "Challenge",
    "auth.credentials": "AuthProvider Credential",
    "auth.direct": "direct_requests is_direct_request",
    "auth.docker_config": "AuthFile",
    "auth.file_cache": "FileTokenCache",
    "auth.httpx_auth": "RegistryAuth",
    "auth.providers": "ChainProvider StaticProvider",
    "auth.search": "AuthFileProvider default_auth_provider",
    "auth.token_client": "TokenClient",
    "content.artifacts": "ArtifactFile pull_files push_files",
    "content.layout": "Layout",
    "content.memory": "MemoryStore",
    "content.protocols": "MountPoint PushOutcome ReadableStore Source Store StoreOpener WritableStore",
    "content.sources": "BlobSource BytesSource FileSource SourceLike",
    "errors": (
        "Attempt BlobUnknown BlobUploadInvalid BlobUploadUnknown BrokenAnswer ConfigError ConnectError "
        "ContentError CopyError CredentialError DeadlineExceeded Denied DigestInvalid DigestMismatch "
        "ErrorDetail ForbiddenOrigin InvalidArgument InvalidDigest InvalidLayout InvalidManifest "
        "InvalidMediaType InvalidReference LimitExceeded ManifestBlobUnknown ManifestInvalid "
        "ManifestUnknown NameInvalid NameUnknown NotFound OCIError ProtocolError RangeInvalid "
        "RequestContext RequestError ResponseError SizeInvalid SizeMismatch StoreError TLSError "
        "TagExists TagInvalid TimeoutExceeded TokenError TooManyRequests TransportError Unauthorized "
        "Unsupported UnsupportedError"
    ),
    "events": (
        "Event EventSink Paused RateLimitLow Redirected RequestEvent RequestFailed RequestSent ResponseEnded "
        "ResponseReceived RetryScheduled TokenReceived TokenRequested observe"
    ),
    "mirror.copy": "copy",
    "mirror.progress": "CopyOutcome Discovered Finished Transferred",
    "mirror.report": "CopyReport",
    "remote.blob_reader": "BlobReader",
    "remote.blob_writer": "BlobWriter",
    "remote.client": "Client",
    "remote.distribution": "Distribution",
    "remote.downloads": "Downloaded",
    "remote.failover": "MirrorFailed",
    "remote.login": "Login",
    "remote.registry": "Registry",
    "remote.repository": "Blobs Manifests Referrers Repository Tags",
    "remote.upload_session": "UploadSession",
    "remote.uploads": "Uploaded",
    "spec.digest": "Digest Hasher",
    "spec.headers": "DOCKER_CONTENT_DIGEST",
    "spec.manifest": "Manifest",
    "spec.mediatypes": "MediaType manifest_accept_header",
    "spec.models": (
        "Descriptor DockerManifest DockerManifestList DockerManifestV1 ImageIndex ImageManifest "
        "OpaqueManifest Platform"
    ),
    "spec.pack": "EMPTY_DESCRIPTOR EMPTY_JSON pack_index pack_manifest",
    "spec.rate_limit": "RateLimit",
    "spec.reference": "Reference",
    "spec.urls": "Origin",
    "transport.containerd_hosts": "hosts_from_containerd",
    "transport.detect": "detect_scheme",
    "transport.engine": "AiohttpTransport",
    "transport.hosts": "HostConfig Mirror",
    "transport.http_client": "RegistryHTTPClient",
    "transport.learned": "Learned",
    "transport.pacing": "Limits Slots",
    "transport.profiles": "RegistryProfile",
    "transport.registries_conf": "hosts_from_registries_conf",
    "transport.warned": "RegistryWarning",
    "transport.retry": "RetryPolicy",
    "transport.calls": "Timeouts",
}
_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used (PEP 562)."""
    if name == "__version__":
        return version("oci-distribution")
    if name not in _HOME_OF:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
