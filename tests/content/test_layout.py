"""The OCI image layout on disk: what its files look like, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import oci_distribution as oci
from tests.disk import names_below
from tests.images import holdings, push_blob, push_image, push_index

LAYOUTS = Path(__file__).parent.parent / "data" / "layouts"
REF_NAME = "org.opencontainers.image.ref.name"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "layout"


@pytest.fixture
def layout(root: Path) -> oci.Layout:
    return oci.Layout(root)


def index_of(root: Path) -> dict[str, Any]:
    document = json.loads((root / "index.json").read_bytes())
    assert isinstance(document, dict)
    return document


def listed(root: Path) -> list[tuple[str, str | None]]:
    """Return the digest and name of every entry of index.json."""
    entries = index_of(root)["manifests"]
    return [(entry["digest"], entry.get("annotations", {}).get(REF_NAME)) for entry in entries]


def write_layout(root: Path, manifests: list[dict[str, Any]], **extra: Any) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": manifests, **extra}))


async def test_the_files_are_those_of_the_specification(layout: oci.Layout, root: Path) -> None:
    """Marker, index and blobs; beside them only the lock, which hides."""
    image = await push_image(layout, [b"layer"], tag="v1")

    blobs = [f"blobs/sha256/{oci.Digest(digest).encoded}" for digest in await holdings(layout, "v1")]
    directories = ["blobs", "blobs/sha256"]
    assert names_below(root) == sorted([".index.json.lock", "index.json", "oci-layout", *directories, *blobs])
    assert json.loads((root / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    assert index_of(root)["schemaVersion"] == 2
    assert listed(root) == [(image.digest, "v1")]
    assert (root / "blobs" / "sha256" / image.digest.encoded).read_bytes() == image.raw


async def test_files_are_for_others_too(layout: oci.Layout, root: Path) -> None:
    """They have the rights that the user's mask leaves, as other tools give them."""
    mask = os.umask(0o022)
    try:
        await push_image(layout, tag="v1")
    finally:
        os.umask(mask)

    assert {(root / name).stat().st_mode & 0o777 for name in names_below(root)} == {0o644, 0o755}


async def test_nothing_is_made_by_looking(layout: oci.Layout, root: Path) -> None:
    """A directory comes to be by the first write, and not before."""
    with pytest.raises(oci.NotFound):
        await layout.resolve("v1")
    with pytest.raises(oci.NotFound):
        [tag async for tag in layout.tags()]

    assert names_below(root.parent) == []


async def test_an_empty_directory_becomes_a_layout(tmp_path: Path) -> None:
    """Somebody may have made it for us."""
    layout = oci.Layout(tmp_path)

    await push_image(layout, tag="v1")

    assert [tag async for tag in layout.tags()] == ["v1"]


async def test_the_images_of_an_index_are_only_content(layout: oci.Layout, root: Path) -> None:
    """index.json lists roots."""
    images = [await push_image(layout, [name.encode()], os=name) for name in ("linux", "windows")]
    assert listed(root) == [(image.digest, None) for image in images]

    index = await push_index(layout, images, tag="v1")

    assert listed(root) == [(index.digest, "v1")]
    assert (await layout.resolve(images[0].digest)) == images[0].descriptor


async def test_an_image_without_a_tag_is_listed_once(layout: oci.Layout, root: Path) -> None:
    """Copied by digest, it can be found by every tool; later a tag takes the place of the bare entry."""
    image = await push_image(layout)
    await push_image(layout)
    assert listed(root) == [(image.digest, None)]

    await push_image(layout, tag="v1")
    await push_image(layout)

    assert listed(root) == [(image.digest, "v1")]


async def test_what_loses_its_tag_is_not_lost(layout: oci.Layout, root: Path) -> None:
    """It stays listed without a name, unless it has another one."""
    old = await push_image(layout, [b"old"], tag="v1")
    new = await push_image(layout, [b"new"], tag="v1")
    assert listed(root) == [(old.digest, None), (new.digest, "v1")]

    await layout.push_manifest(old, tags=["v1", "v0"])

    assert listed(root) == [(new.digest, None), (old.digest, "v1"), (old.digest, "v0")]


