"""The log: a line for what happens, and never a secret, whatever goes wrong."""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import AsyncGenerator

import pytest

import oci_distribution as oci
from oci_distribution.events import is_logged
from oci_distribution.testing import Fault, RunningRegistry, TokenAuth, User, serve_registry
from oci_distribution.transport.watch import watch
from tests.hostile import Exchange, hostile
from tests.images import push_image

CANARIES = ("canary-password", "canary-identity", "canary-signature", "canary-state", "canary-user", "eyJ")
"""Parts of a password, an identity token, signed URLs, a URL's userinfo, and of every JSON Web Token."""


async def ann(host: str, repository: str | None) -> oci.Credential:
    return oci.Credential(username="ann", password="canary-password")


async def fails(host: str, repository: str | None) -> oci.Credential:
    return oci.Credential(username="ann", identity_token="canary-identity")


@pytest.fixture
async def registry() -> AsyncGenerator[RunningRegistry]:
    users: dict[str, str | User] = {"ann": "canary-password"}
    async with serve_registry(auth=TokenAuth(users)) as registry:
        yield registry


def everything(caplog: pytest.LogCaptureFixture) -> str:
    """Return all that a handler could make of the records: text, arguments, tracebacks, pickles."""
    formatter = logging.Formatter("%(name)s %(levelname)s %(message)s")
    parts: list[str] = []
    for record in caplog.records:
        parts += [formatter.format(record), repr(record.args), repr(record.__dict__)]
        parts.append(repr(pickle.dumps(record.args)) if record.name == "oci_distribution" else "")
    return "\n".join(parts)


async def test_each_request_is_a_line(registry: RunningRegistry, caplog: pytest.LogCaptureFixture) -> None:
    """Method, URL, status, seconds; nothing on a level above when nothing is wrong."""
    caplog.set_level(logging.DEBUG, "oci_distribution")
    async with oci.Client(auth_provider=ann) as client:
        await client.registry(registry.url).ping()

    lines = [record.getMessage() for record in caplog.records if record.name == "oci_distribution"]
    assert sum(": status 200 after 0." in line for line in lines) == 2  # the token's, and ours
    assert sum(": status 401 after 0." in line for line in lines) == 1
    assert sum("gave a token for" in line for line in lines) == 1
    assert {record.levelno for record in caplog.records if record.name == "oci_distribution"} == {
        logging.DEBUG
    }


async def test_a_retry_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """It is what somebody wants to know who debugs nothing."""
    caplog.set_level(logging.INFO, "oci_distribution")
    async with (
        serve_registry() as registry,
        oci.Client(auth_provider=ann, retry=oci.RetryPolicy(base_delay=0.001)) as client,
    ):
        registry.faults.add(Fault(path="/v2/", nth=1, status=503))
        await client.registry(registry.url).ping()

    (record,) = [record for record in caplog.records if record.name == "oci_distribution"]
    assert record.levelno == logging.WARNING
    assert "attempt 1 failed (status 503)" in record.getMessage()


async def test_no_secret_of_a_good_day(registry: RunningRegistry, caplog: pytest.LogCaptureFixture) -> None:
    """Pushing, reading, uploading in chunks: with every logger on, ours and those of the libraries below."""
    caplog.set_level(logging.NOTSET)
    async with oci.Client(auth_provider=ann, headers={"X-Secret": "canary-state"}) as client:
        repo = client.registry(registry.url).repository("team/app")
        manifest = await push_image(repo, [b"x" * 300_000], tag="v1")
        async with repo.blobs.writer(chunk_size=100_000) as writer:
            await writer.write(b"y" * 250_000)
            await writer.commit()
        await repo.blobs.read(manifest.children[0])
        repr(client), repr(repo)

    text = everything(caplog)
    assert "oci_distribution DEBUG" in text
    assert [canary for canary in CANARIES if canary in text] == []


async def test_no_secret_of_a_bad_day(caplog: pytest.LogCaptureFixture) -> None:
    """Refused logins, signed redirects, broken connections, retries and the errors that come of them."""
    caplog.set_level(logging.NOTSET)
    errors: list[Exception] = []

    async def script(exchange: Exchange) -> None:
        await exchange.read_body()
        where = f"{server.url.replace('://', '://canary-user:x@')}/s?X-Amz-Signature=canary-signature"
        match exchange.method, exchange.target.partition("?")[0]:
            case "GET", "/v2/a/b/manifests/v1":
                await exchange.answer(307, headers=[("Location", where)])
            case "GET", "/s":
                exchange.reset()
            case "POST", _:
                await exchange.answer(202, headers=[("Location", "/u?_state=canary-state")])
            case _:
                await exchange.answer(500)

    async with hostile(script) as server, serve_registry(auth=TokenAuth({"ann": "other"})) as registry:
        for provider in (ann, fails):
            retry = oci.RetryPolicy(attempts=2, base_delay=0.001)
            async with oci.Client(auth_provider=provider, retry=retry) as client:
                for url in (server.url, registry.url):
                    repo = client.registry(url).repository("a/b")
                    for call in (repo.manifests.get("v1"), repo.blobs.push(b"x" * 100_000)):
                        try:
                            await call
                        except oci.OCIError as error:
                            errors.append(error)
                            logging.getLogger("app").exception("it failed")

    assert len(errors) == 8
    text = everything(caplog) + repr(errors) + repr([pickle.dumps(error) for error in errors])
    assert "WARNING" in text
    assert [canary for canary in CANARIES if canary in text] == []


def test_nothing_is_built_for_a_level_that_is_off(caplog: pytest.LogCaptureFixture) -> None:
    """A log of warnings costs a request nothing."""
    caplog.set_level(logging.WARNING, "oci_distribution")

    assert is_logged(oci.RetryScheduled)
    assert not is_logged(oci.RequestSent)
    assert watch(None, time.monotonic) is None
