"""Who we are, and who never learns it: canaries are searched for in all that goes out or is shown."""

from __future__ import annotations

import base64
import json
import logging
import pickle

import pytest

import oci_distribution as oci
from tests.hostile import Exchange, hostile

ANN = oci.Credential(username="ann", password="secret")


async def ann(host: str, repository: str | None) -> oci.Credential:
    return ANN


CANARIES = ("canary-password", "canary-identity", "canary-access", "canary-refresh", "canary-registry")
BASIC_CANARY = base64.b64encode(f"me:{CANARIES[0]}".encode()).decode()
KNOWN = (
    oci.Credential("me", CANARIES[0]),
    oci.Credential(identity_token=CANARIES[1]),
    oci.Credential(registry_token=CANARIES[4]),
)


class Trusted:
    """A registry with a token server, which sends uploads, blobs and pages elsewhere."""

    def __init__(self, elsewhere: str, challenge: str) -> None:
        self.elsewhere, self.challenge = elsewhere, challenge

    async def __call__(self, exchange: Exchange) -> None:
        await exchange.read_body()
        if exchange.target.startswith("/token"):
            tokens = {"token": CANARIES[2], "access_token": CANARIES[2], "refresh_token": CANARIES[3]}
            await exchange.answer(200, json.dumps(tokens).encode())
        elif exchange.header("Authorization") is None:
            await exchange.answer(401, b"", [("WWW-Authenticate", self.challenge)])
        elif exchange.method == "POST":
            await exchange.answer(202, b"", [("Location", f"{self.elsewhere}/v2/a/blobs/uploads/1?state=s")])
        else:
            await exchange.answer(307, b"", [("Location", f"{self.elsewhere}{exchange.target}")])


async def attack(exchange: Exchange) -> None:
    """Be the attacker: challenge for everything, and name oneself as token server."""
    await exchange.read_body()
    own = f"http://{exchange.header('Host')}/token"
    await exchange.answer(401, b"", [("WWW-Authenticate", f'Bearer realm="{own}", Basic realm="x"')])


BEARER, BASIC = 'Bearer realm="/token",service="s"', 'Basic realm="x"'


@pytest.mark.parametrize(
    ("credential", "challenge"),
    [(KNOWN[0], BEARER), (KNOWN[0], BASIC), (KNOWN[1], BEARER), (KNOWN[2], BEARER)],
    ids=["password", "basic", "identity", "registry"],
)
async def test_no_secret_leaves_its_origin(
    credential: oci.Credential, challenge: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing of who we are is in any byte that another host gets, nor in what is logged, shown or pickled."""
    caplog.set_level(logging.DEBUG)
    async with hostile(attack) as attacker, hostile(Trusted(attacker.url, challenge)) as trusted:
        host = trusted.url.removeprefix("http://")
        errors: list[oci.OCIError] = []
        async with oci.Client(auth_provider=only_at(host, credential)) as client:
            registry = client.registry(trusted.url)
            for job in (
                lambda: registry.get_manifest("a", "v1"),
                lambda: registry.push_blob("a", b"x" * (1 << 20)),
                lambda: anext(aiter(registry.list_tags("a"))),
                lambda: client.registry(attacker.url).get_manifest("a", "v1"),
            ):
                with pytest.raises(oci.OCIError) as caught:
                    await job()
                errors.append(caught.value)
            assert not await registry.mount_blob("a", oci.Digest.of(b""), "b")
            shown = [repr(thing) for thing in (client, client._sender, client._sender.authorizer, registry)]
        sent = b"".join(exchange.head + exchange.body for exchange in attacker.requests)
        assert any(exchange.header("Authorization") for exchange in trusted.requests)
    assert len(attacker.requests) >= 4
    assert b"authorization" not in sent.lower()
    texts = [sent.decode(), caplog.text, *shown, *map(repr, errors), *map(str, errors)]
    texts += [pickle.dumps(error, 0).decode("latin-1") for error in errors]
    assert [word for word in (*CANARIES, BASIC_CANARY) for text in texts if word in text] == []


async def test_a_users_own_headers_are_for_registries() -> None:
    """A token server elsewhere gets none of them, but what the user calls us."""

    async def tokens(exchange: Exchange) -> None:
        await exchange.answer(200, b'{"token": "t"}')

    async with hostile(tokens) as token_server:

        async def script(exchange: Exchange) -> None:
            challenge = f'Bearer realm="{token_server.url}/token"'
            is_in = exchange.header("Authorization") == "Bearer t"
            await exchange.answer(200 if is_in else 401, b"", [("WWW-Authenticate", challenge)])

        headers = {"X-Secret": "canary", "User-Agent": "mine/1"}
        async with hostile(script) as server, oci.Client(auth_provider=ann, headers=headers) as client:
            await client.registry(server.url).ping()
            assert {exchange.header("X-Secret") for exchange in server.requests} == {"canary"}
    (asked,) = token_server.requests
    assert (asked.header("X-Secret"), asked.header("User-Agent")) == (None, "mine/1")


def only_at(wanted: str, credential: oci.Credential) -> oci.AuthProvider:
    async def provider(host: str, repository: str | None) -> oci.Credential:
        return credential if host == wanted else oci.Credential()

    return provider
