"""What a piece of work leaves behind in this process, told apart from what others begin and end meanwhile.

Counts of descriptors or threads don't tell: what an earlier test left may go in the middle of this one, by the garbage
collector or a thread that ends.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Set as AbstractSet

_PATIENCE = 10.0
"""Seconds: the other end of a connection hears of its end, and a thread ends, a moment later."""


def open_files(pid: int | None = None) -> set[tuple[int, str]]:
    """Each open descriptor of a process (this one without `pid`): its number, and what the kernel says it is."""
    found = set()
    for path in Path(f"/proc/{pid or os.getpid()}/fd").iterdir():
        try:
            found.add((int(path.name), str(path.readlink())))
        except FileNotFoundError:  # closed since, as is what listed the folder
            continue
    return found


@contextmanager
def no_file_left_open(pid: int | None = None) -> Iterator[None]:
    """What is opened within is closed at its end."""
    before = open_files(pid)
    yield
    _soon_nothing(lambda: open_files(pid) - before)


@contextmanager
def no_thread_left() -> Iterator[None]:
    """What is started within has ended at its end."""
    before = set(threading.enumerate())
    yield
    _soon_nothing(lambda: set(threading.enumerate()) - before)


def _soon_nothing(left: Callable[[], AbstractSet[object]]) -> None:
    end = time.monotonic() + _PATIENCE
    while (found := left()) and time.monotonic() < end:
        time.sleep(0.01)
    assert not found, f"left behind: {found}"
