"""nginx as a registry that one can read from: files under the paths of the specification, over TLS."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import trustme

from benchmarks.content import Blob, make_blob
from benchmarks.services import free_port, require, wait_for_port

HOST = "127.0.0.1"
REPOSITORY = "bench"
SLOW = "slow"

# One process, so that its id is all there is to stop.
CONFIG = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log off;
  sendfile on;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{
    listen {host}:{port} ssl;
    ssl_certificate {folder}/certificate.pem;
    ssl_certificate_key {folder}/key.pem;
    root {folder}/content;
    location /v2/{slow}/ {{ limit_rate {rate}; }}
  }}
}}
"""


class Nginx(NamedTuple):
    """A running nginx: its `https://host:port`, who vouches for it, and where its content is."""

    url: str
    authority: Path
    content: Path

    def add(self, repository: str, size: int) -> Blob:
        """Make a blob of `size` bytes, and serve it."""
        blobs = self.content / "v2" / repository / "blobs"
        blobs.mkdir(parents=True, exist_ok=True)
        made = make_blob(blobs / "new", size)
        return Blob(made.path.rename(blobs / made.digest), made.digest)


@contextmanager
def nginx(folder: Path, rate: int) -> Iterator[Nginx]:
    """Run nginx with everything that it needs in `folder`.

    Args:
        folder: Must be there.
        rate: Bytes a second that it gives to one connection, for blobs of the repository `SLOW`.
    """
    port = free_port()
    authority = trustme.CA()
    certificate = authority.issue_cert(HOST)
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    certificate.private_key_pem.write_to_path(str(folder / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(folder / "certificate.pem"))
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(folder=folder, host=HOST, port=port, slow=SLOW, rate=rate))
    errors = folder / "error.log"
    command = [require("nginx"), "-e", str(errors), "-p", str(folder), "-c", str(config)]
    with subprocess.Popen(command) as process:
        try:
            wait_for_port(HOST, port)
            yield Nginx(f"https://{HOST}:{port}", folder / "authority.pem", folder / "content")
        finally:
            process.terminate()
