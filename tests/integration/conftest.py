"""Real registries and other people's clients.

What is missing on a user's machine is said and skipped; with OCI_INTEGRATION_REQUIRED set it is a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from benchmarks.services import debian_registry, distribution
from tests.integration.token_server import token_server

Tool = Callable[..., str]

HTPASSWD = "ann:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"
"""ann's password is secret; bcrypt, since distribution v3 takes nothing else."""


def find(tool: str) -> str:
    """Return the path of a tool, or say what is missing."""
    path = shutil.which(tool)
    if path is None:
        reason = f"{tool} is not on PATH (CONTRIBUTING.md says where it comes from)"
        if os.environ.get("OCI_INTEGRATION_REQUIRED"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def runner(tool: str, environment: Mapping[str, str] | None = None) -> Tool:
    """Return a function that runs a tool and returns what it prints."""
    path = find(tool)
    env = os.environ | (environment or {})

    def run(*arguments: str | Path) -> str:
        command = [path, *map(str, arguments)]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=env)
        assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}{result.stderr}"
        return result.stdout.strip()

    return run


@pytest.fixture(scope="session")
def crane() -> Tool:
    return runner("crane")


@pytest.fixture(scope="session")
def skopeo() -> Tool:
    return runner("skopeo")


@pytest.fixture(scope="session")
def registry_2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Debian's docker-registry, distribution 2.8: its `host:port`."""
    find("docker-registry")
    with debian_registry(tmp_path_factory.mktemp("registry-2")) as host:
        yield host


@pytest.fixture(scope="session")
def registry_3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Distribution v3: its `host:port`."""
    find("registry")
    with distribution(tmp_path_factory.mktemp("registry-3")) as host:
        yield host


@pytest.fixture(scope="session")
def image(registry_2: str, crane: Tool, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An index of two platforms that crane made of real files, in `registry_2`."""
    folder = tmp_path_factory.mktemp("layers")
    library = Path(sysconfig.get_paths()["stdlib"])
    layers = []
    # From what every Python has: a binary, extension modules and sources, some MiB together.
    for path in (
        library / "asyncio",
        Path(sys.executable).resolve(),
        library / "lib-dynload",
        library / "email",
    ):
        layers.append(folder / f"{path.name}.tar.gz")
        with tarfile.open(layers[-1], "w:gz") as archive:
            archive.add(path, arcname=f"usr/lib/python/{path.name}")
    base = f"{registry_2}/made/by-crane"
    images = []
    for platform, chosen in (("linux/amd64", layers[:3]), ("linux/arm64", layers[1:])):
        tag = f"{base}:{platform.replace('/', '-')}"
        files = [word for layer in chosen for word in ("--new_layer", str(layer))]
        crane("append", "--insecure", "--platform", platform, "--new_tag", tag, *files)
        crane("mutate", "--insecure", "--set-platform", platform, "--tag", tag, tag)
        images += ["--manifest", tag]
    crane("index", "append", "--insecure", "--tag", f"{base}:v1", *images)
    return f"{base}:v1"


@pytest.fixture(scope="module", params=["basic", "token"])
def auth(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The part of a registry's configuration that says who may do what: ann may."""
    folder = tmp_path_factory.mktemp("auth")
    if request.param == "token":
        with token_server(folder) as configuration:
            yield configuration
        return
    (folder / "htpasswd").write_text(HTPASSWD)
    yield f"auth: {{htpasswd: {{realm: tests, path: '{folder / 'htpasswd'}'}}}}\n"


@pytest.fixture(scope="module", params=["docker-registry", "registry"])
def host(
    request: pytest.FixtureRequest, auth: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Distribution 2.8 and v3."""
    find(request.param)
    serve = debian_registry if request.param == "docker-registry" else distribution
    with serve(tmp_path_factory.mktemp(request.param), auth) as host:
        yield host
