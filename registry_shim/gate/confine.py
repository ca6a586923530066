"""Bounds of a scanning process that hold even if nobody is left to enforce them."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
from contextlib import suppress
from typing import Final

__all__ = ["confine"]

_LARGEST_FILE: Final = 64 << 30  # bytes that a scan may unpack into one file
_NEWUSER: Final = 0x10000000
_NEWNET: Final = 0x40000000
_PDEATHSIG: Final = 1
_NO_NEW_PRIVS: Final = 38
_IOPRIO_SET: Final = {"x86_64": 251, "aarch64": 30}
_IOPRIO_WHO_PROCESS: Final = 1
_IOPRIO_IDLE: Final = 3 << 13


def confine(*, memory: int, seconds: int, niceness: int) -> None:
    """This process, for good: bytes of address space, seconds of one processor each, no network, behind all others.

    It dies with the thread that started it. Where the kernel lets us do without one of them, we do without it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_AS, memory)
    _limit(resource.RLIMIT_FSIZE, _LARGEST_FILE)
    _limit(resource.RLIMIT_CPU, seconds * (os.cpu_count() or 1) + 1)
    with suppress(OSError):
        os.nice(niceness)
    if (call := _IOPRIO_SET.get(platform.machine())) is not None:
        libc.syscall(call, _IOPRIO_WHO_PROCESS, 0, _IOPRIO_IDLE)
    libc.unshare(_NEWNET if os.geteuid() == 0 else _NEWUSER | _NEWNET)
    libc.prctl(_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # last: other credentials would undo it


def _limit(kind: int, most: int) -> None:
    hard = resource.getrlimit(kind)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (most, most))
