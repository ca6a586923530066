"""What a revoked blob's files still have in the kernel's page cache is dropped."""

from __future__ import annotations

import os
import queue
import time
from contextlib import suppress
from typing import Final

from modelcar.mounts.fuse import wire
from modelcar.mounts.fuse.tree import Tree

__all__ = ["Revoking", "Turns"]

_POLL: Final = 0.002  # seconds


class Turns:
    """Who is sending bytes right now. A number for each thread that sends: odd while it does."""

    def __init__(self, threads: int) -> None:
        self._turns = [0] * threads

    def step(self, thread: int) -> None:
        """That thread begins, or has done."""
        self._turns[thread] += 1

    def now(self) -> list[tuple[int, int]]:
        """Each thread that sends, with its turn."""
        return [(thread, turn) for thread, turn in enumerate(self._turns) if turn % 2]

    def wait_for_all(self) -> None:
        """Returns when whatever was being sent is sent."""
        before = list(self._turns)
        for thread, turn in enumerate(before):
            while turn % 2 and self._turns[thread] == turn:
                time.sleep(_POLL)


class Revoking:
    """`run` in a thread of its own: dropping pages waits for reads of them, which others are to answer."""

    def __init__(self, device: int, tree: Tree, turns: Turns) -> None:
        self._device = device
        self._tree = tree
        self._turns = turns
        self._blobs: queue.SimpleQueue[int | None] = queue.SimpleQueue()

    def lost(self, blob: int) -> None:
        """To be called when the door already says so."""
        self._blobs.put(blob)

    def run(self) -> None:
        while (blob := self._blobs.get()) is not None:
            # What a thread had begun to send before would come into the cache after it was emptied.
            self._turns.wait_for_all()
            for node in self._tree.files_in(blob):
                with suppress(OSError):  # ENOENT: the kernel does not know this file
                    os.write(self._device, wire.drop_pages(node))

    def close(self) -> None:
        self._blobs.put(None)
