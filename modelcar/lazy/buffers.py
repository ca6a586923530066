"""Memory for chunks on their way: as much as streams flow at once, whichever threads they run in."""

from __future__ import annotations

import mmap
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from modelcar.layers.hashing import CHUNK_SIZE

__all__ = ["ChunkBuffers", "chunk_buffers"]

_KEPT: Final = 2  # buffers that are kept while nothing flows


class ChunkBuffers:
    """Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: list[memoryview] = []
        self._lent = 0

    @contextmanager
    def lend(self) -> Iterator[memoryview]:
        """`CHUNK_SIZE` bytes for the block, with anything in them."""
        with self._lock:
            self._lent += 1
            buffer = self._free.pop() if self._free else None
        if buffer is None:
            buffer = memoryview(_allocated())
        try:
            yield buffer
        finally:
            with self._lock:
                self._lent -= 1
                self._free.append(buffer)
                if not self._lent:
                    del self._free[_KEPT:]


def _allocated() -> mmap.mmap:
    """Not a bytearray: one is zeroed, and all threads wait for that."""
    if sys.platform != "linux":
        return mmap.mmap(-1, CHUNK_SIZE)
    memory = mmap.mmap(-1, CHUNK_SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without them
        memory.madvise(mmap.MADV_HUGEPAGE)  # a thousand page faults less
    return memory


chunk_buffers: Final = ChunkBuffers()
