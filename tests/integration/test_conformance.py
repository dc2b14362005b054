"""The specification's own conformance suite against the embedded registry: all of it, and nothing skipped."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks.services import embedded_registry
from tests.integration.conftest import find

# The version under work switches everything on but this; that nothing is off is read from the results.
SETTINGS = {"OCI_VERSION": "dev", "OCI_DATA_SPARSE": "true", "OCI_TLS": "disabled"}
CREDENTIALS = {"OCI_USERNAME": "ann", "OCI_PASSWORD": "secret"}


def not_passed(results: Path) -> list[str]:
    """List what was switched off, left out, skipped or failed."""
    config, _, outcomes = (results / "results.yaml").read_text().partition("\napis:\n")
    assert ": Pass\n" in outcomes
    return [
        *(f"switched off: {line.strip()}" for line in config.splitlines() if line.endswith(": false")),
        *(line.strip() for line in outcomes.splitlines() if ": " in line and not line.endswith(": Pass")),
        *(
            f"{case.get('name')}: {case.get('status')}: {case.findtext('system-out')}"
            for case in ET.parse(results / "junit.xml").iter("testcase")
            if case.get("status") != "passed"
        ),
    ]


@pytest.mark.parametrize("storage", ["memory", "directory"])
@pytest.mark.parametrize("auth", [None, "--auth", "--token-auth"])
def test_nothing_fails_and_nothing_is_skipped(auth: str | None, storage: str, tmp_path: Path) -> None:
    """Every check passes, with either storage, and whether or not one must log in."""
    suite = find("conformance")
    settings = SETTINGS | {"OCI_RESULTS_DIR": str(tmp_path / "results")}
    options = ["--sparse"]  # which the specification leaves to the registry, and the suite has a switch for
    if auth is not None:
        settings |= CREDENTIALS
        options += [auth, ":".join(CREDENTIALS.values())]
    if storage == "directory":
        options += ["--storage", str(tmp_path / "content")]

    with embedded_registry(*options) as registry:
        env = os.environ | settings | {"OCI_REGISTRY": registry.host}
        ran = subprocess.run(
            [suite], env=env, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
        )

    assert "\n".join(not_passed(tmp_path / "results")) == ""
    assert ran.returncode == 0, ran.stderr
