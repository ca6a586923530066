"""A fanotify group whose kernel is the test."""

from __future__ import annotations

import os
import queue
import struct

from modelcar.mounts.erofs.fanotify import CLOSED, Group

__all__ = ["PRE_ACCESS", "ScriptedGroup", "raw_event"]

PRE_ACCESS = 0x00100000


def raw_event(fd: int, offset: int, count: int, *, mask: int = PRE_ACCESS, pid: int = 1) -> bytes:
    """As the kernel writes it: with a range, unless it is the news that a file was closed."""
    if mask == CLOSED:
        return struct.pack("<IBBHQii", 24, 3, 0, 24, mask, fd, pid)
    return struct.pack("<IBBHQii", 48, 3, 0, 24, mask, fd, pid) + struct.pack("<BBHIQQ", 6, 0, 24, 0, offset, count)


class ScriptedGroup(Group):
    """`answers` are number and errno, in the order in which they were given."""

    def __init__(self) -> None:
        super().__init__(-1)
        self.answers: list[tuple[int, int]] = []
        self.ignored: list[int] = []  # inodes
        self.heeded: list[int] = []
        self._events: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def ask(self, file: int, offset: int, count: int) -> int:
        """A reader wants to read; the number of the question."""
        number = os.dup(file)
        self._events.put(raw_event(number, offset, count))
        return number

    def end(self) -> None:
        """The file system is gone."""
        self._events.put(raw_event(os.open(os.devnull, os.O_RDONLY), 0, 0, mask=CLOSED))

    def read(self, buffer: memoryview) -> int:
        event = self._events.get()
        buffer[: len(event)] = event
        return len(event)

    def answer(self, fd: int, error: int) -> None:
        os.fstat(fd)  # an answer to a number that is free could meet a later question
        self.answers.append((fd, error))

    def ignore(self, file: int) -> None:
        self.ignored.append(os.fstat(file).st_ino)

    def heed(self, file: int) -> None:
        self.heeded.append(os.fstat(file).st_ino)
