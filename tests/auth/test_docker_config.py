"""What docker and podman stored is found as they find it, and what is broken is said before anything is sent."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from oci_distribution.auth.credentials import ANONYMOUS, Credential
from oci_distribution.auth.docker_config import AuthFile
from oci_distribution.auth.search import AuthFileProvider, default_auth_provider, search_path
from oci_distribution.errors import CredentialError

HUB_KEY = "https://index.docker.io/v1/"


def stored(name: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{name}:pw".encode()).decode()}


def parse(content: Any) -> AuthFile:
    return AuthFile.parse(json.dumps(content), "config.json")


async def user(auths: dict[str, Any], host: str, repository: str | None = None) -> str:
    return (await parse({"auths": auths}).credential(host, repository)).username


@pytest.mark.parametrize(
    ("entry", "credential"),
    [
        (stored("me"), Credential("me", "pw")),
        ({"username": "me", "password": "pw"}, Credential("me", "pw")),
        ({"auth": base64.b64encode(b"me:a:b:c").decode()}, Credential("me", "a:b:c")),
        ({"auth": base64.b64encode(b"me:pw\0\0").decode()}, Credential("me", "pw")),
        ({"auth": base64.b64encode("größe:ü".encode()).decode()}, Credential("größe", "ü")),
        ({"auth": stored("me")["auth"] + "\n"}, Credential("me", "pw")),
        ({**stored("me"), "username": "you", "password": "other"}, Credential("me", "pw")),
        ({"auth": base64.b64encode(b"<token>:idt").decode()}, Credential(identity_token="idt")),
        ({"identitytoken": "idt"}, Credential(identity_token="idt")),
        ({**stored("me"), "identitytoken": "idt"}, Credential("me", "pw", identity_token="idt")),
        ({"registrytoken": "rt"}, Credential(registry_token="rt")),
        ({"auth": None, "username": "me", "password": "pw", "email": 1}, Credential("me", "pw")),
        ({}, ANONYMOUS),
        (None, ANONYMOUS),
        ({"auth": ""}, ANONYMOUS),
    ],
)
async def test_an_entry_says_who_we_are(entry: Any, credential: Credential) -> None:
    """Every form in which docker and podman store a credential is understood."""
    assert await parse({"auths": {"h": entry}}).credential("h", None) == credential


@pytest.mark.parametrize(
    "key", [HUB_KEY, "index.docker.io", "docker.io", "registry-1.docker.io", "index.docker.io/v1/"]
)
async def test_docker_hub_is_found_under_all_of_its_names(key: str) -> None:
    """A login to Docker Hub counts for `docker.io`, whatever wrote it."""
    assert await user({key: stored("me"), "other.example": stored("you")}, "docker.io") == "me"


async def test_docker_hubs_own_key_comes_first() -> None:
    """Where several names of Docker Hub are stored, `docker login`'s own decides."""
    assert await user({"docker.io": stored("you"), HUB_KEY: stored("me")}, "docker.io") == "me"


@pytest.mark.parametrize(
    "key",
    [
        "ghcr.io",
        "https://ghcr.io",
        "https://ghcr.io/",
        "http://ghcr.io/v1/",
        "https://ghcr.io/v2/",
        "ghcr.io/",
        "GHCR.io",
    ],
)
async def test_keys_may_be_urls(key: str) -> None:
    """A key that is a URL stands for its host."""
    assert await user({key: stored("me")}, "ghcr.io", "a/b") == "me"


@pytest.mark.parametrize(
    "key", ["ghcr.io:443", "evilghcr.io", "ghcr.io.evil", "https://evil/ghcr.io", "ghcr.io/b", "*"]
)
async def test_another_host_is_another_host(key: str) -> None:
    """A key that merely looks like the registry, or names another namespace of it, is not its."""
    assert await user({key: stored("me")}, "ghcr.io", "a/b") == ""


async def test_the_port_belongs_to_the_host() -> None:
    """A login to one port is none to another."""
    auths = {"localhost:5000": stored("me"), "localhost:5001": stored("you")}
    assert await user(auths, "localhost:5001") == "you"
    assert await user(auths, "localhost") == ""


@pytest.mark.parametrize(
    ("repository", "name"),
    [
        ("a/b/c", "abc"),
        ("a/b/x", "ab"),
        ("a/b", "ab"),
        ("a/bc", "a"),
        ("a", "a"),
        ("x", "host"),
        (None, "host"),
    ],
)
async def test_the_longest_namespace_decides(repository: str | None, name: str) -> None:
    """podman's credentials for parts of a registry count for what is under them, by whole components."""
    auths = {"h": stored("host"), "h/a": stored("a"), "h/a/b": stored("ab"), "h/a/b/c": stored("abc")}
    assert await user(auths, "h", repository) == name


