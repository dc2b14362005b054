"""`registries.conf` of podman, skopeo and CRI-O (containers-registries.conf(5), version 2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from oci_distribution.errors import ConfigError, InvalidArgument, InvalidReference, redact_url
from oci_distribution.transport.hosts import HostConfig, Mirror
from oci_distribution.transport.patterns import check_pattern
from oci_distribution.transport.toml_files import made, parsed, read, unsupported

__all__ = ["Insecure", "hosts_from_registries_conf"]

Insecure = Literal["http", "skip-verify"]


class _Table(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid", hide_input_in_errors=True, alias_generator=lambda name: name.replace("_", "-")
    )


class _Mirror(_Table):
    location: str
    insecure: bool = False
    pull_from_mirror: Literal["", "all", "digest-only", "tag-only"] = ""


class _Registry(_Table):
    prefix: str = ""
    location: str = ""
    insecure: bool = False
    blocked: bool = False
    mirror: list[_Mirror] = Field(default_factory=list[_Mirror])
    mirror_by_digest_only: bool = False

    @property
    def name(self) -> str:
        return self.prefix or self.location


class _File(_Table):
    """What may stand in a file; the first five are about short names and credentials, and not used."""

    unqualified_search_registries: Any = None
    short_name_mode: Any = None
    aliases: Any = None
    credential_helpers: Any = None
    additional_layer_store_auth_helper: Any = None
    registry: list[_Registry] = Field(default_factory=list[_Registry])
    registries: Any = None


def hosts_from_registries_conf(
    path: Path | str | None = None, *, text: str | None = None, insecure: Insecure | None = None
) -> dict[str, HostConfig]:
    """Return what a `registries.conf` says of hosts, for `Client(hosts=...)`.

    It reads files: call it when your program starts, or from a thread.

    Args:
        path: The file; `*.conf` in the directory `<path>.d` are read, too, and replace what it says of a
            prefix.
        text: Its text, in the place of a file.
        insecure: What `insecure = true` means: that the registry speaks plain http, or https with a
            certificate that nobody can check. podman tries; we never fall back. None refuses such entries.

    Raises:
        ConfigError: A file cannot be read, is broken, of version 1, or says what we cannot do; the error
            names file and key.
        InvalidArgument: Neither path nor text, or both.
    """
    if (path is None) is (text is None):
        raise InvalidArgument("give either the path of a registries.conf, or its text")
    tables: dict[str, tuple[_Registry, Path | str]] = {}
    for name, content in _files(path, text or ""):
        for table in _registries(content, name):
            tables[table.name] = table, name
    reader = _Reader(insecure)
    for table, name in tables.values():
        reader.add(table, name)
    return reader.hosts()


def _files(path: Path | str | None, text: str) -> list[tuple[Path | str, str]]:
    if path is None:
        return [("registries.conf", text)]
    file = Path(path)
    try:
        added = sorted(file.with_name(f"{file.name}.d").glob("*.conf"))
    except OSError as error:
        raise ConfigError(f"{file}.d cannot be read: {error.strerror}") from error
    return [(name, read(name)) for name in (file, *added)]


def _registries(text: str, name: Path | str) -> list[_Registry]:
    content = parsed(_File, text, name)
    if content.registries is not None:
        raise unsupported(name, "[registries]", "it is of version 1; podman 4 and newer refuse it, too")
    for table in content.registry:
        if not table.name:
            raise ConfigError(f"{name}: a [[registry]] has neither prefix nor location")
    return content.registry


class _Reader:
    """Makes configurations of tables, one after the other."""

    def __init__(self, insecure: Insecure | None) -> None:
        self._insecure = insecure
        self._hosts: dict[str, HostConfig] = {}
        self._mirrors: dict[str, tuple[bool, str]] = {}

    def add(self, table: _Registry, name: Path | str) -> None:
        """Take in what is said of one registry."""
        key = f"[[registry]] {redact_url(table.name)}"
        if table.blocked:
            raise unsupported(name, f"{key}: blocked", "ask nothing of it, or leave the entry out")
        try:
            host = check_pattern(table.name)
        except InvalidReference:
            why = "only whole hosts have a configuration here, and no part of one"
            raise unsupported(name, f"{key}: prefix", why) from None
        if host in self._hosts:
            raise ConfigError(f"{name}: {key}: another entry is about {host}, too")
        if table.location not in {"", table.name}:
            why = "what has another name is another registry, with other credentials: make it a mirror"
            raise unsupported(name, f"{key}: location", why)
        mirrors = tuple(self._mirror(mirror, table, name, key) for mirror in table.mirror)
        self._hosts[host] = made(HostConfig, name, key, mirrors=mirrors, **self._trust(table, name, key))

    def _trust(self, table: _Registry | _Mirror, name: Path | str, key: str) -> dict[str, Any]:
        if not table.insecure:
            return {}
        if self._insecure is None:
            why = "it does not say whether that means http: call with insecure='http' or 'skip-verify'"
            raise unsupported(name, f"{key}: insecure", why)
        return {"scheme": "http"} if self._insecure == "http" else {"skip_verify": True}

    def _mirror(self, mirror: _Mirror, table: _Registry, name: Path | str, key: str) -> Mirror:
        key = f"{key}: [[registry.mirror]] {redact_url(mirror.location)}"
        if "://" in mirror.location:
            raise ConfigError(f"{name}: {key}: a location has no scheme; insecure says what it would")
        if mirror.pull_from_mirror == "tag-only":
            why = "mirrors are asked for content by digest first of all"
            raise unsupported(name, f"{key}: pull-from-mirror", why)
        trust = self._trust(mirror, name, key)
        host, _, prefix = mirror.location.partition("/")
        made_of = made(
            Mirror,
            name,
            key,
            registry=host,
            prefix=prefix,
            scheme=trust.get("scheme", "https"),
            tags=mirror.pull_from_mirror != "digest-only" and not table.mirror_by_digest_only,
        )
        skips = bool(trust.get("skip_verify"))
        if self._mirrors.setdefault(made_of.registry, (skips, f"{name}: {key}"))[0] != skips:
            raise ConfigError(f"{name}: {key}: it is insecure in one place and not in another")
        return made_of

    def hosts(self) -> dict[str, HostConfig]:
        """Return what was taken in, with an entry for each mirror that needs one."""
        for mirror, (skips, where) in self._mirrors.items():
            known = self._hosts.setdefault(mirror, HostConfig(skip_verify=skips))
            if known.skip_verify != skips:
                raise ConfigError(f"{where}: it is insecure in one place and not in another")
        return self._hosts
