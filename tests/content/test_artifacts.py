"""Files as artifacts: they come out as they went in, and nothing is written anywhere else."""

from __future__ import annotations

import errno
import gzip
import io
import os
import socket
import tarfile
import tracemalloc
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

import oci_distribution as oci
from oci_distribution.content.archives import check_title
from oci_distribution.testing import serve_registry
from tests.disk import names_below

TITLE = "org.opencontainers.image.title"
DIRECTORY = {TITLE: "d", "io.deis.oras.content.unpack": "true"}
Make = Callable[[tarfile.TarFile], None]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with a file, an empty one, a directory with a program and a link in it."""
    root = tmp_path / "files"
    (root / "tree" / "sub").mkdir(parents=True)
    (root / "note.txt").write_text("a note")
    (root / "empty").touch()
    (root / "tree" / "sub" / "same").write_text("a note")
    (root / "tree" / "run").write_text("#!/bin/sh\n")
    (root / "tree" / "run").chmod(0o755)
    (root / "tree" / "sub" / "link").symlink_to("../run")
    (root / "tree" / "hollow").mkdir()
    return root


@asynccontextmanager
async def opened(kind: str, folder: Path) -> AsyncGenerator[oci.Store]:
    if kind == "memory":
        yield oci.MemoryStore()
    elif kind == "layout":
        yield oci.Layout(folder / "layout")
    else:
        async with serve_registry(strict=True) as registry, oci.Client() as client:
            yield client.registry(registry.url).repository("team/files")


@pytest.mark.parametrize("kind", ["memory", "layout", "registry"])
async def test_there_and_back(kind: str, files: Path, tmp_path: Path) -> None:
    """Files, empty ones, and directories with links and programs, in any store."""
    async with opened(kind, tmp_path) as store:
        pushed = await oci.push_files(
            store, [files / "note.txt", files / "empty", files / "tree"], tags=["v1"]
        )
        pulled = await oci.pull_files(store, "v1", tmp_path / "out")

        assert (await store.resolve("v1")).digest == pushed.digest
    assert pulled == [tmp_path / "out" / name for name in ("note.txt", "empty", "tree")]
    assert names_below(tmp_path / "out") == names_below(files)
    assert (tmp_path / "out" / "note.txt").read_text() == "a note"
    assert os.access(tmp_path / "out" / "tree" / "run", os.X_OK)
    assert (tmp_path / "out" / "tree" / "sub" / "link").readlink() == Path("../run")


async def test_same_files_are_the_same_artifact(files: Path, tmp_path: Path) -> None:
    """Times, owners and the order of the file system do not count."""
    store = oci.MemoryStore()
    one = await oci.push_files(store, [files / "tree"])
    os.utime(files / "tree" / "run", (1, 1))
    (files / "tree" / "sub").touch()

    assert await oci.push_files(store, [files / "tree"]) == one


async def test_what_the_manifest_says(files: Path) -> None:
    """As oras has it: types and annotations, and what the user adds."""
    store = oci.MemoryStore()
    subject = (await oci.push_files(store, [])).model_copy(update={"annotations": {}})
    described = await oci.push_files(
        store,
        [oci.ArtifactFile(files / "note.txt", "docs/n.txt", "text/plain", {"k": "v"}), str(files / "tree")],
        artifact_type="text/x",
        subject=subject,
        annotations={"a": "b"},
    )
    manifest = (await store.fetch_manifest(described.digest)).content

    assert isinstance(manifest, oci.ImageManifest)
    note, tree = manifest.layers
    assert (note.media_type, note.annotations) == ("text/plain", {"k": "v", TITLE: "docs/n.txt"})
    assert tree.media_type == oci.MediaType.IMAGE_LAYER_GZIP
    assert tree.annotations.keys() == {*DIRECTORY, "io.deis.oras.content.digest"}
    assert (manifest.artifact_type, manifest.subject, manifest.annotations) == ("text/x", subject, {"a": "b"})
    assert manifest.config == oci.EMPTY_DESCRIPTOR


@pytest.mark.parametrize(
    "title", ["../x", "/x", "a/../../x", "..", ".", "", "a\\b", "C:x", "a\x00b", "a\nb", "x/.."]
)
async def test_titles_that_lead_elsewhere(title: str, files: Path, tmp_path: Path) -> None:
    """Refused before anything is pushed, and before anything is fetched."""
    store = oci.MemoryStore()
    with pytest.raises(oci.InvalidArgument):
        await oci.push_files(store, [oci.ArtifactFile(files / "note.txt", title)])
    await push_layers(store, [("ok", {}, b"fine"), (title, {}, b"evil")])

    with pytest.raises(oci.ContentError):
        await oci.pull_files(store, "v1", tmp_path / "out")

    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("titles", [("a", "a"), ("a", "a/b"), ("a/b", "a"), ("a/b", "a/b"), ("a/b/c", "a")])
async def test_two_files_in_one_place(titles: tuple[str, str], files: Path, tmp_path: Path) -> None:
    """One would be lost: refused on both ways."""
    store = oci.MemoryStore()
    with pytest.raises(oci.InvalidArgument, match="titles"):
        await oci.push_files(store, [oci.ArtifactFile(files / "note.txt", title) for title in titles])
    await push_layers(store, [(title, {}, b"x") for title in titles])
    with pytest.raises(oci.ContentError, match="two files"):
        await oci.pull_files(store, "v1", tmp_path / "out")


async def push_layers(store: oci.Store, layers: list[tuple[str, dict[str, str], bytes]]) -> None:
    """Push an artifact with these titles, annotations and bytes, whatever they are."""
    described = []
    for title, notes, data in layers:
        layer = oci.Descriptor(
            media_type="text/plain",
            digest=oci.Digest.of(data),
            size=len(data),
            annotations={TITLE: title, **notes},
        )
        await store.push_blob(layer.bare(), oci.BytesSource(data))
        described.append(layer)
    await store.push_blob(oci.EMPTY_DESCRIPTOR.bare(), oci.BytesSource(oci.EMPTY_JSON))
    await store.push_manifest(oci.pack_manifest(artifact_type="text/x", layers=described), tags=["v1"])


async def test_nothing_is_replaced_unasked(files: Path, tmp_path: Path) -> None:
    """Not the first file either, when the second is there already; asked for, all are."""
    store, out = oci.MemoryStore(), tmp_path / "out"
    await oci.push_files(store, [files / "note.txt", files / "tree"], tags=["v1"])
    (out / "tree").mkdir(parents=True)
    (out / "tree" / "old").write_text("mine")

    with pytest.raises(oci.StoreError, match="overwrite=True"):
        await oci.pull_files(store, "v1", out)
    assert names_below(out) == ["tree", "tree/old"]

    await oci.pull_files(store, "v1", out, overwrite=True)
    await oci.pull_files(store, "v1", out, overwrite=True)
    assert "tree/old" not in names_below(out)
    assert (out / "tree" / "run").exists()


async def test_what_cannot_be_replaced_stays(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the new directory cannot be put in its place, the old one is there again."""
    store, out = oci.MemoryStore(), tmp_path / "out"
    await oci.push_files(store, [files / "tree"], tags=["v1"])
    (out / "tree").mkdir(parents=True)
    (out / "tree" / "old").write_text("mine")
    replace = Path.replace

    def failing(path: Path, target: Path) -> Path:
        if path.name == "new":
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(oci.StoreError, match="No space left"):
        await oci.pull_files(store, "v1", out, overwrite=True)

    assert names_below(out) == ["tree", "tree/old"]


