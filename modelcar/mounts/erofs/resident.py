"""How much of a file is in memory (cachestat, Linux 6.5); asking brings nothing there."""

from __future__ import annotations

import ctypes
import mmap
from typing import Final

from modelcar.mounts import libc

__all__ = ["resident"]

_CACHESTAT: Final = 451  # the same number on every architecture


class _Range(ctypes.Structure):
    _fields_ = (("offset", ctypes.c_uint64), ("length", ctypes.c_uint64))


class _Pages(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("cached", "dirty", "writeback", "evicted", "recently"))


def resident(file: int, offset: int, length: int) -> int:
    """Bytes of a range, in whole pages. Raises `OSError`."""
    pages = _Pages()
    wanted = _Range(offset, length)
    libc.syscall(_CACHESTAT, file, ctypes.byref(wanted), ctypes.byref(pages), 0)
    cached: int = pages.cached
    return cached * mmap.PAGESIZE
