"""Credentials and all that holds secrets: nothing of it shows them."""

from __future__ import annotations

import copy
import pickle
import traceback
from pathlib import Path

import pytest

from oci_distribution.auth.authorizer import Authorizer, TokenOptions, TokenRequest, TokenResponse
from oci_distribution.auth.cache import MemoryChallengeCache, MemoryTokenCache, Token
from oci_distribution.auth.credentials import ANONYMOUS, Credential, anonymous
from oci_distribution.auth.docker_config import AuthEntry, AuthFile
from oci_distribution.auth.httpx_auth import RegistryAuth
from oci_distribution.auth.search import AuthFileProvider
from oci_distribution.errors import OCIError
from oci_distribution.spec.urls import Origin

SECRET = "s3cr3t"
ORIGIN = Origin("https", "registry.example", 443)
CREDENTIALS = [
    Credential(username="me", password=SECRET),
    Credential(identity_token=SECRET),
    Credential(registry_token=SECRET),
]
HOLDERS = [
    *CREDENTIALS,
    Token(SECRET, 1.0),
    TokenRequest("POST", f"https://h/?x={SECRET}", (("Authorization", SECRET),), SECRET.encode()),
    TokenResponse(200, {"X-Token": SECRET}, SECRET.encode()),
    AuthEntry(auth=SECRET),
    AuthEntry(username="me", password=SECRET, identitytoken=SECRET, registrytoken=SECRET),
    AuthFile(auths={"h": AuthEntry(auth=SECRET)}),
    AuthFileProvider(AuthFile(auths={"h": AuthEntry(identitytoken=SECRET)})),
]


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: type(holder).__name__)
def test_no_secret_is_shown(holder: object) -> None:
    """Neither repr nor str nor format of anything that holds a secret shows it."""
    assert SECRET not in f"{holder!r} {holder!s} {holder} {[holder]}"


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: type(holder).__name__)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_secret_is_pickled(holder: object, protocol: int) -> None:
    """Pickles are refused, since they end up in queues and reports."""
    with pytest.raises(TypeError, match="holds secrets"):
        pickle.dumps(holder, protocol)


def test_a_credential_shows_who_it_is_and_what_it_has() -> None:
    """The repr names the user and which secrets there are."""
    assert repr(Credential("me", "x")) == "Credential(username='me', password=***)"
    assert repr(Credential("me")) == "Credential(username='me')"
    assert repr(ANONYMOUS) == "Credential()"


def test_a_credential_with_nothing_in_it_is_anonymous() -> None:
    """Each field that says who we are makes it somebody; an expiry does not."""
    assert ANONYMOUS.is_anonymous
    assert Credential(expires_at=1.0).is_anonymous
    assert not any(credential.is_anonymous for credential in CREDENTIALS)


def test_the_name_token_marks_an_identity_token() -> None:
    """What docker stores under the name `<token>` is no password."""
    assert Credential.of_pair("<token>", "x") == Credential(identity_token="x")
    assert Credential.of_pair("me", "x") == Credential("me", "x")


async def test_the_anonymous_provider_knows_nobody() -> None:
    """`anonymous` answers every registry alike."""
    assert await anonymous("docker.io", None) == ANONYMOUS


def a_refused_authorizer(credential: Credential, status: int, content: bytes) -> Authorizer:
    async def provider(host: str, repository: str | None) -> Credential:
        return credential

    async def fetch(request: TokenRequest) -> TokenResponse:
        return TokenResponse(status, {}, content)

    return Authorizer(
        provider,
        fetch=fetch,
        challenge_cache=MemoryChallengeCache(),
        token_cache=MemoryTokenCache(),
        options=TokenOptions(force_oauth2=True),
    )


@pytest.mark.parametrize("credential", CREDENTIALS[:2], ids=["password", "identity token"])
@pytest.mark.parametrize(
    ("status", "content"),
    [
        (401, SECRET.encode()),
        (500, SECRET.encode()),
        (200, SECRET.encode()),
        (200, b'{"token": ["%s"]}' % SECRET.encode()),
        (200, b'{"token": "%s\\n"}' % SECRET.encode()),
        (200, b'{"refresh_token": "%s"}' % SECRET.encode()),
    ],
)
async def test_no_error_of_a_token_server_shows_a_secret(
    credential: Credential, status: int, content: bytes
) -> None:
    """Neither ours nor the one that the server sends back is in message, traceback or pickle."""
    authorizer = a_refused_authorizer(credential, status, content)
    challenge = [f'Bearer realm="https://u:{SECRET}@registry.example/t?k={SECRET}"']
    for header in (challenge, ['Bearer realm="/t"']):
        with pytest.raises(OCIError) as caught:
            await authorizer.answer(ORIGIN, "registry.example", "repository:a:pull", header, None)
        text = "".join(traceback.format_exception(caught.value))
        assert SECRET not in text + repr(caught.value) + repr(vars(caught.value))
        assert SECRET.encode() not in pickle.dumps(caught.value)
        assert SECRET not in repr(authorizer)


async def test_who_asks_for_tokens_shows_none() -> None:
    """After a success, with all that it remembers, an authorizer and its adapter show no secret."""
    content = b'{"access_token": "%s", "refresh_token": "%s"}' % (SECRET.encode(), SECRET.encode())
    authorizer = a_refused_authorizer(Credential("me", SECRET), 200, content)
    header = ['Bearer realm="/t"']
    value = await authorizer.answer(ORIGIN, "registry.example", "repository:a:pull", header, None)
    assert value == f"Bearer {SECRET}"
    shown = f"{authorizer!r} {RegistryAuth(authorizer)!r} {authorizer.token_cache!r}"
    assert SECRET not in shown
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        pickle.dumps(authorizer)


@pytest.mark.parametrize(
    "text",
    [
        f'{{"auths": {{"h": {{"auth": "{SECRET}"}}}}}}',
        f'{{"auths": {{"h": {{"auth": "bm9jb2xvbg==", "password": "{SECRET}"}}}}}}',
        f'{{"auths": {{"h": {{"password": ["{SECRET}"]}}}}}}',
        f'{{"auths": {{"h": "{SECRET}"}}}}',
        f'{{"auths": "{SECRET}"}}',
        f'{{"auths": {{"h": {{"password": "{SECRET}',
    ],
)
async def test_no_error_of_a_credential_file_shows_a_secret(text: str, tmp_path: Path) -> None:
    """A broken file is described without quoting it."""
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(OCIError) as caught:
        await AuthFileProvider.from_path(path)("h", None)
    assert SECRET not in "".join(traceback.format_exception(caught.value)) + repr(vars(caught.value))
    assert SECRET not in str(copy.copy(caught.value))
