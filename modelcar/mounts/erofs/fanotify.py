"""The kernel's questions before it reads a file (fanotify pre-content events, Linux 6.14), and our answers."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from modelcar.errors import StorageError
from modelcar.mounts import libc

__all__ = ["CLOSED", "EVENT_SIZE", "Event", "Group", "events_in"]

CLOSED: Final = 0x00000010  # FAN_CLOSE_NOWRITE
EVENT_SIZE: Final = 48  # bytes of a question: what every event has, and its range

_PRE_ACCESS: Final = 0x00100000  # FAN_PRE_ACCESS
_INIT: Final = 0x1 | 0x8 | 0x10 | 0x20  # FAN_CLOEXEC, CLASS_PRE_CONTENT, UNLIMITED_QUEUE, UNLIMITED_MARKS
_ADD, _REMOVE, _MOUNT = 0x1, 0x2, 0x10  # FAN_MARK_*
_IGNORED: Final = 0x20 | 0x40  # FAN_MARK_IGNORED_MASK, IGNORED_SURV_MODIFY
_AT_FDCWD: Final = -100
_ALLOW, _DENY = 1, 2
_RANGE: Final = 6  # FAN_EVENT_INFO_TYPE_RANGE
_METADATA: Final = struct.Struct("<IBBHQii")
_INFO: Final = struct.Struct("<BBHIQQ")
_RESPONSE: Final = struct.Struct("<iI")

_libc = libc.library()
_libc.fanotify_mark.argtypes = [ctypes.c_int, ctypes.c_uint, ctypes.c_uint64, ctypes.c_int, ctypes.c_char_p]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Process `pid` (0 if it is in a namespace that is not ours) is about to read `count` bytes of the open file `fd`.

    `fd` is also the number by which the kernel knows the question.
    """

    mask: int
    fd: int
    pid: int
    offset: int = 0
    count: int = 0


def events_in(raw: bytes | bytearray | memoryview) -> Iterator[Event]:
    """What the kernel wrote, up to the first place where nothing is."""
    at = 0
    while at + _METADATA.size <= len(raw):
        length, _, _, head, mask, fd, pid = _METADATA.unpack_from(raw, at)
        if not length:
            return
        offset = count = 0
        if length >= head + _INFO.size:
            kind, _, _, _, offset, count = _INFO.unpack_from(raw, at + head)
            if kind != _RANGE:
                offset = count = 0
        yield Event(mask=mask, fd=fd, pid=pid, offset=offset, count=count)
        at += length


class Group:
    """A fanotify group, by its descriptor. While any process has that open, readers wait for answers; when the last one
    closes it, they all read on, and get zeros where nothing is."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @classmethod
    def create(cls) -> Group:
        """Raises `StorageError` where the kernel or our privileges do not allow it."""
        fd: int = _libc.fanotify_init(_INIT, os.O_RDONLY | os.O_CLOEXEC)
        if fd < 0:
            raise _refused("the kernel cannot ask before it reads a file")
        return cls(fd)

    def watch_mount(self, file: int) -> None:
        """Be asked before anything is read through the mount that `file` was opened in. Raises `StorageError`."""
        self._mark(_ADD | _MOUNT, _PRE_ACCESS, file, "a file system of blobs cannot ask before it is read")

    def ignore(self, file: int) -> None:
        """Be asked no more about a file, through whatever mount. Raises `StorageError`."""
        self._mark(_ADD | _IGNORED, _PRE_ACCESS, file, "cannot stop asking")

    def heed(self, file: int) -> None:
        """Take `ignore` back, if there was one. Raises `StorageError`."""
        self._mark(_REMOVE | _IGNORED, _PRE_ACCESS, file, "cannot ask again", unless=errno.ENOENT)

    def watch_closing(self, file: int) -> None:
        """Be told when a descriptor that can only read the file is closed. Raises `StorageError`."""
        self._mark(_ADD, CLOSED, file, "cannot watch the metadata image")

    def _mark(self, flags: int, mask: int, file: int, problem: str, *, unless: int = 0) -> None:
        # By path, as a descriptor that was opened with O_PATH would not do.
        path = b"/proc/self/fd/%d" % file
        if _libc.fanotify_mark(self.fd, flags, mask, _AT_FDCWD, path) != 0 and ctypes.get_errno() != unless:
            raise _refused(problem)

    def read(self, buffer: memoryview) -> int:
        """Wait for an event and write it there; raises `OSError`."""
        return os.readv(self.fd, [buffer])

    def answer(self, fd: int, error: int) -> None:
        """Let the reader go on, or fail with an `errno` (the kernel passes on EIO, EPERM, EAGAIN, EBUSY and ENOSPC).

        A question that is no more, because it was answered or its asker was killed, is none of our business.
        """
        verdict = _DENY | (error & 0xFF) << 24 if error else _ALLOW
        try:
            os.write(self.fd, _RESPONSE.pack(fd, verdict))
        except OSError as e:
            if e.errno != errno.ENOENT:
                raise

    def close(self) -> None:
        os.close(self.fd)


def _refused(what: str) -> StorageError:
    return StorageError(f"{what}: {libc.failure().strerror}")
