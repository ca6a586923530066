"""Room for what is mounted: within a budget, and on the disk."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from modelcar.cache.stored import look_up, oldest_first, scan, taken
from modelcar.disk import Disk
from modelcar.errors import NoSpace, StorageError
from modelcar.oci import Digest
from modelcar.store.layout import OciLayout

__all__ = ["Room"]

_SPARE: Final = 256 << 20  # bytes of the disk that are left to others


class Room:
    """What was not used for longest goes first; what is mounted stays. Safe to use from several threads.

    Args:
        evict: `Cache.evict`.
        coming: bytes that blobs which arrive have yet to write.
        budget: bytes that all blobs may have together; `None` is all that the disk has.
    """

    def __init__(
        self,
        root: Path,
        layout: OciLayout,
        evict: Callable[[Digest], bool],
        coming: Callable[[], int],
        budget: int | None = None,
    ) -> None:
        self._root, self._layout, self._evict, self._coming = root, layout, evict, coming
        self.budget = budget
        self._lock = threading.Lock()

    def make(self, digest: Digest, size: int) -> None:
        """Before a blob of `size` bytes begins to arrive, or goes on to. Raises `NoSpace` if there is none for it."""
        with self._lock:
            missing = self._lacking(digest, size)
            for other in oldest_first(scan(self._root).values()) if missing > 0 else ():
                if other.digest != digest and self._give_up(other.digest):
                    missing -= other.size
                    if missing <= 0 and (missing := self._lacking(digest, size)) <= 0:  # blocks may be shared
                        break
        if missing > 0:
            limit = "the budget" if self.budget is not None else f"the disk of {self._root}"
            raise NoSpace(
                f"{missing >> 20} MiB more are needed than {limit} has room for",
                hint="unmount something, free some space, or put MODELCAR_HOME elsewhere",
            )

    def free(self) -> int:
        """Remove whatever nobody uses; returns the bytes on disk that it took. Raises `StorageError`."""
        with self._lock:
            return sum(each.size for each in scan(self._root).values() if self._give_up(each.digest))

    def used(self, digest: Digest) -> None:
        """It is mounted now, so it is not the first to go afterwards."""
        with suppress(OSError):
            os.utime(self._layout.path(digest))

    def _lacking(self, digest: Digest, size: int) -> int:
        """Bytes by which what is on its way, and what `size` bytes of a blob lack yet, would be too much."""
        here = look_up(self._root, [digest]).get(digest)
        coming = self._coming() + max(0, size - (here.size if here is not None else 0))
        lacking = coming + _SPARE - Disk.of(self._root).free
        if self.budget is not None:
            lacking = max(lacking, coming + taken(self._root) - self.budget)
        return lacking

    def _give_up(self, digest: Digest) -> bool:
        try:
            return self._evict(digest)
        except StorageError:
            return False
