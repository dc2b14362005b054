"""The list of referrers that a client keeps where the registry has no API: nobody's entry is lost."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator

import anyio
import pytest

import oci_distribution as oci
from oci_distribution.remote import referrers_index
from oci_distribution.testing import Fault, RunningRegistry, serve_registry
from tests.images import push_blob, push_image

NOTES = {"org.example.by": "ann"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(referrers_index, "SETTLING", 0.001)
    monkeypatch.setattr(referrers_index, "PAUSE", 0.001)


@pytest.fixture
async def registry() -> AsyncGenerator[RunningRegistry]:
    """One without the API that honours conditions."""
    async with serve_registry(strict=True, referrers=False) as registry:
        yield registry


@pytest.fixture
async def old(client: oci.Client) -> AsyncGenerator[tuple[oci.Repository, RunningRegistry]]:
    """One without the API that takes no notice of conditions."""
    async with serve_registry(profile="distribution-2.8") as registry:
        yield client.registry(registry.url).repository("team/app"), registry


async def signature(
    repo: oci.Repository, subject: oci.Descriptor, number: int = 0, **fields: object
) -> oci.Manifest:
    """Return a signature whose config is there."""
    config = await push_blob(repo, b"{}", "application/vnd.example.signature")
    content = {"annotations": {**NOTES, "number": str(number)}, "layers": (config,), **fields}
    return oci.Manifest.of(oci.ImageManifest(config=config, subject=subject, **content))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def sent(registry: RunningRegistry) -> list[str]:
    """Return what was asked for, with conditions, and forget it."""
    found = []
    for request in registry.requests:
        kind, _, name = request.path.partition("/v2/team/app/")[2].partition("/")
        condition = next((key for key in ("if-match", "if-none-match") if key in request.headers), "")
        what = "list" if name.startswith("sha256-") else kind
        found.append(f"{request.method} {what} {condition}".strip())
    registry.requests.clear()
    return found


async def listed(repo: oci.Repository, subject: oci.Descriptor) -> list[oci.Descriptor]:
    tag = str(subject.digest).replace(":", "-")
    return list((await repo.manifests.get(tag)).children)


async def test_first_and_second_entry(repo: oci.Repository, registry: RunningRegistry) -> None:
    """What a registry can do is found out once; then a push is: manifest, list, and the list with a condition."""
    subject = (await push_image(repo)).descriptor
    first, second = [await signature(repo, subject, number) for number in range(2)]
    sent(registry)

    await repo.manifests.push(first)
    assert sent(registry) == [
        *("PUT manifests", "GET referrers", "GET list", "PUT list if-none-match"),
        "PUT manifests if-none-match",  # of the list, under its digest: it must fail
    ]
    await repo.manifests.push(second)
    assert sent(registry) == ["PUT manifests", "GET list", "PUT list if-match"]

    entries = await listed(repo, subject)
    assert [entry.digest for entry in entries] == [first.digest, second.digest]
    assert await repo.referrers.get(subject) == entries


async def test_entry_says_what_it_is(repo: oci.Repository) -> None:
    """Artifact type, or the type of the config, and all annotations; an index can refer, too."""
    subject = (await push_image(repo)).descriptor
    plain = await signature(repo, subject)
    typed = await signature(repo, subject, artifact_type="text/x")
    index = oci.Manifest.of(oci.ImageIndex(subject=subject, artifact_type="text/y", annotations=NOTES))
    for manifest in (plain, typed, index):
        await repo.manifests.push(manifest)

    entries = await listed(repo, subject)
    kinds = ["application/vnd.example.signature", "text/x", "text/y"]
    assert [entry.artifact_type for entry in entries] == kinds
    assert [entry.annotations for entry in entries] == [{**NOTES, "number": "0"}] * 2 + [NOTES]
    assert [entry.bare() for entry in entries] == [item.descriptor for item in (plain, typed, index)]


async def test_pushed_twice_is_listed_once(repo: oci.Repository, registry: RunningRegistry) -> None:
    """Nothing is written when nothing changes."""
    subject = (await push_image(repo)).descriptor
    manifest = await signature(repo, subject)
    await repo.manifests.push(manifest)
    sent(registry)

    await repo.manifests.push(manifest, tags=["signature"])

    assert sent(registry) == ["PUT manifests", "GET list"]


async def test_what_others_wrote_stays(repo: oci.Repository) -> None:
    """Their entries, and what the list says of itself, in fields that we do not know, too."""
    subject = (await push_image(repo)).descriptor
    other = await push_image(repo, [b"other"])
    entry = other.descriptor.model_copy(update={"annotations": {"a": "b"}})
    content = oci.ImageIndex.model_validate(
        {
            "schemaVersion": 2,
            "mediaType": oci.MediaType.IMAGE_INDEX,
            "manifests": [entry.dump()],
            "annotations": {"kept-by": "somebody"},
            "org.example.more": [1],
        }
    )
    tag = str(subject.digest).replace(":", "-")
    await repo.manifests.push(oci.Manifest.of(content), tags=[tag])

    manifest = await signature(repo, subject)
    await repo.manifests.push(manifest)

    raw = (await repo.manifests.get(tag)).raw
    assert b'"org.example.more":[1]' in raw.replace(b" ", b"")
    assert b"somebody" in raw
    assert [found.digest for found in await listed(repo, subject)] == [other.digest, manifest.digest]


async def test_somebody_comes_between(repo: oci.Repository, registry: RunningRegistry) -> None:
    """The change is refused, and made again with what is there now."""
    subject = (await push_image(repo)).descriptor
    first, second = [await signature(repo, subject, number) for number in range(2)]
    await repo.manifests.push(first)
    stale = Fault(method="GET", path="*/manifests/sha256-*", nth=1, status=404)
    registry.faults.add(stale)
    sent(registry)

    await repo.manifests.push(second)

    assert sent(registry) == [
        *("PUT manifests", "GET list", "PUT list if-none-match"),
        *("GET list", "PUT list if-match"),
    ]
    assert len(await listed(repo, subject)) == 2


async def test_lists_that_are_never_free(repo: oci.Repository, registry: RunningRegistry) -> None:
    """Patience ends, and the error says how often it was tried; the manifest itself is there."""
    subject = (await push_image(repo)).descriptor
    manifest = await signature(repo, subject)
    registry.faults.add(Fault(method="PUT", path="*/manifests/sha256-*", status=412))

    with pytest.raises(oci.ResponseError) as caught:
        await repo.manifests.push(manifest)

    assert len(caught.value.attempts) == referrers_index.TRIES
    assert (await repo.manifests.get(manifest.digest)).raw == manifest.raw


async def test_registry_without_conditions(old: tuple[oci.Repository, RunningRegistry]) -> None:
    """What was written is looked at again, after a while."""
    repo, registry = old
    subject = (await push_image(repo)).descriptor
    first, second = [await signature(repo, subject, number) for number in range(2)]
    sent(registry)

    await repo.manifests.push(first)
    assert sent(registry)[-4:] == [
        *("GET list", "PUT list if-none-match"),
        *("PUT manifests if-none-match", "GET list"),
    ]
    await repo.manifests.push(second)
    assert sent(registry) == ["PUT manifests", "GET list", "PUT list if-match", "GET list"]
    assert len(await listed(repo, subject)) == 2


async def test_entry_that_was_overwritten(old: tuple[oci.Repository, RunningRegistry]) -> None:
    """It is seen when the list is looked at again, and put there once more."""
    repo, registry = old
    subject = (await push_image(repo)).descriptor
    first, second = [await signature(repo, subject, number) for number in range(2)]
    await repo.manifests.push(first)
    only_first = await repo.manifests.get(str(subject.digest).replace(":", "-"))
    writes = 0

    def on_event(event: oci.Event) -> None:
        nonlocal writes
        is_write = (
            isinstance(event, oci.ResponseReceived) and event.method == "PUT" and "/sha256-" in event.url
        )
        writes += is_write
        if is_write and writes == 1:
            # Somebody who read before we wrote.
            storage = registry.app.storage.open("team/app")
            storage.put_manifest(only_first, [str(subject.digest).replace(":", "-")])

    with oci.observe(on_event):
        await repo.manifests.push(second)

    assert writes == 2
    assert [found.digest for found in await listed(repo, subject)] == [first.digest, second.digest]


async def test_changes_of_one_process_are_made_together(
    repo: oci.Repository, registry: RunningRegistry
) -> None:
    """Twenty at once take a few writes of the list, and all are on it."""
    subject = (await push_image(repo)).descriptor
    manifests = [await signature(repo, subject, number) for number in range(20)]
    sent(registry)

    async with anyio.create_task_group() as tasks:
        for manifest in manifests:
            tasks.start_soon(repo.manifests.push, manifest)

    assert {entry.digest for entry in await listed(repo, subject)} == {item.digest for item in manifests}
    assert sum(line.startswith("PUT list") for line in sent(registry)) <= 5
    assert not repo.registry.referrer_queues


async def test_cancelled_in_the_queue(repo: oci.Repository, registry: RunningRegistry) -> None:
    """Who makes the changes of all may be cancelled, and who waits, too: the others' are made."""
    subject = (await push_image(repo)).descriptor
    manifests = [await signature(repo, subject, number) for number in range(4)]
    registry.faults.add(Fault(method="PUT", path="*/manifests/sha256-*", nth=1, delay=0.2))
    reached = anyio.Event()

    def on_event(event: oci.Event) -> None:
        if isinstance(event, oci.RequestSent) and event.method == "PUT" and "/sha256-" in event.url:
            reached.set()

    scopes = [anyio.CancelScope() for _ in manifests]

    async def push(number: int) -> None:
        with scopes[number]:
            await repo.manifests.push(manifests[number])

    with oci.observe(on_event):
        async with anyio.create_task_group() as tasks:
            for number in range(4):
                tasks.start_soon(push, number)
            await reached.wait()
            scopes[0].cancel()
            scopes[2].cancel()

    kept = {entry.digest for entry in await listed(repo, subject)}
    assert {manifests[1].digest, manifests[3].digest} <= kept
    assert not repo.registry.referrer_queues