async def test_an_empty_entry_hides_nothing() -> None:
    """What `docker login` leaves beside a store does not stop the search: namespace, host, URL."""
    auths = {"h/a/b": {}, "h/a": {}, "h": {}, "https://h/v1/": stored("me")}
    assert await user(auths, "h", "a/b") == "me"


async def test_nobody_is_found_where_nothing_is_stored() -> None:
    """A file without the registry, and one without anything, are no credentials."""
    contents: list[dict[str, Any]] = [
        {},
        {"auths": None},
        {"auths": {}, "credHelpers": None, "credsStore": None},
        {"HttpHeaders": {"a": "b"}},
    ]
    for content in contents:
        assert await parse(content).credential("h", "a") == ANONYMOUS


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '"x"', '{"auths": []}', '{"auths": {"h": "x"}}', '{"auths": {"h": {"auth": 5}}}',
     '{"credHelpers": {"h": 5}}', '{"credsStore": {}}', "\udcff", "{" * 5000],
)  # fmt: skip
def test_what_is_no_credential_file_is_an_error_that_names_it(text: str) -> None:
    """Broken JSON, or JSON of another form, is refused with the name of the file."""
    with pytest.raises(CredentialError, match=r"conf/config\.json"):
        AuthFile.parse(text.encode("utf-8", "surrogateescape"), "conf/config.json")


@pytest.mark.parametrize("auth", ["!", "bWU", "bm9jb2xvbg==", base64.b64encode(b"\xff:pw").decode()])
async def test_what_is_no_base64_of_name_and_password_is_an_error(auth: str) -> None:
    """A broken entry of the registry that is asked for is said; one of another registry is not our matter."""
    auth_file = parse({"auths": {"https://u:p@h/v1/": {"auth": auth}}})
    assert await auth_file.credential("other", None) == ANONYMOUS
    with pytest.raises(CredentialError, match="https://h/v1/"):
        await auth_file.credential("h", None)


Program = Callable[[str, str], Path]


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Make a credential helper that knows one server, and put it on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def make(name: str, server: str) -> Path:
        path = folder / f"docker-credential-{name}"
        answer = json.dumps({"ServerURL": server, "Username": name, "Secret": "pw"})
        path.write_text(
            "#!/bin/sh\nread -r server || :\n"
            f"[ \"$1 $server\" = 'get {server}' ] && echo '{answer}' && exit 0\n"
            "echo 'credentials not found in native keychain'\nexit 1\n"
        )
        path.chmod(0o755)
        return path

    return make


async def test_a_registrys_own_helper_comes_before_the_file_and_that_before_the_store(
    helper: Program,
) -> None:
    """`credHelpers`, `auths`, `credsStore`: what is said of one registry comes before what is said of all."""
    helper("own", "h")
    helper("store", "other")
    content: dict[str, Any] = {"auths": {"h": stored("file")}, "credsStore": "store"}
    own = {**content, "credHelpers": {"h": "own"}}
    assert await parse(own).credential("h", None) == Credential("own", "pw")
    assert await parse(own).credential("other", None) == Credential("store", "pw")
    assert await parse(content).credential("h", None) == Credential("file", "pw")
    both = {"auths": {"other": stored("file"), "x": {}}, "credsStore": "store"}
    assert await parse(both).credential("other", None) == Credential("file", "pw")
    helper("store", "x")
    assert await parse(both).credential("x", None) == Credential("store", "pw")


@pytest.mark.parametrize("content", [{"credHelpers": {"h": "x"}}, {"credsStore": "x"}])
async def test_the_file_is_asked_when_a_helper_knows_nobody(content: dict[str, Any], helper: Program) -> None:
    """A helper without a credential leaves it to the entries beside it."""
    helper("x", "other")
    assert await parse({**content, "auths": {"h": stored("file")}}).credential("h", None) == Credential(
        "file", "pw"
    )
    assert await parse(content).credential("h", None) == ANONYMOUS


async def test_an_empty_helper_switches_the_store_off(helper: Program) -> None:
    """A registry whose helper has no name goes by the file, as docker does."""
    helper("store", "h")
    content = {"auths": {"h": stored("file")}, "credHelpers": {"h": ""}, "credsStore": "store"}
    assert (await parse(content).credential("h", None)).username == "file"


