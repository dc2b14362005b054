"""A web application that passes blobs and manifests of a registry on to its own clients.

    python examples/fastapi_proxy.py ghcr.io --port 8000
    curl -r 0-99 http://127.0.0.1:8000/org/app/blobs/sha256:…

Ranges, HEAD and entity tags are answered, bytes go through as they come, verified, and no faster than the
client takes them. Who may ask for what is the application's business; here it is everybody on this machine.
"""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import uvicorn
from fastapi import APIRouter, Depends, FastAPI, Request

import oci_distribution as oci
from oci_distribution.web import BlobResponse, ManifestResponse, oci_error_handler

router = APIRouter()


async def repository_of(request: Request, repository: str) -> oci.Repository:
    """Return the repository that the path names, over the one client of the application."""
    registry: oci.Registry = request.state.registry
    return registry.repository(repository)


@router.head("/{repository:path}/blobs/{digest}", include_in_schema=False)
@router.get("/{repository:path}/blobs/{digest}")
async def get_blob(repo: Annotated[oci.Repository, Depends(repository_of)], digest: str) -> BlobResponse:
    """Pass a blob on; it never changes, so it may be kept for ever."""
    return BlobResponse(repo, digest, headers={"Cache-Control": "private, max-age=31536000, immutable"})


@router.head("/{repository:path}/manifests/{reference}", include_in_schema=False)
@router.get("/{repository:path}/manifests/{reference}")
async def get_manifest(
    repo: Annotated[oci.Repository, Depends(repository_of)], reference: str
) -> ManifestResponse:
    """Pass a manifest on; a tag may move, so it is asked for anew."""
    return ManifestResponse(repo, reference, headers={"Cache-Control": "no-cache"})


def proxy(registry: str) -> FastAPI:
    """Return the application for a registry."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, oci.Registry]]:
        async with oci.Client() as client:
            yield {"registry": client.registry(registry)}

    app = FastAPI(title=f"Blobs and manifests of {registry}", lifespan=lifespan)
    app.add_exception_handler(oci.OCIError, oci_error_handler)
    app.include_router(router)
    return app


def main(arguments: list[str] | None = None) -> None:
    """Run from the command line until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="Pass blobs and manifests of a registry on.")
    parser.add_argument("registry", help="ghcr.io, localhost:5000, http://registry.lan:5000")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args(arguments)
    uvicorn.run(proxy(options.registry), host=options.host, port=options.port)


if __name__ == "__main__":
    main()
