"""What the kernel has read through the mount lies in memory twice: as pages of the file, and of the blob. The second
copy is let go of. What was fetched and not read yet stays: it has but one."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from modelcar.errors import StorageError
from modelcar.mounts.erofs.clones import private_clone
from modelcar.mounts.erofs.resident import resident
from modelcar.mounts.plan import MountedFile, MountPlan

__all__ = ["SecondCopies"]

_WINDOW: Final = 16 << 20  # bytes; a large folio is dropped as a whole or not at all, so whole ones must be meant


class SecondCopies:
    def __init__(self, fileno: Callable[[int], int], plan: MountPlan, *, target: Path) -> None:
        """`fileno(blob)` is an open file; `target` is where the plan is mounted."""
        self._fileno, self._plan, self._target = fileno, plan, target

    def sweep(self) -> None:
        """Drop what is in memory twice. Nothing but memory is lost if that cannot be."""
        with suppress(OSError, StorageError):
            held = [n for n, blob in enumerate(self._plan.blobs) if resident(self._fileno(n), 0, blob.size)]
            if held:
                with _looked_at(self._target) as mount:
                    for blob in held:
                        self._sweep(blob, mount)

    def _sweep(self, blob: int, mount: int) -> None:
        file = self._fileno(blob)
        os.fdatasync(file)  # only what is on the disk can be dropped
        shown: Counter[int] = Counter()
        for entry in self._plan.files:
            if entry.blob == blob and entry.size:
                with _opened(mount, entry.path) as descriptor:
                    shown.update(_windows(entry, descriptor))
        for start, size in shown.items():
            if size * 2 > resident(file, start, _WINDOW) > 0:
                os.posix_fadvise(file, start, _WINDOW, os.POSIX_FADV_DONTNEED)


def _windows(file: MountedFile, descriptor: int) -> dict[int, int]:
    """How much of each window of the blob is in memory as part of this file of the mount."""
    end = file.offset + file.size
    found = {}
    for start in range(file.offset // _WINDOW * _WINDOW, end, _WINDOW):
        first, last = max(file.offset, start), min(end, start + _WINDOW)
        found[start] = resident(descriptor, first - file.offset, last - first)
    return found


@contextmanager
def _looked_at(target: Path) -> Iterator[int]:
    """A clone of the mount, for a moment: nobody finds it in use when he wants to unmount it."""
    with _opened(None, target, os.O_PATH) as place:
        clone = private_clone(place)
    try:
        yield clone
    finally:
        os.close(clone)


@contextmanager
def _opened(folder: int | None, path: str | Path, flags: int = os.O_RDONLY | os.O_NOFOLLOW) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