@pytest.mark.parametrize("key", [HUB_KEY, "docker.io", "index.docker.io"])
async def test_helpers_know_docker_hub_by_its_url(key: str, helper: Program) -> None:
    """Helpers are asked for the name that `docker login` stores Docker Hub under."""
    helper("x", HUB_KEY)
    assert (await parse({"credHelpers": {key: "x"}}).credential("docker.io", None)).username == "x"
    assert (await parse({"credsStore": "x"}).credential("docker.io", None)).username == "x"


async def test_a_registrys_own_helper_must_be_there() -> None:
    """A helper that is named for this registry but not installed is an error; a store is not."""
    with pytest.raises(CredentialError, match="docker-credential-not-installed"):
        await parse({"credHelpers": {"h": "not-installed"}}).credential("h", None)
    content = {"credsStore": "not-installed", "auths": {"h": stored("file")}}
    assert (await parse(content).credential("h", None)).username == "file"


@pytest.mark.parametrize("name", ["../evil", "a/b", "a\\b", "a\0b"])
async def test_a_helper_is_a_name_and_no_path(name: str) -> None:
    """A file cannot make us run a program that is not on PATH."""
    with pytest.raises(CredentialError, match="not the name"):
        await parse({"credHelpers": {"h": name}}).credential("h", None)


@pytest.mark.parametrize(
    "content",
    [{"auths": {"h": {"auth": "!"}}}, {"auths": {"h": {"auth": "bWU="}}}, {"credHelpers": {"h": "/x"}}],
)
async def test_what_is_broken_in_a_file_names_the_file(content: Any) -> None:
    """Also what is only found out when the registry is asked for."""
    with pytest.raises(CredentialError, match=r"^config\.json: "):
        await parse(content).credential("h", None)


class Home:
    """A user's home, and the variables that name places in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder / "run")}

    def write(self, path: str, content: Any) -> str:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps({"auths": content}))
        return str(file)

    async def user(self, host: str = "h", repository: str | None = None) -> str:
        provider = default_auth_provider(environment=self.environment)
        return (await provider(host, repository)).username


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


async def test_nothing_is_stored_where_there_are_no_files(home: Home) -> None:
    """A machine on which nobody ever logged in is no error."""
    assert await home.user() == ""


async def test_places_are_searched_in_order(home: Home) -> None:
    """Each place is asked only when those before it do not know the registry."""
    entries = [stored(str(number)) for number in range(6)]
    home.write(".dockercfg", json.dumps({"h": entries[5]}))
    assert await home.user() == "5"
    home.write(".config/containers/auth.json", {"h": entries[4]})
    assert await home.user() == "4"
    home.write("run/containers/auth.json", {"h": entries[3]})
    assert await home.user() == "3"
    home.write(".docker/config.json", {"h": entries[2]})
    assert await home.user() == "2"
    home.environment["DOCKER_AUTH_CONFIG"] = json.dumps({"auths": {"h": entries[1]}})
    assert await home.user() == "1"
    home.environment["REGISTRY_AUTH_FILE"] = home.write("named.json", {"h": entries[0]})
    assert await home.user() == "0"


async def test_a_place_that_does_not_know_the_registry_is_passed_over(home: Home) -> None:
    """The search goes on behind files that know other registries, and behind empty entries."""
    home.environment["DOCKER_AUTH_CONFIG"] = '{"auths": {"other": {"auth": "eDp5"}}}'
    home.write(".docker/config.json", {"h": {}})
    home.write(".config/containers/auth.json", {"h": stored("me")})
    assert await home.user() == "me"


async def test_variables_name_the_folders(home: Home) -> None:
    """`DOCKER_CONFIG` and `XDG_CONFIG_HOME` replace the folders in the home."""
    home.write(".docker/config.json", {"h": stored("wrong")})
    home.write(".config/containers/auth.json", {"g": stored("wrong")})
    home.environment["DOCKER_CONFIG"] = str(home.folder / "d")
    home.environment["XDG_CONFIG_HOME"] = str(home.folder / "x")
    home.write("d/config.json", {"h": stored("docker")})
    home.write("x/containers/auth.json", {"g": stored("podman")})
    assert await home.user("h") == "docker"
    assert await home.user("g") == "podman"


def test_podmans_session_without_a_variable_has_a_file_of_its_own() -> None:
    """Where nobody set `XDG_RUNTIME_DIR` (root, a service), podman leaves the folder `containers` out."""
    found = search_path({"HOME": "/home/me"}, podman_first=True)
    assert found[0] == Path(f"/run/containers/{os.getuid()}/auth.json")


@pytest.mark.parametrize(
    "name", ["REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"]
)
async def test_a_tilde_is_the_home(name: str, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that no shell has seen, in a unit file or a container, means what it says."""
    monkeypatch.setenv("HOME", str(home.folder))
    home.environment[name] = "~/d"
    for path in ("d", "d/config.json", "d/containers/auth.json"):
        if (name == "REGISTRY_AUTH_FILE") == (path == "d"):
            home.write(path, {"h": stored("me")})
    assert await home.user() == "me"