async def test_tagging_twice_changes_nothing(layout: oci.Layout, root: Path) -> None:
    """One manifest, one tag: one entry."""
    await push_image(layout, tag="v1")
    before = listed(root)

    await push_image(layout, tag="v1")

    assert listed(root) == before


async def test_unknown_fields_survive(layout: oci.Layout, root: Path) -> None:
    """What other tools wrote into index.json is theirs, and so are their entries."""
    foreign = {
        "mediaType": "application/vnd.example.thing",
        "digest": "blake3:" + "0" * 64,
        "size": 3,
        "annotations": {"a": "b", REF_NAME: "theirs"},
        "x-field": [1, 2],
    }
    annotations = {"made": "elsewhere", "half a character": "\ud800"}
    write_layout(root, [foreign], annotations=annotations, **{"x-top": {"y": None}})

    image = await push_image(layout, tag="v1")
    await push_image(layout, tag="theirs")

    kept = foreign | {"annotations": {"a": "b"}}
    index = index_of(root)
    assert index["x-top"] == {"y": None}
    assert index["annotations"] == annotations
    assert index["manifests"][0] == kept
    assert listed(root)[1:] == [(image.digest, "v1"), (image.digest, "theirs")]


@pytest.mark.parametrize(
    ("name", "tags", "reference"),
    [
        ("skopeo", ["v1"], "v1"),
        ("oras", ["v1"], "v1"),
        ("crane-annotated", ["v1"], "v1"),
        ("crane", [], "latest"),
        ("skopeo-unnamed", [], "latest"),
    ],
)
async def test_layouts_of_other_tools_are_read(name: str, tags: list[str], reference: str) -> None:
    """The tag stands alone, or in a whole reference; one image without a name is what no tag means."""
    layout = oci.Layout(LAYOUTS / name)
    digest = "sha256:0903530a22db2796cbe27a3640787e2e15c677a0aac10b4e3b4eeccec2224b50"

    assert [tag async for tag in layout.tags()] == tags
    assert (await layout.resolve(reference)).digest == digest
    assert len(await holdings(layout, reference)) == len(await holdings(layout, digest)) == 3
    with pytest.raises(oci.NotFound):
        await layout.resolve("v2")
    written = [name for name in names_below(LAYOUTS / name) if not name.startswith("blobs")]
    assert written == ["index.json", "oci-layout"]


async def test_layouts_of_other_tools_are_written_to(root: Path) -> None:
    """A tag is added beside what is there."""
    shutil.copytree(LAYOUTS / "crane-annotated", root)
    layout = oci.Layout(root)
    theirs = await layout.resolve("v1")

    image = await push_image(layout, tag="v1")

    assert listed(root) == [(theirs.digest, "127.0.0.1:5999/tiny:v1"), (image.digest, "v1")]
    assert (await layout.resolve("v1")).digest == image.digest


async def test_an_unnamed_image_of_our_own_is_not_the_latest(layout: oci.Layout) -> None:
    """It may be one platform of what is still on its way."""
    await push_image(layout)

    with pytest.raises(oci.NotFound):
        await layout.resolve("latest")


async def test_two_manifests_under_one_tag_are_ambiguous(layout: oci.Layout, root: Path) -> None:
    """Nobody knows which is meant, so nobody guesses; a new one under that tag settles it."""
    images = [await push_image(layout, [name]) for name in (b"one", b"other")]
    entries = [image.descriptor.dump() | {"annotations": {REF_NAME: "v1"}} for image in images]
    write_layout(root, entries)

    with pytest.raises(oci.InvalidLayout, match="several"):
        await layout.resolve("v1")

    assert (await layout.resolve(images[0].digest)).digest == images[0].digest
    await layout.push_manifest(images[1], tags=["v1"])
    assert (await layout.resolve("v1")).digest == images[1].digest


