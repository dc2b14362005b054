"""A certificate authority for one test: servers that ask for certificates, and files for clients."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path

import trustme

__all__ = ["Pki"]


@dataclass
class Pki:
    """An authority that vouches for servers and clients, and a folder with what clients need."""

    folder: Path
    authority: trustme.CA = field(default_factory=trustme.CA)

    @property
    def ca(self) -> Path:
        """The authority's own certificate."""
        path = self.folder / "ca.pem"
        self.authority.cert_pem.write_to_path(path)
        return path

    def client(self, name: str = "ann") -> tuple[Path, Path]:
        """Return files with a certificate that says who a client is, and with its key."""
        leaf = self.authority.issue_cert(identity := f"{name}@example.com", common_name=identity)
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}-key.pem"
        leaf.cert_chain_pems[0].write_to_path(certificate)
        leaf.private_key_pem.write_to_path(key)
        return certificate, key

    def server(self, *names: str, clients: ssl.VerifyMode = ssl.CERT_NONE) -> ssl.SSLContext:
        """Return what a server needs; `clients` says whether it asks them for certificates."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.authority.issue_cert(*(names or ("127.0.0.1", "localhost"))).configure_cert(context)
        self.authority.configure_trust(context)
        context.verify_mode = clients
        return context
