"""Profiles: what registries are known to do otherwise than the specification says, as data.

Only what the client acts upon is here. Whatever is not known is asked, tried and remembered, see `Learned`.
What a hosted service lacks today it may have tomorrow, and a list of referrers would be too short then, and
nobody would notice: so "no referrers API" is said only of software whose version the user names.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from oci_distribution.errors import InvalidArgument
from oci_distribution.transport.patterns import check_pattern, most_specific

__all__ = ["PROFILES", "SPECIFICATION", "RegistryProfile", "profile_of"]

_Size = Annotated[int, Field(gt=0)]


class RegistryProfile(BaseModel):
    """What a registry is known to do, so that the first request goes the right way at once.

    Attributes:
        name: Its name, as in `HostConfig(profile="ghcr")`.
        hosts: The hosts that it is at, names or patterns; none for software that may be anywhere.
        whole: Whether it takes a blob in one PUT.
        chunks: Whether it takes one in several chunks, and keeps them all. Where it does not, what has no
            known length waits in a temporary file until it is whole.
        max_chunk: Bytes of the largest chunk; None for any.
        max_body: Bytes of the largest blob in one request, beyond which it goes in chunks; None for any.
        single_post: Whether it stores a small blob that comes with the POST; None where that is not known.
        mounts: Whether it mounts blobs from other repositories.
        referrers_api: Whether it has a referrers API; None where that is not known, and has to be asked.
        tag_parameters: Whether it takes several tags along with a manifest; None where that is not known.
        conditional_puts: Whether it honours the condition of a PUT; None where that is not known.
        catalog: Whether it lists its repositories.
        max_page: Names on the longest page that may be asked for; None for any.
        pages_without_link: Whether its listings come in pages that do not link to the next, so that we
            have to ask with `last=` until nothing comes any more. The specification wants a `Link`.
        sources: Where each fact was read.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    name: str = ""
    hosts: tuple[Annotated[str, AfterValidator(check_pattern)], ...] = ()
    whole: bool = True
    chunks: bool = True
    max_chunk: _Size | None = None
    max_body: _Size | None = None
    single_post: bool | None = None
    mounts: bool = True
    referrers_api: bool | None = None
    tag_parameters: bool | None = None
    conditional_puts: bool | None = None
    catalog: bool = True
    max_page: _Size | None = None
    pages_without_link: bool = False
    sources: Mapping[str, str] = Field(default_factory=dict, repr=False)

    @staticmethod
    def named(name: str) -> RegistryProfile:
        """Return a profile that comes with the library.

        Raises:
            InvalidArgument: There is none of that name.
        """
        profile = PROFILES.get(name)
        if profile is None:
            raise InvalidArgument(f"there is no profile {name[:100]!r}; there are {', '.join(PROFILES)}")
        return profile


SPECIFICATION: Final = RegistryProfile(name="specification")
"""A registry of which nothing is known."""

_DISTRIBUTION: Final = RegistryProfile(
    name="distribution-2.8",
    single_post=False,
    referrers_api=False,
    tag_parameters=False,
    conditional_puts=False,
    sources={
        "single_post": "containers/skopeo#64",
        "referrers_api": "oras-project/rust-oci-client#259",
        "tag_parameters": "opencontainers/distribution-spec, end-7b is newer",
        "conditional_puts": "distribution/distribution, registry/handlers/manifests.go",
    },
)

_ALL: Final = (
    SPECIFICATION,
    RegistryProfile(name="acr", hosts=("*.azurecr.io", "*.azurecr.cn", "*.azurecr.us")),
    RegistryProfile(
        name="artifactory",
        hosts=("*.jfrog.io",),
        chunks=False,
        sources={
            "chunks": "wasmCloud/wasmCloud#3405, oras-project/rust-oci-client#179: the last one is kept"
        },
    ),
    _DISTRIBUTION,
    _DISTRIBUTION.model_copy(
        update={
            "name": "distribution-3",
            "max_page": 1000,
            "sources": {**_DISTRIBUTION.sources, "max_page": "distribution/distribution#4844"},
        }
    ),
    RegistryProfile(
        name="docker-hub",
        hosts=("docker.io",),
        catalog=False,
        sources={"catalog": "davedoesdev/dxf#31: it answers 401, whoever asks"},
    ),
    RegistryProfile(
        name="ecr",
        hosts=("*.dkr.ecr.*.amazonaws.com", "*.dkr.ecr.*.amazonaws.com.cn"),
        max_page=1000,
        sources={"max_page": "renovatebot/renovate#3800"},
    ),
    RegistryProfile(
        name="ecr-public",
        hosts=("public.ecr.aws",),
        mounts=False,
        sources={"mounts": "aws/containers-roadmap#1459"},
    ),
    RegistryProfile(
        name="gar",
        hosts=("*.pkg.dev", "gcr.io", "*.gcr.io"),
        chunks=False,
        sources={"chunks": "dotnet/sdk-container-builds#287, quoting Google's documentation"},
    ),
    RegistryProfile(
        name="ghcr",
        hosts=("ghcr.io",),
        max_chunk=4 << 20,
        sources={"max_chunk": "oras-project/rust-oci-client#35, ocx-sh/ocx#237: 416 to longer ones"},
    ),
    RegistryProfile(name="gitea", hosts=("gitea.com", "codeberg.org")),
    RegistryProfile(name="gitlab", hosts=("registry.gitlab.com",)),
    RegistryProfile(name="harbor"),
    RegistryProfile(name="nexus"),
    RegistryProfile(
        name="quay",
        hosts=("quay.io",),
        max_page=100,
        sources={"max_page": "google/go-containerregistry#1963: 413 TOO_MANY_TAGS_REQUESTED"},
    ),
    RegistryProfile(
        name="serverless-registry",
        max_body=100_000_000,
        sources={"max_body": "cloudflare/serverless-registry#42, cloudflare/serverless-registry#71"},
    ),
    RegistryProfile(name="zot"),
)

PROFILES: Mapping[str, RegistryProfile] = MappingProxyType({profile.name: profile for profile in _ALL})
"""Profiles by name; `specification` is of no registry, and says nothing."""
_BY_HOST: Final = {host: profile for profile in _ALL for host in profile.hosts}


def profile_of(name: str) -> RegistryProfile:
    """Return what is known of the registry at a host; that of the specification when nothing is."""
    return most_specific(_BY_HOST, name) or SPECIFICATION
