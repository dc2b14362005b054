"""Files as artifacts, beside the tool oras: each reads what the other one pushed."""

from __future__ import annotations

from pathlib import Path

import pytest

import oci_distribution as oci
from tests.disk import names_below
from tests.integration.conftest import runner


@pytest.fixture(params=["registry_2", "registry_3"])
def host(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def files(tmp_path: Path) -> Path:
    root = tmp_path / "files"
    (root / "tree" / "sub").mkdir(parents=True)
    (root / "tree" / "sub" / "note").write_text("deep")
    (root / "tree" / "run").write_text("#!/bin/sh")
    (root / "tree" / "run").chmod(0o755)
    (root / "tree" / "link").symlink_to("sub/note")
    (root / "note.txt").write_text("a note")
    (root / "empty").touch()
    return root


async def test_oras_pulls_what_we_push(host: str, files: Path, tmp_path: Path) -> None:
    """Files, empty ones, and directories with links and programs."""
    oras = runner("oras")
    async with oci.Client() as client:
        repo = client.repository(f"{host}/files/ours")
        await oci.push_files(repo, [files / name for name in ("note.txt", "empty", "tree")], tags=["v1"])

    oras("pull", "--plain-http", "--output", str(tmp_path / "out"), f"{host}/files/ours:v1")

    assert names_below(tmp_path / "out") == names_below(files)
    assert (tmp_path / "out" / "tree" / "link").read_text() == "deep"
    assert (tmp_path / "out" / "tree" / "run").stat().st_mode & 0o100


async def test_we_pull_what_oras_pushes(
    host: str, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names as oras was given them, directories unpacked."""
    oras = runner("oras")
    monkeypatch.chdir(files)
    oras("push", "--plain-http", f"{host}/files/oras:v1", "note.txt:text/plain", "empty", "tree/")

    async with oci.Client() as client:
        await oci.pull_files(client.repository(f"{host}/files/oras"), "v1", tmp_path / "out")

    assert names_below(tmp_path / "out") == names_below(files)
    assert (tmp_path / "out" / "tree" / "link").read_text() == "deep"
    assert (tmp_path / "out" / "tree" / "run").stat().st_mode & 0o100
