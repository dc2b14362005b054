"""containerd's directory of hosts: `certs.d/<host>/hosts.toml` (its docs/hosts.md)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from oci_distribution.errors import ConfigError, InvalidReference, redact_url
from oci_distribution.spec.reference import check_registry, split_scheme
from oci_distribution.transport.hosts import HostConfig, Mirror, Scheme
from oci_distribution.transport.tls import certificates_in
from oci_distribution.transport.toml_files import made, parsed, read, unsupported

__all__ = ["hosts_from_containerd"]

DEFAULT: Final = "_default"
_WINDOWS_PORT = re.compile(r"(.+)_([0-9]+)_")


class _Host(BaseModel):
    """What is said of one place where a registry may be asked."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", hide_input_in_errors=True)

    capabilities: list[Literal["pull", "resolve", "push"]] | None = None
    ca: str | list[str] = Field(default_factory=list[str])
    client: str | list[str | list[str]] = Field(default_factory=list[str | list[str]])
    skip_verify: bool = False
    header: dict[str, str | list[str]] = Field(default_factory=dict[str, str | list[str]])
    override_path: bool = False


class _File(_Host):
    """A `hosts.toml`: what is said of the registry itself, and of others that are asked before it."""

    server: str | None = None
    host: dict[str, _Host] = Field(default_factory=dict[str, _Host])


class _Place(NamedTuple):
    """A URL of a `hosts.toml`."""

    scheme: Scheme | None
    endpoint: str
    """As it is written; `name` is what a reference calls it."""
    name: str


def hosts_from_containerd(directory: Path | str) -> dict[str, HostConfig]:
    """Return what containerd's `certs.d` says of hosts, for `Client(hosts=...)`.

    It reads files: call it when your program starts, or from a thread.

    Args:
        directory: The one that has a directory for each host, often `/etc/containerd/certs.d`.

    Raises:
        ConfigError: A file cannot be read, is broken, or says what we cannot do; the error names file and
            key.
    """
    root = Path(directory)
    reader = _Reader()
    try:
        folders = sorted(folder for folder in root.iterdir() if folder.is_dir())
    except OSError as error:
        raise ConfigError(f"{root} cannot be read: {error.strerror}") from error
    for folder in folders:
        file = folder / "hosts.toml"
        # containerd takes docker's layout, too, and so do we.
        content = parsed(_File, read(file), file) if file.exists() else _docker_layout(folder)
        reader.add(_name_of(folder), content, file)
    return reader.hosts()


def _name_of(folder: Path) -> str:
    """Return the host that a directory is about; `*` for all."""
    if folder.name == DEFAULT:
        return "*"
    windows = _WINDOWS_PORT.fullmatch(folder.name)
    try:
        return check_registry(f"{windows[1]}:{windows[2]}" if windows else folder.name)
    except InvalidReference as error:
        raise ConfigError(f"{folder}: {error}") from None


def _docker_layout(folder: Path) -> _File:
    """Return what a directory says that holds certificates only."""
    authorities, pairs = certificates_in(folder, folder.name)
    client: list[str | list[str]] = [[str(certificate), str(key)] for certificate, key in pairs]
    return _File(ca=list(map(str, authorities)), client=client)


