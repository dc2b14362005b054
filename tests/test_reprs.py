"""What things look like in a debugger, a traceback or an error report: useful, and without secrets."""

from __future__ import annotations

import httpx
import pytest

import oci_distribution as oci
from oci_distribution.spec import endpoints
from oci_distribution.spec.urls import Origin
from oci_distribution.testing import TokenAuth, serve_registry
from oci_distribution.transport.calls import Call, Host

SECRET = "canary"


async def ann(host: str, repository: str | None) -> oci.Credential:
    return oci.Credential(username="ann", password=SECRET)


async def test_of_a_client_and_all_that_comes_from_it() -> None:
    """Names, digests and states; no password, header, token or location of an upload."""
    async with (
        serve_registry(auth=TokenAuth({"ann": SECRET})) as served,
        oci.Client(headers={"X-Secret": SECRET}, auth_provider=ann) as client,
    ):
        registry = client.registry(served.url)
        repo = registry.repository("team/app")
        blob = await repo.blobs.push(b"x")
        async with repo.blobs.open(blob) as reader, repo.blobs.writer() as writer:
            await writer.write(b"abc")
            location = writer.session.location
            shown = [
                repr(thing)
                for thing in (
                    *(client, client.http, client.http.auth, registry, registry.host, registry.learned),
                    *(repo, repo.blobs, repo.manifests, repo.tags, repo.referrers),
                    *(reader, writer, writer.session, str(writer.session), vars(writer), vars(reader)),
                    *(registry.sender, registry.sender.authorizer, registry.sender.warned),
                    await registry.ask(endpoints.ping(), limit=1000),
                )
            ]

    assert shown[0] == "<Client over RegistryHTTPClient, open>"
    assert shown[1] == "<RegistryHTTPClient over AiohttpTransport, open>"
    assert shown[3] == f"<Registry {served.host} at {served.url}>"
    assert shown[6] == f"<Repository {served.host}/team/app>"
    assert str(blob.digest) in shown[11]
    assert shown[12] == f"<BlobWriter of {served.host}/team/app, open, 3 bytes>"
    assert [text for text in shown if SECRET in text or "eyJ" in text] == []
    assert "?" in location
    assert [text for text in shown if location.partition("?")[2] in text] == []


@pytest.mark.parametrize(
    "thing",
    [
        oci.Client(auth=httpx.BasicAuth("ann", SECRET)),
        oci.Client(headers={"Authorization": SECRET}),
        oci.Client(http=httpx.AsyncClient(headers={"X": SECRET}, auth=("ann", SECRET))),
        oci.AiohttpTransport(proxies={"http": f"http://ann:{SECRET}@proxy.example"}),
        oci.Credential(username="ann", password=SECRET),
        oci.Credential(identity_token=SECRET),
        oci.RegistryAuth(auth_provider=ann),
        oci.TokenRequest("GET", f"https://auth.example/?token={SECRET}", (("Authorization", SECRET),), b"x"),
        endpoints.put_upload("a/b", f"https://x/u?state={SECRET}", oci.Digest.of(b"x")),
        oci.RegistryWarning("registry.example", "text"),
    ],
)
def test_of_what_is_made_with_a_secret(thing: object) -> None:
    """It says what it is, and keeps the rest to itself."""
    for text in (repr(thing), str(thing)):
        assert SECRET not in text


def test_of_a_call() -> None:
    """It is in every traceback that shows variables."""
    endpoint = endpoints.get_blob("a/b", str(oci.Digest.of(b"x")))
    host = Host("registry.example", Origin.of("https://registry.example"))
    call = Call(host, endpoint, f"https://cdn.example/?sig={SECRET}", [("X-Secret", SECRET)], b"body")

    assert repr(call) == "<Call of GET https://cdn.example/?sig=***, attempt 1>"


def test_a_session_that_is_broken_does_not_show_itself() -> None:
    """The error of reading one back names the fields that are wrong, and not what is in them."""
    with pytest.raises(ValueError, match="size") as caught:
        oci.UploadSession.model_validate(
            {"registry": "x", "repository": "a", "location": f"ftp://x/{SECRET}", "size": -1, "chunk_size": 1}
        )

    assert SECRET not in f"{caught.value} {caught.value!r}"
