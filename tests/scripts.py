"""Scripts, run in processes of their own that are forked from one that has imported everything.

To start Python and to import the package takes most of what a short script does.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

import anyio
import rich.progress  # noqa: F401 - for the scripts

import oci_distribution as oci

__all__ = ["run_script"]

_IMPORTED = (oci.Client, oci.Layout, oci.copy)
"""Public names are imported when they are used."""
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([__name__])


async def run_script(
    script: Path, *arguments: str | Path, cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a script to its end; cancelled, kill it.

    Args:
        script: The file.
        arguments: Its arguments.
        cwd: Where it runs; where we do when None.
    """
    with tempfile.TemporaryDirectory() as folder:
        streams = Path(folder) / "stdout", Path(folder) / "stderr"
        words = [str(word) for word in (script, *arguments)]
        process = _FORKS.Process(target=_run, args=(words, str(cwd or Path.cwd()), streams))
        process.start()
        try:
            await anyio.wait_readable(process.sentinel)
        except BaseException:
            process.kill()
            raise
        finally:
            process.join()
        assert process.exitcode is not None
        out, err = (stream.read_bytes() for stream in streams)
        return subprocess.CompletedProcess(words, process.exitcode, out, err)


def _run(words: list[str], folder: str, streams: tuple[Path, Path]) -> None:
    """Be the process of a script."""
    for number, stream in enumerate(streams, 1):
        with stream.open("wb") as file:
            os.dup2(file.fileno(), number)
    os.chdir(folder)
    sys.argv = words
    sys.path.insert(0, str(Path(words[0]).parent))
    runpy.run_path(words[0], run_name="__main__")
