"""A web application that takes files of any size, and streams them into a registry as they come.

    python examples/fastapi_upload.py localhost:5000/team/uploads --port 8000
    curl -T video.mp4 http://127.0.0.1:8000/files/video.mp4

No file is kept here, on disk or in memory: a chunk at most waits for the registry, and a client is slowed
down to what that takes. A client that goes away half-way leaves nothing behind.
"""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from starlette.requests import ClientDisconnect

import oci_distribution as oci
from oci_distribution.web import oci_error_handler


def application(repository: str) -> FastAPI:
    """Return the application for a repository."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, oci.Repository]]:
        async with oci.Client() as client:
            yield {"repository": client.repository(repository)}

    app = FastAPI(title=f"Files for {repository}", lifespan=lifespan)
    app.add_exception_handler(oci.OCIError, oci_error_handler)

    @app.put("/files/{name}", status_code=201)
    async def put_file(request: Request, name: str) -> dict[str, str | int]:
        """Store what the client sends as a blob, and say what to ask the registry for."""
        repo: oci.Repository = request.state.repository
        try:
            blob = await repo.blobs.push(request.stream())
        except ClientDisconnect:
            raise HTTPException(499, "the client went away") from None
        return {"name": name, "digest": blob.digest, "size": blob.size}

    return app


def main(arguments: list[str] | None = None) -> None:
    """Run from the command line until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="Take files, and stream them into a registry.")
    parser.add_argument("repository", help="ghcr.io/org/uploads, localhost:5000/team/uploads")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args(arguments)
    uvicorn.run(application(options.repository), host=options.host, port=options.port)


if __name__ == "__main__":
    main()
