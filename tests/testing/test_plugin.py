"""The pytest plugin, as a user's test suite sees it, and registries in threads."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import sys
import textwrap
import tomllib
import urllib.request
from pathlib import Path

import pytest

from oci_distribution.errors import InvalidReference
from oci_distribution.testing import (
    BasicAuth,
    Fault,
    NamespacedRegistry,
    RegistryFactory,
    StrictViolation,
    serve_in_thread,
)
from oci_distribution.testing.threaded import share_in_thread
from oci_distribution.testing.tls import Authority

ROOT = Path(__file__).parents[2]
EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


PLUGIN = "oci_distribution.testing.plugin"


def run_tests(
    tmp_path: Path, source: str, *options: str, plugins: str = PLUGIN
) -> subprocess.CompletedProcess[str]:
    """Run a test module in a pytest of its own.

    Args:
        tmp_path: Where.
        source: The module.
        options: Those of pytest.
        plugins: Names, with commas between: others that happen to be installed take their time. With none,
            they are all there, and ours as the package registers it.
    """
    (tmp_path / "test_it.py").write_text(textwrap.dedent(source))
    (tmp_path / "pytest.ini").touch()  # what lies in a folder above is none of its business
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-W", "error", *options]
    only = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": plugins} if plugins else {}
    return subprocess.run(
        command,
        cwd=tmp_path,
        env=os.environ | only,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


def get(url: str, method: str = "GET") -> int:
    """Return the status of an answer; 0 when there is none."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as answer:
            status: int = answer.status
            return status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return 0


def test_fixture_is_simply_there(tmp_path: Path) -> None:
    """A test without any async runner talks to a registry, and asks what came."""
    result = run_tests(
        tmp_path,
        """
        import urllib.request

        def test_push(oci_registry):
            name = f"{oci_registry.namespace}/app"
            url = f"{oci_registry.url}/v2/{name}/blobs/uploads/"
            with urllib.request.urlopen(urllib.request.Request(url, method="POST")) as answer:
                assert answer.status == 202
            assert oci_registry.requests.lines() == [f"POST /v2/{name}/blobs/uploads/ -> 202"]
        """,
        plugins="",
    )
    assert "1 passed" in result.stdout, result.stdout + result.stderr


def test_fixtures_in_parallel(tmp_path: Path) -> None:
    """With xdist every worker has a server of its own."""
    result = run_tests(
        tmp_path,
        """
        import urllib.request, pytest

        @pytest.mark.parametrize("number", range(6))
        def test_ping(oci_registry, number):
            with urllib.request.urlopen(f"{oci_registry.url}/v2/") as answer:
                assert answer.status == 200
        """,
        "-n",
        "2",
        plugins=f"xdist.plugin,{PLUGIN}",
    )
    assert "6 passed" in result.stdout, result.stdout + result.stderr


def test_strict_registry_fails_a_test(tmp_path: Path) -> None:
    """What a client does that is forbidden fails the test that it did it in."""
    result = run_tests(
        tmp_path,
        """
        import urllib.error, urllib.request, pytest

        def test_bad_client(oci_registry_factory):
            registry = oci_registry_factory(strict=True)
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(f"{registry.url}/v2/Bad/manifests/v1")
            caught.value.close()
        """,
    )
    assert "StrictViolation" in result.stdout, result.stdout + result.stderr
    assert "Bad" in result.stdout


@pytest.mark.parametrize("missing", ["starlette", "uvicorn", "httptools"])
def test_without_the_extra(tmp_path: Path, missing: str) -> None:
    """Nothing breaks until a fixture is used, which then says what to install."""
    (tmp_path / "conftest.py").write_text(f"import sys\nsys.modules[{missing!r}] = None\n")
    result = run_tests(
        tmp_path,
        """
        def test_other():
            pass

        def test_with_a_registry(oci_registry):
            pass
        """,
    )
    assert "1 passed, 1 error" in result.stdout, result.stdout + result.stderr
    assert "oci-distribution[testing]" in result.stdout
    assert "Traceback" not in result.stdout


