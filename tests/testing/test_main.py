"""The command line."""

from __future__ import annotations

import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import anyio
import pytest
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from oci_distribution.testing.__main__ import main


@asynccontextmanager
async def _run(*arguments: str) -> AsyncIterator[tuple[Process, str]]:
    command = [sys.executable, "-W", "error", "-m", "oci_distribution.testing", *arguments]
    async with await anyio.open_process(command, stderr=None) as process:
        assert process.stdout is not None
        try:
            with anyio.fail_after(20):
                url = await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", 100)
            yield process, url.decode()
        finally:
            if process.returncode is None:
                process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_serves_until_a_signal(number: signal.Signals, capfd: pytest.CaptureFixture[str]) -> None:
    """It prints its URL when it is ready, and ends cleanly and quietly."""
    async with _run() as (process, url):
        async with aiohttp.ClientSession() as session, session.get(f"{url}/v2/") as answer:
            assert answer.status == 200
        process.send_signal(number)
        with anyio.fail_after(5):
            assert await process.wait() == 0
        assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("option", "scheme"), [("--auth", "Basic"), ("--token-auth", "Bearer")])
async def test_auth(option: str, scheme: str) -> None:
    """Both kinds of authentication can be had."""
    async with _run(option, "ann:secret", option, "bob:x:y") as (_, url), aiohttp.ClientSession() as session:
        async with session.get(f"{url}/v2/") as answer:
            assert (answer.status, answer.headers["WWW-Authenticate"].split()[0]) == (401, scheme)
        path = "/v2/" if scheme == "Basic" else "/token"
        for user in (("ann", "secret"), ("bob", "x:y")):
            headers = {"Authorization": aiohttp.encode_basic_auth(*user)}
            async with session.get(url + path, headers=headers) as answer:
                assert answer.status == 200


async def test_storage(tmp_path: Path) -> None:
    """Content is kept in the directory."""
    async with _run("--storage", str(tmp_path / "new" / "folder")) as (_, url):
        headers = {"Content-Type": "application/vnd.example.v1+json"}
        async with (
            aiohttp.ClientSession(url, headers=headers) as session,
            session.put(
                "/v2/a/manifests/v1", data=b'{"mediaType": "application/vnd.example.v1+json"}'
            ) as answer,
        ):
            assert answer.status == 201
    assert (tmp_path / "new/folder/repositories/a/index.json").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port", "x"],
        ["--port", "65536"],
        ["--port", "-1"],
        ["--auth", "ann"],
        ["--auth", ":x"],
        ["--token-auth", ""],
        ["--auth", "a:b", "--token-auth", "a:b"],
        ["--por", "1"],
        ["something"],
    ],
)
def test_bad_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """They are refused with the usage."""
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_without_the_extra() -> None:
    """What to install is said in one line, or in the last line of what Python says."""
    for missing, arguments in (("trustme", ["--tls"]), ("starlette", [])):
        code = f"import sys, runpy; sys.modules[{missing!r}] = None; sys.argv[1:] = {arguments!r}\n"
        code += "runpy.run_module('oci_distribution.testing', run_name='__main__')"
        result = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
        assert (result.returncode, result.stdout) == (1, "")
        last = result.stderr.splitlines()[-1]
        assert last.endswith(
            f"no {missing}: a registry to test against needs `pip install oci-distribution[testing]`"
        )


def test_storage_that_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the system refuses is said in one line."""
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(SystemExit) as exit_:
        main(["--storage", str(file)])
    assert exit_.value.code == 1
    error = capsys.readouterr().err
    assert str(file) in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("named", [True, False])
async def test_tls(tmp_path: Path, named: bool, capfd: pytest.CaptureFixture[str]) -> None:
    """The certificate to trust is written to the file that is given, or to one that is named and does not stay."""
    path = tmp_path / "ca.pem"
    async with _run("--tls", *(["--ca-file", str(path)] if named else [])) as (process, url):
        said = capfd.readouterr().err
        if not named:
            path = Path(said.split()[-1])
        context = ssl.create_default_context(cafile=path)
        async with aiohttp.ClientSession() as session, session.get(f"{url}/v2/", ssl=context) as answer:
            assert (url.partition("://")[0], answer.status) == ("https", 200)
        process.terminate()
        with anyio.fail_after(5):
            assert await process.wait() == 0
        assert path.exists() is named


def test_file_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It ends with one line, before anybody is told a URL."""
    with pytest.raises(SystemExit) as exit_:
        main(["--tls", "--ca-file", str(tmp_path / "none" / "ca.pem")])
    assert exit_.value.code == 1
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert "ca.pem" in said.err


def test_certificate_without_tls(capsys: pytest.CaptureFixture[str]) -> None:
    """There is none to write."""
    with pytest.raises(SystemExit):
        main(["--ca-file", "ca.pem"])
    assert "--ca-file needs --tls" in capsys.readouterr().err