async def test_a_tilde_is_the_home_for_one_file_alone(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not taken for a folder of that name, in which no credentials are."""
    monkeypatch.setenv("HOME", str(home.folder))
    home.write("auth.json", {"h": stored("me")})
    assert (await AuthFileProvider.from_path("~/auth.json")("h", None)).username == "me"


async def test_a_login_counts_at_once(home: Home) -> None:
    """Who logs in while we run need not restart us."""
    provider = default_auth_provider(environment=home.environment)
    assert await provider("h", None) == ANONYMOUS
    home.write(".docker/config.json", {"h": stored("me")})
    assert (await provider("h", None)).username == "me"


async def test_a_file_is_read_again_when_it_changed(home: Home) -> None:
    """A look at its time is all that an unchanged file costs."""
    provider = default_auth_provider(environment=home.environment)
    users: list[str] = []
    for user, seconds in (("one", 1), ("two", 1), ("two", 2)):
        path = home.write(".docker/config.json", {"h": stored(user)})
        os.utime(path, (seconds, seconds))
        users.append((await provider("h", None)).username)
    assert users == ["one", "one", "two"]


async def test_a_place_that_is_not_needed_is_not_looked_at(home: Home) -> None:
    """Where an earlier place knows the registry, a broken later one does not matter."""
    home.write(".docker/config.json", {"h": stored("me")})
    home.write(".config/containers/auth.json", "{")
    assert await home.user() == "me"
    with pytest.raises(CredentialError):
        await home.user("other")


@pytest.mark.parametrize("content", ["", " \n"])
async def test_an_empty_file_holds_no_credentials(home: Home, content: str) -> None:
    """An empty file, such as /dev/null, is one in which nothing is stored."""
    home.write(".docker/config.json", content)
    assert await home.user() == ""


async def test_a_broken_file_is_an_error_that_names_it(home: Home) -> None:
    """We do not go on behind a file that we cannot read: the user means it to count."""
    path = home.write(".docker/config.json", "{")
    home.write(".config/containers/auth.json", {"h": stored("me")})
    with pytest.raises(CredentialError) as caught:
        await home.user()
    assert path in str(caught.value)


async def test_a_broken_variable_is_an_error_that_names_it(home: Home) -> None:
    """`DOCKER_AUTH_CONFIG` must hold JSON."""
    home.environment["DOCKER_AUTH_CONFIG"] = "/path/of/a/file.json"
    with pytest.raises(CredentialError, match="DOCKER_AUTH_CONFIG"):
        await home.user()


def test_a_folder_in_the_place_of_a_file_is_an_error(tmp_path: Path) -> None:
    """What cannot be read is said, with the reason of the system."""
    with pytest.raises(CredentialError, match="directory"):
        AuthFileProvider.from_path(tmp_path)


def test_a_file_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    """A file that is there but refuses to be read is not the same as none."""
    path = tmp_path / "config.json"
    path.symlink_to(path)
    with pytest.raises(CredentialError, match="cannot be read"):
        AuthFileProvider.from_path(path)


async def test_a_file_that_is_not_there_holds_no_credentials(tmp_path: Path) -> None:
    """A missing file, or a missing folder, is no error."""
    (tmp_path / "file").write_text("{}")
    for path in (tmp_path / "none.json", tmp_path / "none" / "c.json", str(tmp_path / "file" / "c.json")):
        assert await AuthFileProvider.from_path(path)("h", None) == ANONYMOUS


async def test_a_user_without_a_home_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may run as a user whom its system does not know."""

    def unknown() -> Path:
        msg = "Could not determine home directory."
        raise RuntimeError(msg)

    monkeypatch.setattr(Path, "home", unknown)
    assert (
        await default_auth_provider(environment={"XDG_RUNTIME_DIR": "/nonexistent"})("h", None) == ANONYMOUS
    )