def test_plugin_may_be_asked_for_by_name() -> None:
    """pytest knows a plugin by one name: another for the same module, as in `pytest_plugins`, ends it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {PLUGIN: PLUGIN}


def test_plugin_costs_nothing_before_use() -> None:
    """What pytest loads everywhere brings nothing along that it has not loaded itself."""
    script = """
        import sys, pytest, contextlib, typing
        before = set(sys.modules)
        import oci_distribution.testing.plugin
        import json; print(json.dumps(sorted(set(sys.modules) - before)))
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
    )
    loaded = json.loads(result.stdout)
    heavy = {"aiohttp", "anyio", "httpx", "jwt", "pydantic", "starlette", "trustme", "uvicorn"}
    assert not heavy & {name.partition(".")[0] for name in loaded}
    assert len(loaded) < 15, loaded


def test_readme_shows_a_test(tmp_path: Path) -> None:
    """The test of the README passes, and has six lines."""
    readme = (ROOT / "README.md").read_text()
    (source,) = re.findall(r"```python\n((?:(?!```).)*oci_registry(?:(?!```).)*)```", readme, re.DOTALL)
    body = [line for line in source[source.index("def test") :].splitlines() if line.strip()]
    assert len(body) <= 6
    result = run_tests(tmp_path, source)
    assert "1 passed" in result.stdout, result.stdout + result.stderr


def test_namespaces_are_apart(oci_registry: NamespacedRegistry) -> None:
    """Requests and faults of another namespace are nobody else's business."""
    assert oci_registry.repository("a") == f"{oci_registry.host}/{oci_registry.namespace}/a"
    fault = oci_registry.faults.add(Fault(path="/v2/*", status=418))
    other = oci_registry.faults.add(Fault(path="*/tags/list", status=503))

    assert get(f"{oci_registry.url}/v2/{oci_registry.namespace}/a/tags/list") == 418
    assert get(f"{oci_registry.url}/v2/somebody/else/tags/list") == 404
    assert oci_registry.requests.lines() == [f"GET /v2/{oci_registry.namespace}/a/tags/list -> 418"]
    assert (oci_registry.faults.strikes(fault), len(oci_registry.faults)) == (1, 2)

    oci_registry.faults.remove(fault)
    assert get(f"{oci_registry.url}/v2/{oci_registry.namespace}/a/tags/list") == 503
    assert oci_registry.faults.strikes(other) == 1
    oci_registry.faults.clear()
    assert get(f"{oci_registry.url}/v2/{oci_registry.namespace}/a/tags/list") == 404


def test_record_of_a_namespace_is_filled_as_requests_come(oci_registry: NamespacedRegistry) -> None:
    """It can be kept, captured and cleared as the one of a registry can."""
    url, requests = f"{oci_registry.url}/v2/{oci_registry.namespace}/app", oci_registry.requests
    get(f"{url}/tags/list")
    with requests.capture() as seen:
        get(f"{url}/manifests/v1")
        get(f"{oci_registry.url}/v2/")
    assert seen.lines() == [f"GET /v2/{oci_registry.namespace}/app/manifests/v1 -> 404"]
    assert len(requests) == 2
    requests.clear()
    get(f"{url}/tags/list")
    assert len(oci_registry.requests) == 1


def test_namespace_leaves_nothing() -> None:
    """Content, uploads and faults of a test go with it; whoever keeps its record can still read that."""
    with share_in_thread() as shared:
        with shared.namespace() as registry, shared.namespace() as other:
            for namespace in (registry, other):
                url = f"{namespace.url}/v2/{namespace.namespace}/app/blobs/uploads/"
                assert get(f"{url}?digest={EMPTY}", "POST") == 201
                assert get(url, "POST") == 202
            registry.faults.add(Fault(path="*", status=503))
        app = registry.app
        assert (app.storage.names(), len(app.uploads), len(app.faults)) == ([], 0, 0)
        assert registry.requests.count("POST", status=202) == 1
        assert get(f"{registry.url}/v2/") == 200


def test_namespace_stays_while_another_goes() -> None:
    """The end of one test is nothing to others."""
    with share_in_thread() as shared, shared.namespace() as stays:
        with shared.namespace() as goes:
            for namespace in (stays, goes):
                url = f"{namespace.url}/v2/{namespace.namespace}/app/blobs/uploads/?digest={EMPTY}"
                assert get(url, "POST") == 201
        assert stays.app.storage.names() == [f"{stays.namespace}/app"]


def test_name_of_a_repository_is_checked(oci_registry: NamespacedRegistry) -> None:
    """A test learns of a bad name before it asks the registry."""
    with pytest.raises(InvalidReference):
        oci_registry.repository("App")


