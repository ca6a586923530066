"""Blobs that need no more questions, and blobs that are read no more."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

from modelcar.errors import StorageError
from modelcar.mounts.door import Door
from modelcar.mounts.erofs.fanotify import Group
from modelcar.mounts.plan import MountPlan

__all__ = ["Marks"]


class Marks:
    """A blob that is whole is read without us; one that is revoked asks again, and its pages are dropped."""

    def __init__(self, group: Group, plan: MountPlan, door: Door, *, target: Path) -> None:
        self._group, self._plan, self._door = group, plan, door
        self._target = target
        self._lock = threading.Lock()

    def follow(self) -> None:
        """From now on; for what the door knows already, too."""
        self._door.on_whole(self._whole)
        self._door.on_lost(self._lost)
        for blob in range(len(self._plan.blobs)):
            if self._door.lost(blob):
                self._lost(blob)

    def _whole(self, blob: int) -> None:
        with self._lock, suppress(StorageError, OSError):  # then it asks on, and is answered
            if not self._door.lost(blob):
                self._group.ignore(self._door.fileno(blob))

    def _lost(self, blob: int) -> None:
        with self._lock:
            file = self._door.fileno(blob)
            self._group.heed(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            for path in (file.path for file in self._plan.files if file.blob == blob):
                self._forget(path)

    def _forget(self, path: str) -> None:
        """Drop what the kernel keeps of a file; pages that somebody has mapped stay with them."""
        with suppress(OSError):  # unmounted, or out of sight
            file = os.open(self._target / path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(file)
