"""A token server that distribution trusts: it signs with a key whose certificate the registry knows.

(distribution's "Token Authentication Specification".)
"""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import jwt
import trustme

__all__ = ["token_server"]

SERVICE, ISSUER = "tests", "the tests"
BASIC = base64.b64encode(b"ann:secret").decode()


@contextmanager
def token_server(folder: Path) -> Iterator[str]:
    """Serve tokens to `ann:secret`, and yield the part of a registry's configuration that trusts them."""
    authority = trustme.CA()
    certificate = authority.issue_cert("tokens.test")
    bundle = folder / "authority.pem"
    bundle.write_bytes(authority.cert_pem.bytes())
    chain = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())
    headers = {"x5c": [base64.b64encode(chain).decode()]}
    key = certificate.private_key_pem.bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") != f"Basic {BASIC}":
                self.send_error(401)
                return
            scopes = parse_qs(urlsplit(self.path).query).get("scope", [])
            token = jwt.encode(_claims(" ".join(scopes).split()), key, "ES256", headers)
            body = json.dumps({"token": token, "expires_in": 300}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            realm = f"http://127.0.0.1:{server.server_address[1]}/token"
            yield (
                f"auth: {{token: {{realm: '{realm}', service: {SERVICE}, issuer: '{ISSUER}',"
                f" rootcertbundle: '{bundle}'}}}}\n"
            )
        finally:
            server.shutdown()


def _claims(scopes: list[str]) -> dict[str, object]:
    now = int(time.time())
    access = []
    for scope in scopes:
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        access.append({"type": kind, "name": name, "actions": actions.split(",")})
    return {
        "iss": ISSUER,
        "sub": "ann",
        "aud": SERVICE,
        "iat": now - 5,
        "nbf": now - 5,
        "exp": now + 300,
        "jti": str(uuid4()),
        "access": access,
    }
