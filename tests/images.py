"""Small images for tests, pushed into any store."""

from __future__ import annotations

import json
from collections.abc import Sequence

import oci_distribution as oci


async def push_blob(
    store: oci.Store, data: bytes, media_type: str = oci.MediaType.IMAGE_LAYER
) -> oci.Descriptor:
    """Push `data`, and return its descriptor."""
    descriptor = oci.Descriptor(media_type=media_type, digest=oci.Digest.of(data), size=len(data))
    await store.push_blob(descriptor, oci.BytesSource(data))
    return descriptor


async def push_image(
    store: oci.Store,
    layers: Sequence[bytes] = (b"layer one", b"layer two"),
    *,
    tag: str | None = None,
    os: str = "linux",
) -> oci.Manifest:
    """Push an image with these layers."""
    config = await push_blob(store, json.dumps({"os": os}).encode(), oci.MediaType.IMAGE_CONFIG)
    pushed = [await push_blob(store, layer) for layer in layers]
    manifest = oci.Manifest.of(oci.ImageManifest(config=config, layers=tuple(pushed)))
    await store.push_manifest(manifest, tags=() if tag is None else (tag,))
    return manifest


async def push_index(
    store: oci.Store, images: Sequence[oci.Manifest], *, tag: str | None = None
) -> oci.Manifest:
    """Push an index of manifests that are there."""
    index = oci.Manifest.of(oci.ImageIndex(manifests=tuple(image.descriptor for image in images)))
    await store.push_manifest(index, tags=() if tag is None else (tag,))
    return index


async def holdings(store: oci.Store, reference: str) -> set[str]:
    """Read everything below a reference, verified, and return the digests."""
    manifest = await store.fetch_manifest(reference)
    found = {str(manifest.digest)}
    for child in manifest.children:
        if isinstance(manifest.content, oci.ImageIndex):
            found |= await holdings(store, child.digest)
        else:
            async with store.open_blob(child) as stream:
                assert sum([len(piece) async for piece in stream]) == child.size
            found.add(child.digest)
    return found
