"""A throw-away certificate authority, for registries that serve https."""

from __future__ import annotations

import ipaddress
import ssl

import trustme

__all__ = ["Authority"]

_NAMES = ("localhost", "127.0.0.1", "::1")


class Authority:
    """A certificate authority that nobody but the clients of one registry has to trust."""

    def __init__(self) -> None:
        self._authority = trustme.CA()

    @property
    def pem(self) -> bytes:
        """Its certificate, as clients want it in a file."""
        return self._authority.cert_pem.bytes()

    def server_context(self, address: str) -> ssl.SSLContext:
        """Return what a server needs that is reached as this machine or at `address`, an IP address."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        names = {*_NAMES, address} if _is_ip(address) else _NAMES
        certificate = self._authority.issue_cert(*names)
        certificate.configure_cert(context)  # pyright: ignore[reportUnknownMemberType] - of pyOpenSSL's types
        return context

    def client_context(self) -> ssl.SSLContext:
        """Return what a client needs that trusts this authority, and no other."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._authority.configure_trust(context)  # pyright: ignore[reportUnknownMemberType] - of pyOpenSSL's types
        return context


def _is_ip(address: str) -> bool:
    """Say whether it can be in a certificate; of what cannot, the server complains as it does without TLS."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True
