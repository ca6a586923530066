"""Whether this node lives (else restart it) and is ready (else send nobody).

What is wrong with an upstream or a peer makes no node unready: it still has what it has, and its neighbours ask it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

__all__ = ["Health"]

_PROBE_SECONDS: Final = 5.0
_STALE_SECONDS: Final = 60.0  # so long a probe of the disk may take before the node counts as dead
_FULL: Final = (
    errno.ENOSPC,
    errno.EDQUOT,
)  # what is here is served all the same, and to peers, who ask ready nodes only
_log = logging.getLogger("registry_shim")


class Health:
    """Probes the folder in a thread every few seconds, so that a health check itself never waits for the disk.

    `writes` is whether the node needs to write there at all.
    """

    def __init__(self, root: Path, *, writes: bool, probe_seconds: float = _PROBE_SECONDS) -> None:
        self._root = root
        self._writes = writes
        self._probe_seconds = probe_seconds
        self._problem: str | None = "it is starting"
        self._stopping = False
        self._probed = time.monotonic()
        self._thread = ThreadPoolExecutor(1, "registry-shim-health")  # its own: the others may all wait for the disk
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Probe once, and then again and again."""
        await self._probe()
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        self._thread.shutdown(wait=False)

    def stop(self) -> None:
        """Not ready from now on: the node is about to end."""
        self._stopping = True

    def unready(self) -> str | None:
        """Why nobody should be sent here, if so."""
        return "it is stopping" if self._stopping else self._problem or self.dead()

    def dead(self) -> str | None:
        """Why this process should be restarted, if so: the disk stands still, and threads with it. That the event loop
        turns is seen by there being an answer."""
        if self._task is not None and time.monotonic() - self._probed > self._probe_seconds + _STALE_SECONDS:
            return f"{self._root} does not answer"
        return None

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._probe_seconds)
            await self._probe()

    async def _probe(self) -> None:
        before = self._problem
        self._problem = await asyncio.get_running_loop().run_in_executor(self._thread, _look, self._root, self._writes)
        self._probed = time.monotonic()
        if self._problem is not None and self._problem != before:
            _log.error("this node is not ready: %s", self._problem)


def _look(root: Path, writes: bool) -> str | None:
    """What is wrong with the folder."""
    probe = root / ".health"
    try:
        if not writes:
            os.listdir(root)  # noqa: PTH208  # only whether it can be read
            return None
        try:
            probe.write_bytes(b"1")
        finally:
            with contextlib.suppress(OSError):
                probe.unlink()
    except OSError as e:
        if e.errno in _FULL:
            return None
        return f"cannot {'write to' if writes else 'read'} {root}: {e.strerror}"
    return None