async def test_a_listed_image_whose_content_is_missing_is_not_found(layout: oci.Layout, root: Path) -> None:
    """A sparse layout does not hold what it only mentions, and a copy must bring it."""
    image = await push_image(layout, tag="v1")
    (root / "blobs" / "sha256" / image.digest.encoded).unlink()

    for reference in ("v1", image.digest):
        with pytest.raises(oci.NotFound):
            await layout.resolve(reference)
    assert not await layout.exists(image.descriptor)

    await push_image(layout, tag="v1")
    assert (await layout.fetch_manifest("v1")).raw == image.raw


async def test_a_file_of_the_wrong_length_is_written_anew(layout: oci.Layout, root: Path) -> None:
    """A power cut leaves short files."""
    blob = await push_blob(layout, b"content")
    path = root / "blobs" / "sha256" / blob.digest.encoded
    path.write_bytes(b"con")

    assert not await layout.exists(blob)
    assert await push_blob(layout, b"content") == blob
    assert path.read_bytes() == b"content"


async def test_damage_is_found_by_reading(layout: oci.Layout, root: Path) -> None:
    """A flipped bit in a blob or manifest is a digest that does not match."""
    image = await push_image(layout, [b"layer"], tag="v1")
    layer = image.children[1]
    (root / "blobs" / "sha256" / layer.digest.encoded).write_bytes(b"layeR")
    (root / "blobs" / "sha256" / image.digest.encoded).write_bytes(image.raw.replace(b"2", b"3", 1))

    with pytest.raises(oci.DigestMismatch):
        async with layout.open_blob(layer) as stream:
            [piece async for piece in stream]
    with pytest.raises(oci.DigestMismatch):
        await layout.fetch_manifest("v1")


async def test_a_blob_is_no_manifest(layout: oci.Layout) -> None:
    """Asked for a manifest by a layer's digest, the layout says so."""
    blob = await push_blob(layout, b"layer")

    with pytest.raises(oci.InvalidManifest):
        await layout.resolve(blob.digest)


async def test_what_is_too_long_for_a_manifest_is_not_read(layout: oci.Layout) -> None:
    """A gigabyte that says it is a manifest is not taken into memory."""
    blob = await push_blob(layout, bytes(4 << 20) + b"x")

    with pytest.raises(oci.LimitExceeded):
        await layout.fetch_manifest(blob.digest)


def no_marker(root: Path) -> None:
    root.mkdir()
    (root / "index.json").write_text('{"schemaVersion": 2, "manifests": []}')


def other_version(root: Path) -> None:
    write_layout(root, [])
    (root / "oci-layout").write_text('{"imageLayoutVersion": "2.0.0"}')


def marker_is_no_json(root: Path) -> None:
    write_layout(root, [])
    (root / "oci-layout").write_text("layout")


def home_directory(root: Path) -> None:
    root.mkdir()
    (root / "thesis.tex").write_text("...")


def a_file(root: Path) -> None:
    root.write_text("...")


def index_is_no_json(root: Path) -> None:
    write_layout(root, [])
    (root / "index.json").write_text('{"schemaVersion": 2, "manife')


def index_is_a_list(root: Path) -> None:
    write_layout(root, [])
    (root / "index.json").write_text("[]")


def index_is_old(root: Path) -> None:
    write_layout(root, [])
    (root / "index.json").write_text('{"schemaVersion": 1, "manifests": []}')


def index_has_no_objects(root: Path) -> None:
    write_layout(root, [])
    (root / "index.json").write_text('{"schemaVersion": 2, "manifests": ["v1"]}')


def index_is_deep(root: Path) -> None:
    write_layout(root, [])
    (root / "index.json").write_text("[" * 100_000)


