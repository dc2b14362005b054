"""Whom we trust where nothing else is said."""

from __future__ import annotations

import os
import ssl
import threading
from functools import lru_cache
from pathlib import Path

import certifi

from oci_distribution.errors import ConfigError

__all__ = ["default_ssl_context", "new_ssl_context"]

_building = threading.Lock()


def default_ssl_context() -> ssl.SSLContext:
    """Return the context of clients that were given none; built once, and shared.

    We trust what the machine trusts, as docker, podman and every Go client do: a company's own
    certificate authority is installed there, and httpx's default (certifi alone) would not know it.
    certifi steps in where the machine trusts nobody: slim containers, Python from python.org on macOS.
    OpenSSL itself reads SSL_CERT_FILE and SSL_CERT_DIR.

    It reads files: call it from a thread.

    Raises:
        ConfigError: SSL_CERT_FILE cannot be read, or holds no certificates.
    """
    with _building:
        return _build(*_environment())


def new_ssl_context() -> ssl.SSLContext:
    """Return a context like the default one, to add to.

    Raises:
        ConfigError: SSL_CERT_FILE cannot be read, or holds no certificates.
    """
    return _new_context(*_environment())


def _environment() -> tuple[str | None, str | None]:
    return os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")


def _new_context(cert_file: str | None, cert_dir: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if cert_file:
        # OpenSSL says nothing when it cannot read it, and every connection would fail with a riddle.
        try:
            context.load_verify_locations(cafile=cert_file)
        except OSError as error:
            raise ConfigError(f"SSL_CERT_FILE={cert_file} cannot be used: {error}") from error
    elif not cert_dir and not _trusts_anybody(context):
        context.load_verify_locations(cafile=certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context


_build = lru_cache(maxsize=4)(_new_context)


def _trusts_anybody(context: ssl.SSLContext) -> bool:
    # Certificates of a folder are read when they are needed, so the context does not count them.
    folder = Path(ssl.get_default_verify_paths().openssl_capath)
    return bool(context.cert_store_stats()["x509_ca"]) or (folder.is_dir() and any(folder.iterdir()))
