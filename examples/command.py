"""What the example scripts have in common: how they end."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Coroutine

import oci_distribution as oci


def run(job: Coroutine[None, None, None], *, on_cancel: str) -> int:
    """Run a job, and return the exit status; SIGTERM does what Ctrl-C does.

    Args:
        job: What to do; an error of it becomes one line, and status 1.
        on_cancel: What to tell who stopped it; the status is 130 then.
    """
    try:
        asyncio.run(_until_sigterm(job))
    except oci.OCIError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        print(f"cancelled; {on_cancel}", file=sys.stderr)
        return 130
    return 0


async def _until_sigterm(job: Coroutine[None, None, None]) -> None:
    """Let SIGTERM cancel, so that everything is cleaned up on the way out."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await job
