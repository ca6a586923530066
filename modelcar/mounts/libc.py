"""System calls that Python's `os` lacks."""

from __future__ import annotations

import ctypes
import os
from functools import cache
from typing import Any, Final

__all__ = [
    "MNT_DETACH",
    "MNT_FORCE",
    "MS_NOATIME",
    "MS_NODEV",
    "MS_NOSUID",
    "MS_RDONLY",
    "failure",
    "library",
    "mount",
    "syscall",
    "umount",
]

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOATIME: Final = 1024
MNT_FORCE: Final = 1
MNT_DETACH: Final = 2
_UMOUNT_NOFOLLOW: Final = 8


def mount(source: str, target: str | os.PathLike[str], kind: str, flags: int, options: str) -> None:
    """mount(2). Raises `OSError`."""
    texts = [os.fsencode(text) for text in (source, target, kind)]
    _check(library().mount(*texts, ctypes.c_ulong(flags), options.encode()), target)


def umount(target: str | os.PathLike[str], flags: int = 0) -> None:
    """umount2(2), of the mount at `target` itself and not of what a link there leads to. Raises `OSError`."""
    _check(library().umount2(os.fsencode(target), flags | _UMOUNT_NOFOLLOW), target)


def syscall(number: int, *arguments: Any) -> int:
    """What a system call returns, by its number; an `int` is passed as a long. Raises `OSError`."""
    longs = (ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)
    result: int = library().syscall(ctypes.c_long(number), *longs)
    if result < 0:
        raise failure()
    return result


def failure() -> OSError:
    """Why the last call of this thread failed."""
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


@cache
def library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, target: str | os.PathLike[str]) -> None:
    if result != 0:
        error = failure()
        error.filename = os.fspath(target)
        raise error
