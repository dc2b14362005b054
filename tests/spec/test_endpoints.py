"""Endpoints: the specification's table as data."""

from __future__ import annotations

import pytest

import oci_distribution as oci
from oci_distribution.spec import endpoints
from oci_distribution.spec.endpoints import Endpoint, Kind

DIGEST = "sha256:" + "a" * 64
UPLOAD = "https://registry.example/v2/a/b/blobs/uploads/1?_state=x%2Fy"

ROWS = [
    (endpoints.ping(), "GET", "/v2/", ""),
    (endpoints.head_manifest("a/b", "v1"), "HEAD", "/v2/a/b/manifests/v1", "repository:a/b:pull"),
    (endpoints.get_manifest("a/b", DIGEST), "GET", f"/v2/a/b/manifests/{DIGEST}", "repository:a/b:pull"),
    (endpoints.put_manifest("a/b", "v1", "x/y"), "PUT", "/v2/a/b/manifests/v1", "repository:a/b:pull,push"),
    (
        endpoints.put_manifest("a/b", DIGEST, "x/y", tags=["v1", "v2"]),
        "PUT",
        f"/v2/a/b/manifests/{DIGEST}?tag=v1&tag=v2",
        "repository:a/b:pull,push",
    ),
    (endpoints.delete_manifest("a/b", "v1"), "DELETE", "/v2/a/b/manifests/v1", "repository:a/b:delete"),
    (endpoints.head_blob("a/b", DIGEST), "HEAD", f"/v2/a/b/blobs/{DIGEST}", "repository:a/b:pull"),
    (endpoints.get_blob("a/b", DIGEST), "GET", f"/v2/a/b/blobs/{DIGEST}", "repository:a/b:pull"),
    (endpoints.delete_blob("a/b", DIGEST), "DELETE", f"/v2/a/b/blobs/{DIGEST}", "repository:a/b:delete"),
    (endpoints.start_upload("a/b"), "POST", "/v2/a/b/blobs/uploads/", "repository:a/b:pull,push"),
    (
        endpoints.start_upload("a/b", digest_algorithm="sha256"),
        "POST",
        "/v2/a/b/blobs/uploads/",
        "repository:a/b:pull,push",
    ),
    (
        endpoints.start_upload("a/b", digest_algorithm="sha512"),
        "POST",
        "/v2/a/b/blobs/uploads/?digest-algorithm=sha512",
        "repository:a/b:pull,push",
    ),
    (
        endpoints.mount_blob("a/b", DIGEST, "c/d"),
        "POST",
        f"/v2/a/b/blobs/uploads/?mount={DIGEST}&from=c%2Fd",
        "repository:a/b:pull,push repository:c/d:pull",
    ),
    (
        endpoints.post_blob("a/b", DIGEST),
        "POST",
        f"/v2/a/b/blobs/uploads/?digest={DIGEST}",
        "repository:a/b:pull,push",
    ),
    (
        endpoints.patch_upload("a/b", UPLOAD, start=5, length=10),
        "PATCH",
        UPLOAD,
        "repository:a/b:pull,push",
    ),
    (
        endpoints.put_upload("a/b", UPLOAD, DIGEST),
        "PUT",
        f"{UPLOAD}&digest={DIGEST}",
        "repository:a/b:pull,push",
    ),
    (endpoints.upload_status("a/b", UPLOAD), "GET", UPLOAD, "repository:a/b:pull,push"),
    (endpoints.cancel_upload("a/b", UPLOAD), "DELETE", UPLOAD, "repository:a/b:pull,push"),
    (endpoints.list_tags("a/b"), "GET", "/v2/a/b/tags/list", "repository:a/b:pull"),
    (endpoints.list_tags("a/b", n=0), "GET", "/v2/a/b/tags/list?n=0", "repository:a/b:pull"),
    (
        endpoints.list_tags("a/b", n=5, last="v1"),
        "GET",
        "/v2/a/b/tags/list?n=5&last=v1",
        "repository:a/b:pull",
    ),
    (endpoints.list_repositories(), "GET", "/v2/_catalog", "registry:catalog:*"),
    (
        endpoints.list_repositories(n=5, last="a/b"),
        "GET",
        "/v2/_catalog?n=5&last=a%2Fb",
        "registry:catalog:*",
    ),
    (endpoints.list_referrers("a/b", DIGEST), "GET", f"/v2/a/b/referrers/{DIGEST}", "repository:a/b:pull"),
    (
        endpoints.list_referrers("a/b", DIGEST, artifact_type="x/y+z"),
        "GET",
        f"/v2/a/b/referrers/{DIGEST}?artifactType=x%2Fy%2Bz",
        "repository:a/b:pull",
    ),
]