class _Reader:
    """Makes configurations of files, one after the other."""

    def __init__(self) -> None:
        self._hosts: dict[str, HostConfig] = {}
        self._mirrors: dict[str, tuple[HostConfig, str]] = {}

    def add(self, name: str, content: _File, file: Path) -> None:
        """Take in what a file says of a registry."""
        if name in self._hosts:
            raise ConfigError(f"{file}: another directory is about {name}, too")
        place = _Place(None, name, name)
        if content.server is not None:
            place = _place(content.server, content, file, "server")
        if name == "*" and (content.server is not None or content.host):
            why = "which registry is meant, a server is told by ?ns=, which other registries do not know"
            raise unsupported(file, "server or host for all hosts", why)
        _check_asked(content, file, "capabilities")
        fields = _fields(content, file)
        mirrors: list[Mirror] = []
        for url, host in content.host.items():
            key = f'[host."{redact_url(url)}"]'
            other = _place(url, host, file, key)
            if other.name == name:
                # The registry itself, as in containerd's own example for Docker Hub.
                _check_asked(host, file, f"{key}: capabilities")
                fields |= _fields(host, file)
                continue
            mirrors.append(self._mirror(host, other, file, key))
        endpoint = None if place.name == name else place.endpoint
        self._hosts[name] = made(
            HostConfig,
            file,
            "server",
            scheme=place.scheme,
            endpoint=endpoint,
            mirrors=tuple(mirrors),
            **fields,
        )

    def _mirror(self, host: _Host, place: _Place, file: Path, key: str) -> Mirror:
        capabilities = {"pull", "resolve"} if host.capabilities is None else set(host.capabilities)
        if "push" in capabilities:
            raise unsupported(
                file, f"{key}: capabilities", "what is pushed goes to the registry, not to others"
            )
        if "pull" not in capabilities:
            raise unsupported(file, f"{key}: capabilities", "who is asked at all is asked for content, too")
        config = made(HostConfig, file, key, **_fields(host, file))
        known, _ = self._mirrors.setdefault(place.name, (config, f"{file}: {key}"))
        if known != config:
            raise ConfigError(f"{file}: {key}: other files say something else of this host")
        return made(
            Mirror, file, key, registry=place.name, scheme=place.scheme, tags="resolve" in capabilities
        )

    def hosts(self) -> dict[str, HostConfig]:
        """Return what was taken in, with an entry for each mirror."""
        for mirror, (config, where) in self._mirrors.items():
            known = self._hosts.setdefault(mirror, config)
            if (known.tls, known.headers) != (config.tls, config.headers):
                raise ConfigError(f"{where}: the directory of this host says something else of it")
        return self._hosts


def _place(url: str, host: _Host, file: Path, key: str) -> _Place:
    """Split a URL that must lead to the root of a registry."""
    try:
        scheme, rest = split_scheme(url)
        endpoint, _, path = rest.partition("/")
        name = check_registry(endpoint)
    except InvalidReference as error:
        raise ConfigError(f"{file}: {key}: {error}") from None
    if path.strip("/") not in ({"v2"} if host.override_path else {"", "v2"}):
        key = f"{key}: override_path" if host.override_path else f"{key}: a path"
        raise unsupported(file, key, "the API must answer at /v2/")
    return _Place("http" if scheme == "http" else "https", endpoint, name)


def _check_asked(host: _Host, file: Path, key: str) -> None:
    """Make sure that the registry itself may be asked for everything, as it is."""
    if host.capabilities is not None and not {"pull", "resolve"} <= set(host.capabilities):
        raise unsupported(file, key, "what mirrors do not have, the registry is asked for")


def _fields(host: _Host, file: Path) -> dict[str, Any]:
    """Return what is said of TLS and headers, as `HostConfig` has it."""
    authorities = [host.ca] if isinstance(host.ca, str) else host.ca
    fields: dict[str, Any] = {
        "ca_file": tuple(file.parent / path for path in authorities),
        "skip_verify": host.skip_verify,
        "headers": {name: ", ".join(_listed(value)) for name, value in host.header.items()},
    }
    pairs = list(_pairs(host, file))
    if len(pairs) > 1:
        raise unsupported(file, "client", "there can be one certificate of ours for a host")
    for certificate, key in pairs:
        fields |= {"client_cert": certificate, "client_key": key}
    return {name: value for name, value in fields.items() if value}


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _pairs(host: _Host, file: Path) -> Iterator[tuple[Path, Path | None]]:
    """Yield certificates with their keys: a file with both, or a pair of files."""
    for entry in [host.client] if isinstance(host.client, str) else host.client:
        names = _listed(entry)
        if not (1 <= len(names) <= 2 and names[0]):
            raise unsupported(file, "client", "a certificate has one file, or two with its key")
        certificate, *key = (file.parent / name for name in filter(None, names))
        yield certificate, key[0] if key else None