@pytest.mark.parametrize("path", ["/v2/{}/app/*", "/v2/{}/*", "/v2/{}*", "*/{}/app/tags/list"])
def test_fault_that_names_the_namespace(oci_registry: NamespacedRegistry, path: str) -> None:
    """A path that is in the namespace already is taken as it is."""
    namespace = oci_registry.namespace
    fault = oci_registry.faults.add(Fault(path=path.format(namespace), status=418))
    assert get(f"{oci_registry.url}/v2/{namespace}/app/tags/list") == 418
    assert oci_registry.faults.strikes(fault) == 1


def test_faults_of_a_namespace_can_be_looked_at(oci_registry: NamespacedRegistry) -> None:
    """They are as they were added."""
    fault = oci_registry.faults.add(Fault(path="/v2/app/*", status=418))
    assert list(oci_registry.faults) == [fault]
    assert "/v2/app/*" in repr(oci_registry.faults)


@pytest.mark.parametrize("path", ["/v2/", "/token"])
def test_faults_of_everybody(oci_registry: NamespacedRegistry, path: str) -> None:
    """What would strike other tests, too, is refused."""
    with pytest.raises(ValueError, match="registry of your own"):
        oci_registry.faults.add(Fault(path=path, status=500))


def test_factory_takes_every_option(oci_registry_factory: RegistryFactory) -> None:
    """Several registries at once, each of its own kind."""
    plain = oci_registry_factory()
    closed = oci_registry_factory(auth=BasicAuth({"ann": "secret"}))
    quirky = oci_registry_factory(profile="docker-hub")

    assert get(f"{plain.url}/v2/") == 200
    assert get(f"{closed.url}/v2/") == 401
    assert quirky.app.profile.name == "docker-hub"


def test_registry_in_a_thread_stops() -> None:
    """After its context nobody answers."""
    with serve_in_thread() as registry:
        assert get(f"{registry.url}/v2/") == 200
    assert get(f"{registry.url}/v2/") == 0


def test_strict_registry_in_a_thread() -> None:
    """Its violations are raised where its context ends."""
    with pytest.raises(StrictViolation), serve_in_thread(strict=True) as registry:
        get(f"{registry.url}/v2/Bad/manifests/v1")


def test_violations_are_there_with_the_answer() -> None:
    """A client in another thread than the registry need not wait for them."""
    with serve_in_thread(strict=True) as registry:
        for number in range(1, 51):
            get(f"{registry.url}/v2/Bad/manifests/v1")
            assert len(registry.violations) == number
        registry.violations.clear()


def test_tls() -> None:
    """A client that trusts the registry's authority gets an answer; others do not."""
    with serve_in_thread(tls=True) as registry:
        assert registry.url.startswith("https://")
        with urllib.request.urlopen(f"{registry.url}/v2/", context=registry.client_context()) as answer:
            assert answer.status == 200
        from_file = ssl.create_default_context(cadata=registry.ca_pem.decode())
        with urllib.request.urlopen(f"{registry.url}/v2/", context=from_file) as answer:
            assert answer.status == 200
        assert get(f"{registry.url}/v2/") == 0


@pytest.mark.parametrize(("address", "name"), [("127.0.0.1", "localhost"), ("127.0.0.2", "127.0.0.2")])
def test_names_of_a_tls_registry(address: str, name: str) -> None:
    """Its certificate is for where it listens and for what this machine is called."""
    with serve_in_thread(tls=True, address=address) as registry:
        url = registry.url.replace(address, name)
        with urllib.request.urlopen(f"{url}/v2/", context=registry.client_context()) as answer:
            assert answer.status == 200


def test_certificate_for_no_address() -> None:
    """It is left to the server to complain of one, as it does without TLS."""
    assert isinstance(Authority().server_context("no address!"), ssl.SSLContext)


def test_tls_of_ones_own_and_made_up() -> None:
    """They exclude each other, and without the latter there is no authority to ask."""
    with (
        pytest.raises(TypeError, match="leave out ssl"),
        serve_in_thread(tls=True, ssl=ssl.create_default_context()),
    ):
        pass
    with serve_in_thread() as registry, pytest.raises(RuntimeError, match="tls=True"):
        registry.client_context()
