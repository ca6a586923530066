"""Bytes of files into replies: from page to page within the kernel, where a pipe is large enough for that."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from contextlib import suppress
from typing import Final

from modelcar.mounts.fuse import wire
from modelcar.mounts.fuse.mounting import REQUEST_BYTES

__all__ = ["Sender"]

_BY_PIPE_FROM: Final = 64 << 10  # bytes; below, copying twice costs less than one more system call
# Each page needs one of its slots, the header another. More than 1 MiB takes a capability that containers lack.
_PIPE: Final = 2 * REQUEST_BYTES


class Sender:
    """Used by one thread."""

    def __init__(self) -> None:
        self._buffer = memoryview(mmap.mmap(-1, REQUEST_BYTES))
        self._pipe: tuple[int, int] | None = _pipe()

    def send(self, device: int, unique: int, file: int, offset: int, length: int) -> None:
        """Answer a READ with all of a range. Raises `OSError`, with nothing sent: `EIO` if the file is shorter, and
        `ENOENT` if nobody waits for the answer."""
        if self._pipe is not None and length >= _BY_PIPE_FROM:
            try:
                self._splice(self._pipe, device, unique, file, offset, length)
            except OSError:
                self._renew()
                raise
        else:
            self._copy(device, unique, file, offset, length)

    def close(self) -> None:
        if self._pipe is not None:
            for end in self._pipe:
                os.close(end)
            self._pipe = None

    def _copy(self, device: int, unique: int, file: int, offset: int, length: int) -> None:
        done = 0
        while done < length:
            if (read := os.preadv(file, [self._buffer[done:length]], offset + done)) == 0:
                raise _too_short()
            done += read
        os.writev(device, [wire.reply_header(unique, length), self._buffer[:length]])

    def _splice(self, pipe: tuple[int, int], device: int, unique: int, file: int, offset: int, length: int) -> None:
        take, put = pipe
        os.write(put, wire.reply_header(unique, length))
        done = 0
        while done < length:
            moved = os.splice(file, put, length - done, offset_src=offset + done, flags=os.SPLICE_F_NONBLOCK)
            if moved == 0:
                raise _too_short()
            done += moved
        os.splice(take, device, wire.REPLY_HEADER + length)

    def _renew(self) -> None:
        """A pipe in which something may be left would put it into the next reply."""
        self.close()
        self._pipe = _pipe()


def _pipe() -> tuple[int, int] | None:
    """`None` where a user may not have one that is large enough."""
    pipe = os.pipe()
    with suppress(OSError):
        if fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, _PIPE) >= _PIPE:
            return pipe
    for end in pipe:
        os.close(end)
    return None


def _too_short() -> OSError:
    return OSError(errno.EIO, "the file is shorter than the range")
