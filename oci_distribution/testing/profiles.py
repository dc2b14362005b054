"""Profiles: real registries, as far as they differ from the specification.

A fact that a source gives about one version or one account may be wrong for another: a profile is the
registry that makes clients stumble, not the one of today.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from types import MappingProxyType
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from oci_distribution.testing.calls import Handler
from oci_distribution.testing.quirks.blobs import blobs_on_signed_urls
from oci_distribution.testing.quirks.listings import (
    always_pages,
    largest_page,
    no_catalog,
    tags_with_digests,
    tags_with_manifests,
    tags_with_null,
)
from oci_distribution.testing.quirks.manifests import (
    counted_pulls,
    digest_tag_is_digest,
    gzips_manifests,
    invalid_tag_is_bad_request,
    needs_length,
    no_conditions,
    no_delete_while_tagged,
    no_deletes,
    no_digest_by_tag,
    no_docker_types,
    no_length_from,
    no_manifest_location,
    no_referrers,
    no_tag_parameters,
    tags_keep_type,
)
from oci_distribution.testing.quirks.mounts import (
    foreign_mount_is_unauthorized,
    mount_needs_from,
    mounts_what_manifests_need,
    mounts_within_account,
    no_mounts,
)
from oci_distribution.testing.quirks.quirk import Quirk
from oci_distribution.testing.quirks.sessions import cookies_make_browsers
from oci_distribution.testing.quirks.uploads import (
    chunk_needs_length,
    keeps_last_chunk_only,
    largest_body,
    largest_patch,
    negative_range_when_empty,
    no_chunks,
    no_digest_algorithm,
    no_single_post,
    no_stream_after_chunk,
    no_upload_status,
    patch_is_created,
    put_appends_anywhere,
    range_of_one_chunk,
    range_stays_at_first_chunk,
    uploads_accept_json,
    uploads_elsewhere,
)

if TYPE_CHECKING:
    from oci_distribution.testing.app import RegistryApp

__all__ = ["PROFILES", "Profile"]

MAX_MANIFEST_SIZE = 4 << 20
"""Bytes of a manifest that every registry takes ("Pushing Manifests")."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A registry, by what it does otherwise.

    Args:
        name: Its name.
        quirks: What it does otherwise; the first one is asked first.
        max_manifest_size: Bytes of the largest manifest that it takes.
    """

    name: str
    quirks: tuple[Quirk, ...] = ()
    max_manifest_size: int = MAX_MANIFEST_SIZE

    @classmethod
    def named(cls, name: str) -> Profile:
        """Return one of `PROFILES`.

        Raises:
            ValueError: There is none of that name.
        """
        profile = PROFILES.get(name)
        if profile is None:
            msg = f"there is no profile {name!r}; there are {', '.join(PROFILES)}"
            raise ValueError(msg)
        return profile

    def behave(self, handler: Handler) -> Handler:
        """Return a handler with the quirks that are about it."""
        quirks = [quirk for quirk in reversed(self.quirks) if handler in quirk.on]
        return reduce(lambda wrapped, quirk: quirk.wrap(wrapped), quirks, handler)

    async def serve(self, app: RegistryApp, request: Request) -> Response | None:
        """Answer a request for a path of the registry's own; None when it is none."""
        for quirk in self.quirks:
            if quirk.serve is not None and (response := await quirk.serve(app, request)) is not None:
                return response
        return None


