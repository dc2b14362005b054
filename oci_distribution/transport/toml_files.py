"""Files of other programs in TOML, read with errors that name the file and the key."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from oci_distribution.errors import ConfigError
from oci_distribution.transport.host_table import reasons
from oci_distribution.transport.hosts import HostConfig, Mirror

__all__ = ["made", "parsed", "read", "unsupported"]

MAX_FILE: Final = 1 << 20
"""Bytes of the longest file that is read: longer ones are something else."""

M = TypeVar("M", bound=BaseModel)
C = TypeVar("C", HostConfig, Mirror)


def read(path: Path) -> str:
    """Return the text of a file.

    Raises:
        ConfigError: It cannot be read, is too long, or no text.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > MAX_FILE:
        raise ConfigError(f"{path} is longer than {MAX_FILE} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8") from None


def parsed(model: type[M], text: str, name: Path | str) -> M:
    """Return what a file says.

    Args:
        model: What may stand in it.
        text: Its text.
        name: What errors call it.

    Raises:
        ConfigError: It is no TOML, or something else stands in it.
    """
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # of tomllib's own, of a huge number, of a deep nest
        raise ConfigError(f"{name} is no TOML: {error}") from None
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{name}: {reasons(error)}") from None


def made(model: type[C], name: Path | str, key: str, **fields: Any) -> C:
    """Return what comes of a part of a file.

    Raises:
        ConfigError: Its values are none that can be used.
    """
    try:
        return model(**fields)
    except ValidationError as error:
        raise ConfigError(f"{name}: {key}: {reasons(error)}") from None


def unsupported(name: Path | str, key: str, why: str) -> ConfigError:
    """Return the error for what would mean something else if it were passed over."""
    return ConfigError(f"{name}: {key} is not supported: {why}")
