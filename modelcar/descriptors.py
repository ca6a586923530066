"""Open files that other processes hand over."""

from __future__ import annotations

import socket
import struct
from typing import Final

__all__ = ["receive"]

_FILE: Final = struct.Struct("i")


def receive(sock: socket.socket, size: int, most: int) -> tuple[bytes, list[int], bool]:
    """The next packet, of up to `size` bytes; the open files that came with it, up to `most`, which are the caller's
    and go to no child; and whether anything of it was cut off.

    Raises `OSError`.
    """
    # Not `socket.recv_fds`: that of Python 3.11 drops the flags.
    space = socket.CMSG_LEN(most * _FILE.size)
    data, extra, flags, _ = sock.recvmsg(size, space, socket.MSG_CMSG_CLOEXEC)
    files = [file for level, kind, content in extra for file in _files(level, kind, content)]
    return data, files, bool(flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC))


def _files(level: int, kind: int, content: bytes) -> list[int]:
    """The descriptors in a control message, if it is one with such."""
    if (level, kind) != (socket.SOL_SOCKET, socket.SCM_RIGHTS):
        return []
    return [file for (file,) in _FILE.iter_unpack(content[: len(content) // _FILE.size * _FILE.size])]