# The first report says that later chunks are lost; its author corrected that after comparing every byte.
# Whether a GET of the upload is stuck, too, nobody says.
_ECR_UPLOADS = (
    patch_is_created("openai/tart#273, dotnet/sdk#33019"),
    range_stays_at_first_chunk("aws/containers-roadmap#2831, crashappsec/chalk#682"),
)
_ECR_MANIFESTS = (
    no_manifest_location("oras-project/rust-oci-client, extract_location_header"),
    no_digest_by_tag("cue-labs/oci, ociserver.Options"),
)
_ECR = Profile(
    "ecr",
    (
        *_ECR_UPLOADS,
        *_ECR_MANIFESTS,
        mounts_what_manifests_need("aws/containers-roadmap#2860"),
        invalid_tag_is_bad_request("bazel-contrib/rules_oci#720"),
        largest_page(1000, 405, "UNSUPPORTED", "renovatebot/renovate#3800, and its isECRMaxResultsError"),
        always_pages(100, "docker-archive/migrator#96, deitch/docker_registry2#34"),
    ),
)
_ECR_PUBLIC = Profile(
    "ecr-public",
    (
        *_ECR_UPLOADS,
        *_ECR_MANIFESTS,
        no_mounts("aws/containers-roadmap#1459"),
        no_upload_status("dotnet/sdk#33019"),
    ),
)
_GHCR = Profile(
    "ghcr",
    (
        *no_referrers("oras-project/oras-java#773"),
        # One project says that chunks overwrite each other; others push in chunks of 4 MiB, and it works.
        largest_patch(4 << 20, "oras-project/rust-oci-client#35, ocx-sh/ocx#237"),
        no_deletes("containers/skopeo#1880"),
    ),
)
_GAR = Profile(
    "gar",
    (
        no_chunks("dotnet/sdk-container-builds#287, containers/skopeo#1101"),
        uploads_elsewhere("containers/skopeo#1101"),
        no_mounts("clowdhaus/ocync, docs on gar"),
        no_delete_while_tagged("genuinetools/reg#136, GoogleCloudPlatform/docker-credential-gcr#73"),
        tags_with_manifests("regclient/regclient, types/tag/gcrlist.go"),
    ),
)
_ACR = Profile(
    "acr",
    (
        blobs_on_signed_urls("Microsoft Learn, ACR dedicated data endpoints"),
        # All reports are of replications by Harbor; others push larger layers in one PUT.
        largest_body(20 << 20, "goharbor/harbor#21640, goharbor/harbor#23015"),
        chunk_needs_length("goharbor/harbor#23016"),
    ),
)
_DOCKER_HUB = Profile(
    "docker-hub",
    (
        no_catalog("davedoesdev/dxf#31"),
        no_deletes("docker/hub-feedback#2360, genuinetools/reg#143"),
        mounts_within_account("clowdhaus/ocync, docs on docker-hub"),
        counted_pulls(100, "docker/docs#11648, docker/docs#11707"),
        blobs_on_signed_urls("renovatebot/renovate#3877"),
    ),
)
_QUAY = Profile(
    "quay",
    (
        *no_referrers("opencontainers/distribution-spec#563"),
        largest_page(100, 413, "TOO_MANY_TAGS_REQUESTED", "google/go-containerregistry#1963"),
        mount_needs_from("GoogleContainerTools/jib#703, quay/quay#899"),
    ),
)
_HARBOR = Profile(
    "harbor",
    (
        cookies_make_browsers("goharbor/harbor#11682, dotnet/sdk#37221"),
        gzips_manifests("oras-project/oras-go#1177"),
    ),
)
_GITLAB = Profile(
    "gitlab",
    (
        *no_referrers("oras-project/oras-go#1396"),
        digest_tag_is_digest("oras-project/oras-go#1396"),
        foreign_mount_is_unauthorized("google/go-containerregistry#220"),
        blobs_on_signed_urls("oras-project/oras#923"),
    ),
)
_ARTIFACTORY = Profile(
    "artifactory",
    (
        uploads_accept_json("dotnet/sdk-container-builds#382, kubewarden/kwctl#59"),
        keeps_last_chunk_only("wasmCloud/wasmCloud#3405, oras-project/rust-oci-client#179"),
        tags_with_digests("containers/skopeo#2346"),
    ),
)
_NEXUS = Profile(
    "nexus",
    (
        needs_length("sonatype/nexus-public#1040"),
        tags_with_null("containers/skopeo#2409"),
    ),
    max_manifest_size=10 << 20,  # sonatype/nexus-public#1040
)
_ZOT = Profile(
    "zot",
    (
        no_length_from(2000, "oras-project/oras-go#374"),
        no_docker_types("project-zot/zot#724"),
        tags_keep_type("project-zot/zot#3005"),
        range_of_one_chunk("regclient/regclient#961, opencontainers/distribution-spec#580"),
    ),
)
_DISTRIBUTION = (
    no_deletes("byrnedo/docker-reg-tool#19"),
    *no_referrers("oras-project/rust-oci-client#259"),
    no_tag_parameters("opencontainers/distribution-spec, end-7b is newer"),
    no_conditions("distribution/distribution, registry/handlers/manifests.go"),
    no_single_post("containers/skopeo#64"),
    no_digest_algorithm("opencontainers/distribution-spec, the parameter is newer"),
    put_appends_anywhere("opencontainers/distribution-spec#590"),
)
_DISTRIBUTION_2_8 = Profile("distribution-2.8", _DISTRIBUTION)
_DISTRIBUTION_3 = Profile(
    "distribution-3",
    (
        *_DISTRIBUTION,
        largest_page(1000, 400, "PAGINATION_NUMBER_INVALID", "distribution/distribution#4844"),
    ),
)
_GITEA = Profile(
    "gitea",
    (
        negative_range_when_empty("go-gitea/gitea#34724, opencontainers/distribution-spec#578"),
        no_stream_after_chunk("dotnet/sdk-container-builds#471"),
    ),
)
_SERVERLESS_REGISTRY = Profile(
    "serverless-registry",
    (largest_body(100_000_000, "cloudflare/serverless-registry#42, cloudflare/serverless-registry#71"),),
)

_ALL = (
    Profile("specification"),
    _ACR,
    _ARTIFACTORY,
    _DISTRIBUTION_2_8,
    _DISTRIBUTION_3,
    _DOCKER_HUB,
    _ECR,
    _ECR_PUBLIC,
    _GAR,
    _GHCR,
    _GITEA,
    _GITLAB,
    _HARBOR,
    _NEXUS,
    _QUAY,
    _SERVERLESS_REGISTRY,
    _ZOT,
)

PROFILES: Mapping[str, Profile] = MappingProxyType({profile.name: profile for profile in _ALL})
"""Registries by name; `specification` is none, and does nothing otherwise."""
