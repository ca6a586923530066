"""The last one to hold a fanotify group. When supervisor and worker are gone, readers get errors from it and not zeros.

Run as a file by an interpreter without anything else (`-I -S`), so that it stays small. Its arguments: the group, a
pipe that all others hold the writing end of, the folder, and the number of its file system.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
from typing import Final

_METADATA: Final = struct.Struct("<IBBHQii")
_CLOSED: Final = 0x10  # FAN_CLOSE_NOWRITE
_DENY_EIO: Final = 2 | 5 << 24
_NUMBERS: Final = 1 << 14  # of questions that a worker may have taken


def main(arguments: list[str]) -> None:
    group, others, mount = int(arguments[0]), int(arguments[1]), arguments[2:]
    os.setsid()
    for ending in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ending, signal.SIG_IGN)
    _spare()
    if os.read(others, 1):  # the file system is gone, as it should be
        return
    for number in range(_NUMBERS):
        _deny(group, number)
    os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-m", "modelcar.mounts.process.detach", *mount])  # noqa: S606  # no shell is wanted
    while _next(group):
        pass


def _next(group: int) -> bool:
    """Deny what is asked, until the last user is gone."""
    events = os.read(group, 4096)
    while len(events) >= _METADATA.size:
        length, _, _, _, mask, number, _ = _METADATA.unpack_from(events)
        events = events[length:]
        if mask & _CLOSED:
            return False
        _deny(group, number)
        os.close(number)
    return True


def _deny(group: int, number: int) -> None:
    try:
        os.write(group, struct.pack("<iI", number, _DENY_EIO))
    except OSError:
        return  # nobody asked by this number


def _spare() -> None:
    """When memory is short, this is to be the last to die."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("-1000")
    except OSError:
        return  # root may


if __name__ == "__main__":
    if os.fork() == 0:  # a child of nobody
        main(sys.argv[1:])
    os._exit(0)