async def test_tag_that_is_no_list(repo: oci.Repository) -> None:
    """It is left as it is, and the error says so; the manifest itself is there."""
    subject = (await push_image(repo)).descriptor
    tag = str(subject.digest).replace(":", "-")
    image = await push_image(repo, [b"other"], tag=tag)
    manifest = await signature(repo, subject)

    with pytest.raises(oci.InvalidManifest, match="list of referrers"):
        await repo.manifests.push(manifest)

    assert (await repo.manifests.stat(tag)).digest == image.digest
    assert (await repo.manifests.get(manifest.digest)).raw == manifest.raw


async def test_registry_that_notes_the_subject(client: oci.Client) -> None:
    """Then nothing more is asked, the first time, too."""
    async with serve_registry(strict=True) as registry:
        repo = client.registry(registry.url).repository("team/app")
        subject = (await push_image(repo)).descriptor
        manifest = await signature(repo, subject)
        sent(registry)

        await repo.manifests.push(manifest)

        assert sent(registry) == ["PUT manifests"]
        assert repo.registry.learned.referrers_api is True


async def test_registry_that_notes_another_subject(
    client: oci.Client, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told to the log: nothing that we could do would be right."""
    async with serve_registry() as registry:
        repo = client.registry(registry.url).repository("team/app")
        subject = (await push_image(repo)).descriptor
        registry.faults.add(Fault(method="PUT", headers={"OCI-Subject": f"sha256:{'0' * 64}"}))
        await repo.manifests.push(await signature(repo, subject))
    assert "000000" in caplog.text


async def test_subject_that_is_missing(repo: oci.Repository) -> None:
    """The specification lets it come later."""
    subject = oci.Descriptor(media_type=oci.MediaType.IMAGE_MANIFEST, digest=oci.Digest.of(b"later"), size=5)
    manifest = await signature(repo, subject)
    await repo.manifests.push(manifest)
    assert [entry.digest for entry in await repo.referrers.get(subject)] == [manifest.digest]


async def test_delete_with_a_condition(repo: oci.Repository, registry: RunningRegistry) -> None:
    """Who leaves the list overwrites nobody either."""
    subject = (await push_image(repo)).descriptor
    first, second = [await signature(repo, subject, number) for number in range(2)]
    for manifest in (first, second):
        await repo.manifests.push(manifest)
    sent(registry)

    await repo.manifests.delete(first.digest)

    assert sent(registry)[-2:] == ["GET list", "PUT list if-match"]
    assert [entry.digest for entry in await listed(repo, subject)] == [second.digest]


PUSHER = """
import asyncio, sys
import oci_distribution as oci

async def main(name, subject, first):
    async with oci.Client() as client:
        repo = client.repository(name)
        described = await repo.manifests.stat(subject)
        config = await repo.blobs.push(b"{}", media_type="application/vnd.example.signature")
        manifests = [
            oci.Manifest.of(oci.ImageManifest(
                config=config, layers=(config,), subject=described, annotations={"number": str(number)}
            ))
            for number in range(first, first + 5)
        ]
        print("ready", flush=True)
        sys.stdin.readline()
        async with asyncio.TaskGroup() as tasks:
            for manifest in manifests:
                tasks.create_task(repo.manifests.push(manifest))

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


async def push_from_four_processes(name: str, subject: oci.Digest) -> None:
    """Let twenty pushers in four processes start at once."""
    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(_run_pusher, name, subject, number * 5)


async def _run_pusher(name: str, subject: oci.Digest, first: int) -> None:
    command = [sys.executable, "-c", PUSHER, name, subject, str(first)]
    async with await anyio.open_process(command, stderr=None) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        said = b""
        while not said.endswith(b"\n"):
            said += await process.stdout.receive()
        await process.stdin.send(b"go\n")
        assert await process.wait() == 0


@pytest.mark.parametrize("profile", ["specification", "distribution-2.8"])
async def test_twenty_pushers_in_four_processes(client: oci.Client, profile: str) -> None:
    """All are on the list in the end, whether the registry honours conditions or not."""
    async with serve_registry(profile=profile, referrers=False) as registry:
        repo = client.registry(registry.url).repository("team/app")
        subject = await push_image(repo)
        await push_from_four_processes(f"{registry.url}/team/app", subject.digest)

        numbers = {entry.annotations["number"] for entry in await listed(repo, subject.descriptor)}
        assert numbers == {str(number) for number in range(20)}
