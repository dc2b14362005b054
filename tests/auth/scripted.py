"""A token server for the seam where an `Authorizer` sends its requests for tokens, and a provider that counts."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import anyio

from oci_distribution.auth.authorizer import TokenRequest, TokenResponse
from oci_distribution.auth.credentials import ANONYMOUS, Credential
from oci_distribution.spec.urls import Origin

ORIGIN = Origin.of("https://registry.example")
NAME = "registry.example"
REALM = "https://auth.example/token"
PULL = "repository:team/app:pull"
PUSH = "repository:team/app:pull,push"
BEARER = f'Bearer realm="{REALM}",service="reg"'
ANN = Credential("ann", "secret")


def answer(status: int = 200, **body: Any) -> TokenResponse:
    """Return what a token server may answer."""
    return TokenResponse(status, {}, json.dumps(body).encode())


class Tokens:
    """Answers with what `script` makes of each request, else with `token-1`, `token-2` and so on.

    While `gate` is shut, requests wait in front of it.
    """

    def __init__(self, script: Callable[[TokenRequest], TokenResponse | None] | None = None) -> None:
        self.requests: list[TokenRequest] = []
        self.asked = anyio.Event()
        self.gate = anyio.Event()
        self.gate.set()
        self._script = script

    async def __call__(self, request: TokenRequest) -> TokenResponse:
        self.requests.append(request)
        number = len(self.requests)
        self.asked.set()
        await self.gate.wait()
        scripted = self._script(request) if self._script is not None else None
        return scripted if scripted is not None else answer(token=f"token-{number}", expires_in=300)


class Provider:
    """Knows one credential at a time, and keeps what it was asked."""

    def __init__(self, credential: Credential = ANONYMOUS) -> None:
        self.credential = credential
        self.asked: list[tuple[str, str | None]] = []

    async def __call__(self, host: str, repository: str | None) -> Credential:
        self.asked.append((host, repository))
        await anyio.lowlevel.checkpoint()
        return self.credential


class Clock:
    """A clock that stands until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def query(request: TokenRequest) -> list[tuple[str, str]]:
    """Return the parameters in a request's URL."""
    return parse_qsl(urlsplit(request.url).query, keep_blank_values=True)


def form(request: TokenRequest) -> dict[str, str]:
    """Return the parameters in a request's body, each of which stands there once."""
    assert request.body is not None
    pairs = parse_qsl(request.body.decode(), keep_blank_values=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)
