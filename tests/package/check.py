"""Build the package, install its wheel in a clean environment, and look at what is in it.

python tests/package/check.py FOLDER
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

PACKAGE = Path("oci_distribution")
LOADED_BY_A_BARE_IMPORT = """
import sys
import oci_distribution
heavy = {"aiohttp", "httpx", "pydantic", "starlette", "uvicorn"} & set(sys.modules)
assert not heavy, f"a bare import loads {heavy}"
assert oci_distribution.__version__
for name in oci_distribution.__all__:
    getattr(oci_distribution, name)
print(f"oci-distribution {oci_distribution.__version__}, {len(oci_distribution.__all__)} public names")
"""


def run(*command: str | Path) -> None:
    """Run a command, and end with its output when it fails."""
    result = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{result.stdout}{result.stderr}")
    print(result.stdout.strip().splitlines()[-1] if result.stdout.strip() else "ok")


def check_wheel(wheel: Path) -> None:
    """A wheel holds every file of the package, its typing marker and licence included, and nothing else."""
    sources = {path.as_posix() for path in PACKAGE.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    names = set(zipfile.ZipFile(wheel).namelist())
    metadata = {name for name in names if name.partition("/")[0].endswith(".dist-info")}
    assert "oci_distribution/py.typed" in sources, "the package lacks its typing marker"
    assert names - metadata == sources, f"{wheel.name} differs by {(names - metadata) ^ sources}"
    assert any(name.endswith("licenses/LICENSE") for name in metadata), f"{wheel.name} lacks the licence"


def check_sdist(sdist: Path) -> None:
    """A source distribution can run its own tests."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for wanted in ("LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "tox.ini", "tests/conftest.py"):
        assert wanted in names, f"{sdist.name} lacks {wanted}"


def main(folder: Path) -> None:
    """Build, look, install, import."""
    run(sys.executable, "-m", "build", "--outdir", folder, ".")
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    check_wheel(wheel)
    check_sdist(sdist)
    environment = folder / "clean"
    venv.create(environment, with_pip=True, clear=True)
    python = environment / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", wheel)
    run(python, "-I", "-W", "error", "-c", LOADED_BY_A_BARE_IMPORT)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
