"""What a client knows of the blobs of its mount: their open files, which bytes can be read, and which are lost."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from contextlib import suppress

from modelcar.errors import StorageError
from modelcar.mounts.link.ranges import Ranges

__all__ = ["KnownBlobs"]

_Told = Callable[[int], None]


class KnownBlobs:
    """Safe to use from several threads. Close it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: list[int] = []
        self._here: list[Ranges] = []
        self._whole: set[int] = set()
        self._lost: dict[int, int] = {}
        self._tell_lost: list[_Told] = []
        self._tell_whole: list[_Told] = []

    def __len__(self) -> int:
        return len(self._files)

    def fileno(self, blob: int) -> int:
        return self._files[blob]

    def readable(self, blob: int, offset: int, length: int) -> bool:
        with self._lock:
            return blob not in self._lost and self._here[blob].covers(offset, offset + length)

    def lost(self, blob: int) -> int:
        return self._lost.get(blob, 0)

    def take(self, first: int, files: list[int]) -> list[int]:
        """Files of blobs from `first` on; returns those that are not needed, for the caller to close.

        The file of a blob that has one already must be that very file: what was said of its bytes goes for no other,
        and the kernel may read it by itself. Else the blob is lost.

        Raises:
            StorageError: files are left out.
        """
        spare = []
        for blob, fd in enumerate(files, first):
            if blob < len(self._files):
                spare.append(fd)
                if not _same(self._files[blob], fd):
                    self.lose(blob, errno.EIO)
            elif blob == len(self._files):
                with self._lock:
                    self._files.append(fd)
                    self._here.append(Ranges())
            else:
                for left in (*spare, *files[blob - first :]):
                    os.close(left)
                raise StorageError(f"the host has sent no file of blob {len(self._files)}")
        return spare

    def add(self, blob: int, start: int, stop: int) -> None:
        """These bytes can be read from now on."""
        with self._lock:
            if 0 <= blob < len(self._files):
                self._here[blob].add(start, stop)

    def complete(self, blob: int, size: int) -> None:
        """All of a blob can be read from now on."""
        self.add(blob, 0, size)
        with self._lock:
            if not 0 <= blob < len(self._files) or blob in self._whole or blob in self._lost:
                return
            self._whole.add(blob)
        self._tell(self._tell_whole, blob)

    def lose(self, blob: int, error: int) -> None:
        """Nothing of it may be read any more."""
        with self._lock:
            if not 0 <= blob < len(self._files) or blob in self._lost:
                return
            self._lost[blob] = error
        self._tell(self._tell_lost, blob)

    def on_lost(self, told: _Told) -> None:
        with self._lock:
            self._tell_lost.append(told)
            already = list(self._lost)
        for blob in already:
            told(blob)

    def on_whole(self, told: _Told) -> None:
        with self._lock:
            self._tell_whole.append(told)
            already = sorted(self._whole - self._lost.keys())
        for blob in already:
            told(blob)

    def close(self) -> None:
        with self._lock:
            files, self._files = self._files, []
        for fd in files:
            os.close(fd)

    def _tell(self, whom: list[_Told], blob: int) -> None:
        for told in list(whom):
            with suppress(Exception):  # whoever listens has to look after itself
                told(blob)


def _same(one: int, other: int) -> bool:
    a, b = os.fstat(one), os.fstat(other)
    return (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