BROKEN = [no_marker, other_version, marker_is_no_json, home_directory, a_file]
BROKEN_INDEX = [index_is_no_json, index_is_a_list, index_is_old, index_has_no_objects, index_is_deep]


@pytest.mark.parametrize("make", [*BROKEN, *BROKEN_INDEX])
async def test_a_broken_layout_says_so_and_is_left_alone(make: Any, layout: oci.Layout, root: Path) -> None:
    """One typed error that names the directory, for reading and for writing; nothing is added to it."""
    make(root)
    before = names_below(root)
    image = oci.Manifest.of(oci.ImageIndex())

    with pytest.raises(oci.InvalidLayout, match="layout"):
        await layout.resolve("v1")
    with pytest.raises(oci.InvalidLayout):
        [tag async for tag in layout.tags()]
    with pytest.raises(oci.InvalidLayout):
        await layout.push_manifest(image, tags=["v1"])

    if make in BROKEN:
        with pytest.raises(oci.InvalidLayout):
            await push_blob(layout, b"x")
        with pytest.raises(oci.InvalidLayout):
            await layout.exists(image.descriptor)
        assert names_below(root) == before


@pytest.mark.parametrize(
    "entry",
    [
        {"digest": "sha256:abc", "mediaType": "a/b", "size": 1},
        {"digest": "sha256:../../etc/passwd", "mediaType": "a/b", "size": 1},
        {"digest": "sha256:" + "a" * 64, "mediaType": "a/b", "size": -1},
        {"digest": "sha256:" + "a" * 64, "mediaType": "a/b", "size": "1"},
        {"digest": "sha256:" + "a" * 64, "mediaType": "a b", "size": 1},
        {"mediaType": "a/b", "size": 1},
        {"digest": None},
    ],
)
async def test_a_malformed_entry_hurts_only_those_who_ask_for_it(
    entry: dict[str, Any], layout: oci.Layout, root: Path
) -> None:
    """Its path is never built, and the other tags can be used."""
    write_layout(root, [entry | {"annotations": {REF_NAME: "bad"}}, {"annotations": None}])
    image = await push_image(layout, tag="good")

    assert (await layout.resolve("good")).digest == image.digest
    with pytest.raises(oci.InvalidLayout):
        await layout.resolve("bad")


async def test_a_layout_without_an_index_is_one_that_is_being_made(layout: oci.Layout, root: Path) -> None:
    """The marker comes first, so that others know what will be here; the index follows."""
    write_layout(root, [])
    (root / "index.json").unlink()

    with pytest.raises(oci.NotFound):
        await layout.resolve("v1")
    image = await push_image(layout, tag="v1")

    assert listed(root) == [(image.digest, "v1")]


async def test_what_the_disk_refuses_is_an_error_of_ours(layout: oci.Layout, root: Path) -> None:
    """The operating system's own error is the cause."""
    write_layout(root, [])
    (root / "blobs").write_text("a file where a directory must be")
    blob = oci.Descriptor(media_type="a/b", digest=oci.Digest.of(b"x"), size=1)

    for attempt in (layout.exists(blob), layout.fetch_manifest(blob.digest), push_blob(layout, b"x")):
        with pytest.raises(oci.StoreError) as caught:
            await attempt
        assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(oci.StoreError):
        async with layout.open_blob(blob):
            pass
    assert names_below(root) == ["blobs", "index.json", "oci-layout"]


async def test_a_lock_that_cannot_be_had_is_an_error_of_ours(layout: oci.Layout, root: Path) -> None:
    """Somebody put a directory where the lock file goes."""
    write_layout(root, [])
    (root / ".index.json.lock").mkdir()

    with pytest.raises(oci.StoreError, match="lock"):
        await push_image(layout, tag="v1")


def test_a_layout_names_its_directory(tmp_path: Path) -> None:
    """In its repr, for messages."""
    assert repr(oci.Layout(tmp_path)) == f"Layout({str(tmp_path)!r})"
    assert oci.Layout(str(tmp_path)).path == tmp_path
