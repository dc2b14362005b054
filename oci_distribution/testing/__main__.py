"""`python -m oci_distribution.testing`: a registry from the shell."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

import anyio

from oci_distribution.testing import (
    PROFILES,
    BasicAuth,
    DirectoryStorage,
    MemoryStorage,
    RegistryApp,
    RequestLog,
    TokenAuth,
    serve_registry,
)
from oci_distribution.testing.extra import MissingExtra

_LAST_PORT = 65535


def _user(text: str) -> tuple[str, str]:
    name, colon, password = text.partition(":")
    if not name or not colon:
        msg = "must be user:password"
        raise argparse.ArgumentTypeError(msg)
    return name, password


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > _LAST_PORT:
        msg = f"must be a number up to {_LAST_PORT}"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m oci_distribution.testing",
        description="Serve a registry for development and tests. Prints its URL when it is ready.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--address", default="127.0.0.1", help="IP address to listen at (default: %(default)s)"
    )
    parser.add_argument("--port", type=_port, default=0, help="port to listen at (default: a free one)")
    parser.add_argument("--storage", metavar="DIRECTORY", help="where to keep content (default: in memory)")
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--auth", metavar="USER:PASSWORD", type=_user, action="append", help="want Basic credentials"
    )
    group.add_argument(
        "--token-auth", metavar="USER:PASSWORD", type=_user, action="append", help="want Bearer tokens"
    )
    parser.add_argument("--tls", action="store_true", help="serve https, with a certificate made up for it")
    parser.add_argument(
        "--ca-file",
        metavar="FILE",
        type=Path,
        help="where to write the certificate that clients trust (default: a new file, named on stderr)",
    )
    parser.add_argument(
        "--sparse", action="store_true", help="accept manifests before everything that they refer to is there"
    )
    parser.add_argument(
        "--profile",
        default="specification",
        choices=PROFILES,
        metavar="NAME",
        help=f"behave like {', '.join(PROFILES)}",
    )
    parser.add_argument(
        "--admin", action="store_true", help="let anybody add faults, as JSON, at /_admin/faults"
    )
    return parser


def _make_app(arguments: argparse.Namespace) -> RegistryApp:
    auth: BasicAuth | TokenAuth | None = None
    if arguments.auth:
        auth = BasicAuth(dict(arguments.auth))
    elif arguments.token_auth:
        auth = TokenAuth(dict(arguments.token_auth))
    storage = MemoryStorage() if arguments.storage is None else DirectoryStorage(arguments.storage)
    return RegistryApp(
        storage=storage,
        auth=auth,
        sparse=arguments.sparse,
        profile=arguments.profile,
        admin=arguments.admin,
        requests=RequestLog(limit=0),
    )


@contextmanager
def _certificate_file(pem: bytes, path: Path | None) -> Generator[None]:
    """Write the certificate where the user wants it, or to a file that is gone with the registry."""
    if path is not None:
        path.write_bytes(pem)
        yield
        return
    with NamedTemporaryFile(prefix="registry-ca-", suffix=".pem") as file:
        file.write(pem)
        file.flush()
        sys.stderr.write(f"clients have to trust {file.name}\n")
        sys.stderr.flush()
        yield


async def _serve(arguments: argparse.Namespace) -> None:
    with ExitStack() as stack, anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        app = _make_app(arguments)
        async with serve_registry(
            app=app, address=arguments.address, port=arguments.port, tls=arguments.tls
        ) as registry:
            if arguments.tls:
                stack.enter_context(_certificate_file(registry.ca_pem, arguments.ca_file))
            sys.stdout.write(f"{registry.url}\n")  # in one piece: somebody waits for this line
            sys.stdout.flush()
            async for _ in signals:
                break


def main(argv: Sequence[str] | None = None) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        argv: Arguments; those of the process when None.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.ca_file is not None and not arguments.tls:
        parser.error("--ca-file needs --tls")
    try:
        anyio.run(_serve, arguments)
    except (OSError, MissingExtra) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
