"""The face: every public name, and what importing it costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import FunctionType

import pytest

import oci_distribution as oci

FACE = Path(oci.__file__)


def test_all_is_true() -> None:
    """What is promised is there, and once (ruff sees to the order)."""
    assert len(oci.__all__) == len(set(oci.__all__))
    for name in oci.__all__:
        assert getattr(oci, name) is not None
    assert set(oci.__all__) <= set(dir(oci))


def test_what_type_checkers_see_is_what_is_loaded() -> None:
    """The imports under TYPE_CHECKING and the table of homes say the same."""
    imported = {
        alias.name: node.module.removeprefix("oci_distribution.")
        for node in ast.walk(ast.parse(FACE.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("oci_distribution.")
        for alias in node.names
    }

    assert imported == oci._HOME_OF
    assert sorted(imported) == sorted(oci.__all__)


def test_every_public_class_and_function_has_a_docstring() -> None:
    """Nothing public goes without a sentence."""
    things = [getattr(oci, name) for name in oci.__all__]

    assert [thing for thing in things if isinstance(thing, type | FunctionType) and not thing.__doc__] == []


def test_a_bare_import_loads_nothing_heavy() -> None:
    """Importing the package costs next to nothing, and so does parsing a reference."""
    code = """
import sys, oci_distribution as oci
assert not {"httpx", "aiohttp", "pydantic", "starlette", "uvicorn"} & set(sys.modules), "bare import"
oci.Reference.parse("alpine")
assert not {"httpx", "aiohttp", "starlette", "uvicorn"} & set(sys.modules), "a value"
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_the_version_is_the_packages() -> None:
    """It is written in one place."""
    assert oci.__version__ == version("oci-distribution")


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = oci.no_such_name