@pytest.mark.parametrize(
    ("endpoint", "method", "target", "scope"), ROWS, ids=[f"{row[1]} {row[2][:60]}" for row in ROWS]
)
def test_requests_of_the_specification(endpoint: Endpoint, method: str, target: str, scope: str) -> None:
    """Method, target and the scope that is needed, as registries expect them."""
    scopes = " ".join(filter(None, (endpoint.scope, endpoint.desired)))
    assert (endpoint.method, endpoint.target, scopes) == (method, target, scope)
    assert all(200 <= status < 300 for status in endpoint.accepted)


def test_what_must_not_be_repeated_in_doubt() -> None:
    """The bytes of an upload: a registry may have them, and the location is not good any more."""
    unrepeatable = {endpoint.method for endpoint, *_ in ROWS if not endpoint.repeatable}

    assert unrepeatable == {"PATCH", "PUT"}
    assert endpoints.put_manifest("a", "v1", "x/y").repeatable


def test_which_budget_a_request_draws_on() -> None:
    """Streams have budgets of their own."""
    assert endpoints.get_blob("a", DIGEST).kind is Kind.DOWNLOAD
    assert endpoints.put_upload("a", UPLOAD, DIGEST).kind is Kind.UPLOAD
    assert endpoints.post_blob("a", DIGEST).kind is Kind.UPLOAD
    assert endpoints.patch_upload("a", UPLOAD, start=0, length=1).kind is Kind.UPLOAD
    assert endpoints.head_blob("a", DIGEST).kind is Kind.REQUEST
    assert endpoints.put_manifest("a", "v1", "x/y").kind is Kind.REQUEST


def test_only_manifests_name_types() -> None:
    """Artifactory answers blobs that are asked for by type with 406."""
    accept = oci.manifest_accept_header()

    assert endpoints.get_manifest("a", "v1").accept == accept
    assert endpoints.list_referrers("a", DIGEST).accept == accept
    assert endpoints.get_blob("a", DIGEST).accept == "*/*"
    assert endpoints.list_tags("a").accept == "*/*"


@pytest.mark.parametrize(
    ("endpoint", "error"),
    [
        (endpoints.get_manifest("a", "v1"), oci.ManifestUnknown),
        (endpoints.delete_manifest("a", "v1"), oci.ManifestUnknown),
        (endpoints.list_referrers("a", DIGEST), oci.ManifestUnknown),
        (endpoints.head_blob("a", DIGEST), oci.BlobUnknown),
        (endpoints.get_blob("a", DIGEST), oci.BlobUnknown),
        (endpoints.list_tags("a"), oci.NameUnknown),
        (endpoints.start_upload("a"), oci.NameUnknown),
    ],
)
def test_what_a_bare_404_means(endpoint: Endpoint, error: type[oci.OCIError]) -> None:
    """A HEAD has no body that could tell."""
    assert endpoint.unknown is error
    assert issubclass(error, oci.NotFound)


def test_headers_that_belong_to_the_request() -> None:
    """The media type of a manifest is announced, and a chunk says where it belongs."""
    assert endpoints.put_manifest("a", "v1", "x/y").headers == (("Content-Type", "x/y"),)
    assert ("Content-Range", "5-14") in endpoints.patch_upload("a", UPLOAD, start=5, length=10).headers


def test_a_next_page_is_the_same_request() -> None:
    """Only its target differs; a page that is gone means the same as a first one."""
    first = endpoints.list_referrers("a", DIGEST)

    page = endpoints.follow_page(first, "https://registry.example/next")

    assert page.target == "https://registry.example/next"
    assert (page.scope, page.accept, page.unknown) == (first.scope, first.accept, first.unknown)
