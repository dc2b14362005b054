"""Registries and tools of other people: started on free loopback ports, stopped by process id."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

START_DEADLINE = 20.0

CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}", secret: "the same after a restart, for uploads that go on"}}
"""


def require(tool: str) -> str:
    """Return the path of a tool, or end with a sentence that says what is missing."""
    # Debian keeps servers out of the PATH of who is not root.
    path = shutil.which(tool, path=f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin")
    if path is None:
        raise SystemExit(f"the benchmark needs {tool!r} on PATH (CONTRIBUTING.md says where it comes from)")
    return path


def free_port() -> int:
    """Return a loopback port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def distribution(folder: Path, more: str = "", *, port: int | None = None) -> Iterator[str]:
    """Run distribution v3 with its content in `folder`, and yield its `host:port`.

    Args:
        folder: For content and configuration.
        more: Added to the configuration, in YAML.
        port: Where it listens; None for a free one.
    """
    with _serving(require("registry"), folder, more, port) as host:
        yield host


@contextmanager
def debian_registry(folder: Path, more: str = "", *, port: int | None = None) -> Iterator[str]:
    """Run Debian's docker-registry, distribution 2.8, the same way."""
    with _serving(require("docker-registry"), folder, more, port) as host:
        yield host


class Embedded(NamedTuple):
    """A registry of ours in a process of its own."""

    host: str
    pid: int


@contextmanager
def embedded_registry(*options: str) -> Iterator[Embedded]:
    """Run `python -m oci_distribution.testing` with these options on a free port."""
    command = [sys.executable, "-m", "oci_distribution.testing", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            if not url:
                raise SystemExit(f"{' '.join(command)} did not start")
            yield Embedded(url.removeprefix("http://"), process.pid)
        finally:
            process.terminate()


@contextmanager
def _serving(binary: str, folder: Path, more: str, port: int | None) -> Iterator[str]:
    port = free_port() if port is None else port
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.yml"
    config.write_text(CONFIG.format(root=folder / "data", port=port) + more)
    with subprocess.Popen(
        [binary, "serve", str(config)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"OTEL_TRACES_EXPORTER": "none"},
    ) as process:
        try:
            wait_for(f"http://127.0.0.1:{port}/v2/")
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()


def wait_for(url: str) -> None:
    """Wait until a server answers at `url`."""
    deadline = time.monotonic() + START_DEADLINE
    while True:
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def wait_for_port(host: str, port: int) -> None:
    """Wait until a server takes connections; for one whose certificate nobody else knows."""
    deadline = time.monotonic() + START_DEADLINE
    while True:
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
