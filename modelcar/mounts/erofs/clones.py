"""An open file once more, through a mount of its own that is nowhere: what is marked there concerns nobody else."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from modelcar.errors import StorageError
from modelcar.mounts import libc

__all__ = ["private_clone"]

_OPEN_TREE: Final = 428  # the same number on every architecture
_CLONE: Final = 1 | 0x1000  # OPEN_TREE_CLONE, AT_EMPTY_PATH
_EMPTY_PATH: Final = 0x1000  # AT_EMPTY_PATH
_HANDLE: Final = 128  # bytes, the most that there can be
_MOUNTS: Final = Path("/proc/self/mountinfo")


class _FileHandle(ctypes.Structure):
    """`struct file_handle`: a file by its number in its file system."""

    _fields_ = (("bytes", ctypes.c_uint), ("type", ctypes.c_int), ("number", ctypes.c_ubyte * _HANDLE))


def private_clone(file: int) -> int:
    """A descriptor that can be marked as a mount and opened by its path in /proc. Raises `StorageError`.

    A file that was opened in another mount namespace, as by a host that a service manager confines, is found again in
    ours: only what is mounted here can be cloned.
    """
    try:
        return _clone(file)
    except OSError as e:
        reason = e
    if reason.errno == errno.EINVAL:
        for ours in _opened_here(file):
            try:
                with suppress(OSError):
                    return _clone(ours)
            finally:
                os.close(ours)
    raise StorageError(
        f"the kernel does not clone the mount of a blob: {reason.strerror}",
        hint="the file system of the cache must be mounted where the model is to be",
    )


def _clone(file: int) -> int:
    return libc.syscall(_OPEN_TREE, file, b"", _CLONE | os.O_CLOEXEC)


def _opened_here(file: int) -> Iterator[int]:
    """The same file through each mount of its file system that we have."""
    handle, mount = _FileHandle(bytes=_HANDLE), ctypes.c_int()
    if libc.library().name_to_handle_at(file, b"", ctypes.byref(handle), ctypes.byref(mount), _EMPTY_PATH) != 0:
        return
    status = os.fstat(file)
    for place in _mounted_here(f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"):
        with suppress(OSError):  # one that something else covers
            folder = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
            ours: int = libc.library().open_by_handle_at(folder, ctypes.byref(handle), os.O_RDONLY | os.O_CLOEXEC)
            os.close(folder)
            if ours < 0:
                continue
            if os.path.samestat(os.fstat(ours), status):
                yield ours
            else:
                os.close(ours)


def _mounted_here(device: str) -> Iterator[bytes]:
    for line in _MOUNTS.read_bytes().splitlines():
        fields = line.split(b" ")
        if fields[2].decode() == device:
            yield fields[4].decode("unicode_escape").encode("latin-1")
