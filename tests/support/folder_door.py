"""A door between processes whose other side is a folder: the test writes what arrives into it, workers look."""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from modelcar.mounts.door import Answered

__all__ = ["CHUNK", "FolderBlobs", "FolderDoor"]

CHUNK: Final = 4096  # bytes, the unit of arrival
_POLL: Final = 0.001  # seconds
_FAILED, _LOST, _STUCK, _CHUNKS = 0, 1, 2, 4096
"""In the state of a blob: the errno for whoever waits, the errno of one that was revoked, whether who asks is stuck, a
byte for each chunk."""


def _chunks(size: int) -> int:
    return -(-size // CHUNK)


class _State:
    """One byte for each chunk that is here, in memory shared by all processes, after a page of other news."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self.memory = mmap.mmap(file.fileno(), 0)

    def here(self, offset: int, length: int) -> bool:
        return self.memory.find(b"\0", _CHUNKS + offset // CHUNK, _CHUNKS + -(-(offset + length) // CHUNK)) < 0


class FolderBlobs:
    """The test's side. `contents`: what the blobs hold, or their size if they are zeros that take no space."""

    def __init__(self, folder: Path, contents: Sequence[bytes | int]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._contents = contents
        for number, content in enumerate(contents):
            size = content if isinstance(content, int) else len(content)
            with open(folder / f"blob-{number}", "wb") as file:
                file.truncate(size)
            with open(folder / f"state-{number}", "wb") as file:
                file.truncate(_CHUNKS + max(1, _chunks(size)))
        self._states = [_State(folder / f"state-{number}") for number in range(len(contents))]

    def arrive(self, blob: int, first: int = 0, count: int | None = None) -> None:
        """Chunks `first` and after are here."""
        content = self._contents[blob]
        size = content if isinstance(content, int) else len(content)
        stop = _chunks(size) if count is None else min(_chunks(size), first + count)
        if isinstance(content, bytes):
            with open(self.folder / f"blob-{blob}", "r+b") as file:
                os.pwrite(file.fileno(), content[first * CHUNK : stop * CHUNK], first * CHUNK)
        self._states[blob].memory[_CHUNKS + first : _CHUNKS + stop] = b"\1" * (stop - first)

    def arrive_all(self) -> None:
        for blob in range(len(self._contents)):
            self.arrive(blob)

    def fail(self, blob: int, number: int) -> None:
        """Whoever waits for this blob gets an `errno`, until it is 0 again."""
        self._states[blob].memory[_FAILED] = number

    def block(self, blob: int, *, stuck: bool) -> None:
        """Threads that ask for this blob do not come back, as in a deadlock."""
        self._states[blob].memory[_STUCK] = stuck

    def revoke(self, blob: int, number: int) -> None:
        self._states[blob].memory[_LOST] = number


class FolderDoor:
    """The worker's side: looks every millisecond for what it waits for."""

    def __init__(self, folder: Path) -> None:
        count = len(list(folder.glob("blob-*")))
        self._files = [os.open(folder / f"blob-{number}", os.O_RDONLY) for number in range(count)]
        self._states = [_State(folder / f"state-{number}") for number in range(count)]
        self._waiting: list[tuple[int, int, int, Answered]] = []
        self._told: list[Callable[[int], None]] = []
        self._told_of: set[int] = set()
        self._told_whole: list[Callable[[int], None]] = []
        self._whole: set[int] = set()
        self._closed = False
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def fileno(self, blob: int) -> int:
        return self._files[blob]

    def readable(self, blob: int, offset: int, length: int) -> bool:
        return not self.lost(blob) and self._states[blob].here(offset, length)

    def ask(self, blob: int, offset: int, length: int, answered: Answered) -> None:
        while self._states[blob].memory[_STUCK]:
            time.sleep(_POLL)
        self._waiting.append((blob, offset, length, answered))

    def lost(self, blob: int) -> int:
        return self._states[blob].memory[_LOST]

    def on_whole(self, told: Callable[[int], None]) -> None:
        self._told_whole.append(told)

    def on_lost(self, told: Callable[[int], None]) -> None:
        self._told.append(told)

    def close(self) -> None:
        self._closed = True
        self._thread.join()
        for file in self._files:
            os.close(file)

    def _is_whole(self, blob: int) -> bool:
        return self.readable(blob, 0, os.fstat(self._files[blob]).st_size)

    def _look(self) -> None:
        while not self._closed:
            for blob in range(len(self._states)):
                if self.lost(blob) and self._told and blob not in self._told_of:
                    self._told_of.add(blob)
                    for told in self._told:
                        told(blob)
                if self._told_whole and blob not in self._whole and self._is_whole(blob):
                    self._whole.add(blob)
                    for told in self._told_whole:
                        told(blob)
            for waiting in list(self._waiting):
                blob, offset, length, answered = waiting
                failure = self.lost(blob) or self._states[blob].memory[_FAILED]
                if failure or self.readable(blob, offset, length):
                    self._waiting.remove(waiting)
                    answered(failure)
            time.sleep(_POLL)