@pytest.mark.parametrize("overwrite", [False, True])
async def test_nothing_goes_through_a_link(files: Path, tmp_path: Path, *, overwrite: bool) -> None:
    """Neither a link in the place of a file, nor of a directory above it."""
    store, out, outside = oci.MemoryStore(), tmp_path / "out", tmp_path / "outside"
    outside.mkdir()
    out.mkdir()
    (out / "sub").symlink_to(outside)
    (out / "file").symlink_to(outside / "file")
    for title in ("sub/x", "file", "sub"):
        await oci.push_files(store, [oci.ArtifactFile(files / "note.txt", title)], tags=["v1"])
        with pytest.raises(oci.StoreError):
            await oci.pull_files(store, "v1", out, overwrite=overwrite)
    assert names_below(outside) == []


def archive(make: Make) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(mode="w:gz", fileobj=raw) as tar:
        make(tar)
    return raw.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> Make:
    def make(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        tar.addfile(info)

    return make


def headers(kind: bytes, *bodies: bytes) -> Make:
    """Make headers that belong to the member that follows them."""

    def make(tar: tarfile.TarFile) -> None:
        for body in bodies:
            info = tarfile.TarInfo("header")
            info.type, info.size = kind, len(body)
            tar.addfile(info, io.BytesIO(body))

    return make


def attributes(**values: str) -> Make:
    """Make a PAX header, with `__` for each dot in a name."""
    lines = [f" {name.replace('__', '.')}={value}\n" for name, value in values.items()]
    return headers(tarfile.XHDTYPE, b"".join(f"{len(line) + 3:03}{line}".encode() for line in lines))


def both(*makes: Make) -> Make:
    def make(tar: tarfile.TarFile) -> None:
        for each in makes:
            each(tar)

    return make


@pytest.mark.parametrize(
    "make",
    [
        member("../evil"),
        member("/evil"),
        member("other/evil"),
        member("d/../../evil"),
        member("d/link", tarfile.SYMTYPE, "/etc/passwd"),
        member("d/link", tarfile.SYMTYPE, "../../evil"),
        both(member("d/a", tarfile.SYMTYPE, "."), member("d/b", tarfile.SYMTYPE, "a/..")),
        both(member("d/a", tarfile.SYMTYPE, ".."), member("d/a/evil")),
        member("d/hard", tarfile.LNKTYPE, "/etc/passwd"),
        member("d/hard", tarfile.LNKTYPE, "d/missing"),
        member("d/pipe", tarfile.FIFOTYPE),
        member("d/device", tarfile.CHRTYPE),
        both(member("d/a"), member("d/a")),
        both(member("d/a"), member("d/a/b")),
        both(member("d/a"), member("d/a", tarfile.SYMTYPE, "b")),
        member("d", tarfile.SYMTYPE, ".."),
        member("d"),
        member("d/" + "a/" * 1500 + "b"),
        both(*(member(f"d/{number}", tarfile.SYMTYPE, str(number + 1)) for number in range(300))),
        both(attributes(GNU__sparse__size="9", GNU__sparse__map="q,w"), member("d/a")),
        both(
            attributes(GNU__sparse__major="1", GNU__sparse__minor="0", GNU__sparse__realsize="q"),
            member("d/a"),
        ),
        both(attributes(linkpath="a\0b"), member("d/a", tarfile.SYMTYPE)),
        both(headers(tarfile.GNUTYPE_LONGNAME, *[b"d/a\0"] * 1000), member("d/a")),
    ],
)
async def test_archives_that_lead_elsewhere(make: Make, tmp_path: Path) -> None:
    """Nothing of them stays."""
    store, out = oci.MemoryStore(), tmp_path / "out"
    await push_layers(store, [("d", DIRECTORY, archive(make))])

    with pytest.raises(oci.ContentError):
        await oci.pull_files(store, "v1", out)

    assert names_below(tmp_path) == ["out"]


async def test_archives_that_are_none(tmp_path: Path) -> None:
    """Damaged, cut off, too large, or another than was said."""
    store = oci.MemoryStore()
    whole = archive(member("d/file"))
    large = archive(both(member("d/x")))[:-4] + b"\0" * 4
    wrong = {**DIRECTORY, "io.deis.oras.content.digest": f"sha256:{'0' * 64}"}
    for notes, data in ((DIRECTORY, b"no gzip"), (DIRECTORY, whole[:30]), (wrong, whole), (DIRECTORY, large)):
        await push_layers(store, [("d", notes, data)])
        with pytest.raises(oci.ContentError):
            await oci.pull_files(store, "v1", tmp_path / "out")
    bomb = gzip.compress(bytes(50 << 20))
    await push_layers(store, [("d", DIRECTORY, bomb)])
    with pytest.raises(oci.LimitExceeded):
        await oci.pull_files(store, "v1", tmp_path / "out", max_unpacked=1 << 20)
    assert names_below(tmp_path) == ["out"]


def sparse(tar: tarfile.TarFile) -> None:
    """Make a file of 200 MiB that is a hole but for one byte."""
    attributes(GNU__sparse__size=str(200 << 20), GNU__sparse__map="0,1")(tar)
    info = tarfile.TarInfo("d/sparse")
    info.size = 1
    tar.addfile(info, io.BytesIO(b"x"))


def copies(tar: tarfile.TarFile) -> None:
    """Make a file of 900 KB, and a hundred hard links to it."""
    info = tarfile.TarInfo("d/file")
    info.size = 900_000
    tar.addfile(info, io.BytesIO(bytes(info.size)))
    for number in range(100):
        member(f"d/{number}", tarfile.LNKTYPE, "d/file")(tar)


def deep(tar: tarfile.TarFile) -> None:
    """Make a hundred files, each two hundred directories deep."""
    for number in range(100):
        member(f"d/{number}/" + "a/" * 200 + "b")(tar)


@pytest.mark.parametrize("make", [sparse, copies, deep])
async def test_more_comes_out_than_is_in_the_archive(make: Make, tmp_path: Path) -> None:
    """Holes, hard links and directories need no place in an archive, and do on the disk."""
    store = oci.MemoryStore()
    await push_layers(store, [("d", DIRECTORY, archive(make))])

    with pytest.raises(oci.ContentError):
        await oci.pull_files(store, "v1", tmp_path / "out", max_unpacked=1 << 20)

    assert names_below(tmp_path) == ["out"]


def long_name(tar: tarfile.TarFile) -> None:
    """Make a file with a name of 2 MiB."""
    both(headers(tarfile.GNUTYPE_LONGNAME, b"a" * (2 << 20)), member("d/a"))(tar)


def many_holes(tar: tarfile.TarFile) -> None:
    """Make a file with a map of a million holes, which is read before anything is known of the file."""
    attributes(GNU__sparse__major="1", GNU__sparse__minor="0", GNU__sparse__realsize="1")(tar)
    info = tarfile.TarInfo("d/a")
    info.size = 2 << 20
    tar.addfile(info, io.BytesIO(b"99999999\n" + b"1\n" * (info.size // 2)))


def many_links(tar: tarfile.TarFile) -> None:
    """Make more links than we hold in memory."""
    for number in range(4):
        member(f"d/{number}", tarfile.SYMTYPE, "x")(tar)


@pytest.mark.parametrize("make", [long_name, many_holes, many_links])
async def test_what_would_have_to_be_held_is_bounded(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small archive may hold a name, a map or links of any length."""
    monkeypatch.setattr("oci_distribution.content.archives.MAX_LINKS", 3)
    store = oci.MemoryStore()
    await push_layers(store, [("d", DIRECTORY, archive(make))])

    with pytest.raises(oci.LimitExceeded):
        await oci.pull_files(store, "v1", tmp_path / "out")

    assert names_below(tmp_path) == ["out"]


async def test_members_are_forgotten(tmp_path: Path) -> None:
    """However many there are, and whatever they say of all that follow, little is held in memory."""

    def make(tar: tarfile.TarFile) -> None:
        for number in range(20):
            headers(tarfile.XGLTYPE, f"500000 k{number}=".encode().ljust(499_999, b"v") + b"\n")(tar)
            member(f"d/{number}")(tar)

    store = oci.MemoryStore()
    await push_layers(store, [("d", DIRECTORY, archive(make))])
    tracemalloc.start()
    try:
        await oci.pull_files(store, "v1", tmp_path / "out")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 6 << 20


async def test_hard_links_become_files(tmp_path: Path) -> None:
    """Each for itself."""
    store = oci.MemoryStore()
    made = archive(both(member("d/file"), member("d/hard", tarfile.LNKTYPE, "d/file")))
    await push_layers(store, [("d", DIRECTORY, made)])
    await oci.pull_files(store, "v1", tmp_path / "out")
    assert names_below(tmp_path / "out") == ["d", "d/file", "d/hard"]


async def test_a_file_with_two_names_is_two_files(files: Path, tmp_path: Path) -> None:
    """A hard link is a file like any other, and is pushed as one."""
    (files / "tree" / "twin").hardlink_to(files / "tree" / "run")
    store = oci.MemoryStore()
    await oci.push_files(store, [files / "tree"], tags=["v1"])
    await oci.pull_files(store, "v1", tmp_path / "out")

    assert names_below(tmp_path / "out" / "tree") == names_below(files / "tree")
    assert (tmp_path / "out" / "tree" / "twin").read_text() == "#!/bin/sh\n"


async def test_unpacked_files_are_as_private_as_others(files: Path, tmp_path: Path) -> None:
    """The umask of who pulls decides, in a directory as for a file of its own."""
    store = oci.MemoryStore()
    await oci.push_files(store, [files / "note.txt", files / "tree"], tags=["v1"])
    before = os.umask(0o077)
    try:
        await oci.pull_files(store, "v1", tmp_path / "out")
    finally:
        os.umask(before)

    modes = {path: path.stat().st_mode & 0o777 for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {path.name for path, mode in modes.items() if mode == 0o700} == {"run", "link"}
    assert {path.name for path, mode in modes.items() if mode == 0o600} == {"note.txt", "same"}


async def test_what_cannot_be_packed_is_left_out(files: Path, tmp_path: Path) -> None:
    """Pipes and sockets are no content."""
    os.mkfifo(files / "tree" / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(files / "tree")
        try:
            server.bind("socket")
        finally:
            os.chdir(here)
        store = oci.MemoryStore()
        await oci.push_files(store, [files / "tree"], tags=["v1"])
    await oci.pull_files(store, "v1", tmp_path / "out")
    assert not {"tree/pipe", "tree/socket"} & set(names_below(tmp_path / "out"))


async def test_artifacts_without_files(tmp_path: Path) -> None:
    """They say that they have none; layers without a title are left alone."""
    store = oci.MemoryStore()
    await oci.push_files(store, [], tags=["v1"])
    with pytest.raises(oci.ContentError, match="no files"):
        await oci.pull_files(store, "v1", tmp_path)
    with pytest.raises(oci.NotFound):
        await oci.pull_files(store, "v2", tmp_path)


async def test_indexes_need_a_platform(files: Path, tmp_path: Path) -> None:
    """Each platform may have files of its own."""
    store = oci.MemoryStore()
    entries = []
    for architecture in ("amd64", "arm64"):
        title = f"program-{architecture}"
        pushed = await oci.push_files(store, [oci.ArtifactFile(files / "note.txt", title)])
        platform = oci.Platform(os="linux", architecture=architecture)
        entries.append(pushed.model_copy(update={"platform": platform}))
    await store.push_manifest(oci.pack_index(entries), tags=["v1"])

    with pytest.raises(oci.InvalidArgument, match="platform"):
        await oci.pull_files(store, "v1", tmp_path / "out")
    (found,) = await oci.pull_files(store, "v1", tmp_path / "out", platform="linux/arm64")
    assert found.name == "program-arm64"


async def test_iterators_are_taken(files: Path) -> None:
    """Files and tags may be what can be read once."""
    store = oci.MemoryStore()
    await oci.push_files(store, iter([files / "note.txt"]), tags=iter(["v1", "v2"]))

    assert [tag async for tag in store.tags()] == ["v1", "v2"]


async def test_a_directory_may_be_a_link(files: Path, tmp_path: Path) -> None:
    """What it leads to is pushed, under the link's name."""
    (files / "link").symlink_to("tree")
    store = oci.MemoryStore()
    await oci.push_files(store, [files / "link"], tags=["v1"])
    await oci.pull_files(store, "v1", tmp_path / "out")

    assert names_below(tmp_path / "out" / "link") == names_below(files / "tree")


@pytest.mark.parametrize(
    "target", ["/etc/hosts", "../../note.txt", "../../tree/run", "up/../note.txt", "loop", "0"]
)
async def test_links_that_nobody_could_unpack(target: str, files: Path) -> None:
    """Those that lead out of their directory, on whatever way, or nowhere, are found before anything goes."""
    sub = files / "tree" / "sub"
    (sub / "up").symlink_to("..")
    (sub / "odd").symlink_to(target)
    (sub / "loop").symlink_to("loop" if target == "loop" else "same")
    for number in range(300 if target == "0" else 0):
        (sub / str(number)).symlink_to(str(number + 1))
    store = oci.MemoryStore()

    with pytest.raises(oci.InvalidArgument, match="cannot be packed"):
        await oci.push_files(store, [files / "note.txt", files / "tree"])

    assert repr(store) == "<MemoryStore with 0 manifests and 0 blobs>"


@pytest.mark.parametrize("name", ["a\\b", "a\nb"])
async def test_names_that_nobody_could_unpack(name: str, files: Path) -> None:
    """A name that is another one elsewhere is found before anything is pushed."""
    (files / "tree" / "sub" / name).touch()
    store = oci.MemoryStore()

    with pytest.raises(oci.InvalidArgument, match="cannot be packed"):
        await oci.push_files(store, [files / "note.txt", files / "tree"])

    assert repr(store) == "<MemoryStore with 0 manifests and 0 blobs>"


async def test_links_within_the_directory(files: Path, tmp_path: Path) -> None:
    """They may lead anywhere in it, through each other and up, and to what is not there."""
    links = {"up": "..", "far": "up/sub/up/run", "nothing": "up/missing"}
    for name, target in links.items():
        (files / "tree" / "sub" / name).symlink_to(target)
    store = oci.MemoryStore()
    await oci.push_files(store, [files / "tree"], tags=["v1"])
    await oci.pull_files(store, "v1", tmp_path / "out")

    pulled = tmp_path / "out" / "tree" / "sub"
    assert {name: str((pulled / name).readlink()) for name in links} == links
    assert (pulled / "far").read_text() == "#!/bin/sh\n"


async def test_a_pipe_is_no_file(files: Path) -> None:
    """To read it would wait for ever, in a thread that nobody can stop."""
    os.mkfifo(files / "pipe")
    store = oci.MemoryStore()

    with pytest.raises(oci.StoreError, match="no regular file"):
        await oci.push_files(store, [files / "note.txt", files / "pipe"])

    assert repr(store) == "<MemoryStore with 0 manifests and 0 blobs>"


async def test_what_cannot_be_listed_is_not_left_out(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory that nobody may look into is an error, and not an empty one."""
    scan = os.scandir

    def refusing(path: str) -> object:
        if Path(path).name == "sub":
            raise PermissionError(errno.EACCES, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(oci.StoreError, match="Permission denied"):
        await oci.push_files(oci.MemoryStore(), [files / "tree"])


async def test_bad_arguments(files: Path, tmp_path: Path) -> None:
    """Found before anything is pushed."""
    store = oci.MemoryStore()
    (files / "caf\udce9").touch()
    with pytest.raises(oci.InvalidArgument, match="UTF-8"):
        await oci.push_files(store, [files / "note.txt", files / "caf\udce9"])
    with pytest.raises(oci.InvalidArgument, match="UTF-8"):
        await oci.push_files(store, [oci.ArtifactFile(files / "note.txt", annotations={"a": "\ud800"})])
    with pytest.raises(oci.InvalidReference):
        await oci.push_files(store, [files / "note.txt"], tags=["bad tag"])
    with pytest.raises(oci.StoreError, match="missing"):
        await oci.push_files(store, [files / "note.txt", files / "missing"])
    with pytest.raises(TypeError, match="sequence"):
        await oci.push_files(store, str(files))
    for options in ({"artifact_type": "x"}, {"annotations": {"a": 1}}):
        with pytest.raises(oci.InvalidArgument):
            await oci.push_files(store, [files / "note.txt"], **options)  # pyright: ignore[reportArgumentType]
    assert repr(store) == "<MemoryStore with 0 manifests and 0 blobs>"


async def test_cancelled(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No temporary file stays, here or there."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    class Stuck(oci.MemoryStore):
        reached = anyio.Event()

        async def push_blob(self, *arguments: object, **options: object) -> oci.PushOutcome:
            self.reached.set()
            await anyio.sleep_forever()
            raise AssertionError

    before = names_below(tmp_path)
    async with anyio.create_task_group() as tasks:
        store = Stuck()
        tasks.start_soon(oci.push_files, store, [files / "tree"])
        await store.reached.wait()
        assert names_below(tmp_path) != before
        tasks.cancel_scope.cancel()
    assert names_below(tmp_path) == before


def test_names_of_this_directory(files: Path) -> None:
    """What is a plain path is left as it is."""
    assert str(check_title("a/b c/ü.txt")) == "a/b c/ü.txt"
