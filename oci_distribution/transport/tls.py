"""TLS with a host: whom we trust besides, and who we are to it."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from oci_distribution.errors import ConfigError
from oci_distribution.trust import default_ssl_context, new_ssl_context

__all__ = ["CERTS_DIRS", "TLSContexts", "TLSSettings", "certificates_in"]

CERTS_DIRS: Final = ("~/.config/containers/certs.d", "/etc/containers/certs.d", "/etc/docker/certs.d")
"""Where podman and docker look for certificates by the host's name."""

MAX_HOSTS: Final = 1000
"""Hosts whose context is found at once: registries may redirect to ever new ones."""

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TLSSettings:
    """What is special about TLS with a host.

    Args:
        ca_files: Certificate authorities that are trusted besides the machine's.
        client_certs: Certificates that say who we are, each with the file of its key; None for the same file.
        verify: Whether to make sure who the host is.
        certs_dirs: Directories with one named as the host, of which the first that is there is read; None
            for those of podman and docker.
    """

    ca_files: tuple[Path, ...] = ()
    client_certs: tuple[tuple[Path, Path | None], ...] = ()
    verify: bool = True
    certs_dirs: tuple[Path, ...] | None = None


class TLSContexts:
    """The contexts of a client: one for each setting, built in a thread when a host first needs it.

    Args:
        settings: What is special about a host, given its `host:port` without the port of https.
    """

    def __init__(self, settings: Callable[[str], TLSSettings]) -> None:
        self._settings = settings
        self._by_host: dict[tuple[str, int], ssl.SSLContext] = {}
        self._by_setting: dict[TLSSettings, ssl.SSLContext] = {}
        self._lock = anyio.Lock()

    async def __call__(self, host: str, port: int) -> ssl.SSLContext:
        """Return the context for a host.

        Raises:
            ConfigError: A certificate or key cannot be used; it names the file and the host.
        """
        known = self._by_host.get((host, port))
        if known is not None:
            return known
        # One after the other: hosts with one setting share one context, and nobody builds it twice.
        async with self._lock:
            if (host, port) not in self._by_host:
                build = partial(self._context, host, port)
                self._by_host[host, port] = await anyio.to_thread.run_sync(build)
                if len(self._by_host) > MAX_HOSTS:
                    del self._by_host[next(iter(self._by_host))]
            return self._by_host[host, port]

    def _context(self, host: str, port: int) -> ssl.SSLContext:
        name = f"[{host}]" if ":" in host else host
        name = name if port == 443 else f"{name}:{port}"
        settings = _with_certs_dirs(self._settings(name), name)
        if settings not in self._by_setting:
            is_default = settings == TLSSettings(certs_dirs=())
            self._by_setting[settings] = default_ssl_context() if is_default else _special(settings, name)
        return self._by_setting[settings]


def _with_certs_dirs(settings: TLSSettings, name: str) -> TLSSettings:
    """Return the settings with what the first directory that is named as the host adds to them."""
    folder = _certs_dir(settings.certs_dirs, name)
    if folder is None:
        return replace(settings, certs_dirs=())
    authorities, client_certs = certificates_in(folder, name)
    return replace(
        settings,
        ca_files=settings.ca_files + authorities,
        client_certs=client_certs + settings.client_certs,
        certs_dirs=(),
    )


def certificates_in(folder: Path, name: str) -> tuple[tuple[Path, ...], tuple[tuple[Path, Path | None], ...]]:
    """Return the authorities in a directory, and our certificates with their keys, as docker keeps them.

    Raises:
        ConfigError: It cannot be read, or a certificate or key is alone.
    """
    try:
        files = sorted(folder.iterdir())
    except OSError as error:
        raise ConfigError(f"{name}: the certificates in {folder} cannot be read: {error}") from error
    return tuple(path for path in files if path.suffix == ".crt"), tuple(_pairs(files, name))


def _certs_dir(chosen: tuple[Path, ...] | None, name: str) -> Path | None:
    for directory in map(Path, CERTS_DIRS) if chosen is None else chosen:
        folder = _expanded(directory) / name
        try:
            is_there = folder.is_dir() and any(folder.iterdir())
        except PermissionError:
            # Docker's may be root's alone, and nobody told us to look there.
            if chosen is not None:
                raise ConfigError(f"{name}: the certificates in {folder} may not be read") from None
            _LOGGER.info("%s may not be read, and is passed over", folder)
            is_there = False
        if is_there:
            return folder
    return None


def _pairs(files: list[Path], name: str) -> Iterator[tuple[Path, Path | None]]:
    """Yield the certificates of a directory, each with its key: `*.cert` and `*.key`."""
    for path in files:
        other = path.with_suffix({".cert": ".key", ".key": ".cert"}.get(path.suffix, path.suffix))
        if other not in files:
            raise ConfigError(f"{name}: there is {path}, and no {other.name} beside it")
        if path.suffix == ".cert":
            yield path, other


def _special(settings: TLSSettings, name: str) -> ssl.SSLContext:
    context = new_ssl_context()
    for path in settings.ca_files:
        _check_readable(path, name)
        try:
            context.load_verify_locations(cafile=_expanded(path))
        except OSError as error:
            raise ConfigError(f"{name}: {path} holds no certificates that can be used: {error}") from error
    for certificate, key in settings.client_certs:
        _add_client_certificate(context, certificate, key or certificate, name)
    if not settings.verify:
        _LOGGER.warning("%s may be anybody: its certificate is not checked (skip_verify)", name)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _add_client_certificate(context: ssl.SSLContext, certificate: Path, key: Path, name: str) -> None:
    def refuse() -> str:
        # OpenSSL would ask at the terminal.
        raise ConfigError(f"{name}: the key in {key} is encrypted; it can be used without a password only")

    for path in {certificate, key}:
        _check_readable(path, name)
    try:
        context.load_cert_chain(_expanded(certificate), _expanded(key), password=refuse)
    except OSError as error:
        if "KEY_VALUES_MISMATCH" in str(error):
            raise ConfigError(f"{name}: {key} is not the key of {certificate}") from error
        raise ConfigError(f"{name}: {certificate} and {key} are no certificate and key: {error}") from error


def _check_readable(path: Path, name: str) -> None:
    """Make sure that a file is there; OpenSSL does not say which one is not."""
    try:
        _expanded(path).open("rb").close()
    except OSError as error:
        raise ConfigError(f"{name}: {path} cannot be read: {error.strerror}") from error


def _expanded(path: Path) -> Path:
    # Not by pathlib, which raises where nobody has a home: a container with a user of its own.
    return Path(os.path.expanduser(path))  # noqa: PTH111
