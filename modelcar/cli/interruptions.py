"""Signals that end a command: its work is broken off, but never where that would leave a lock taken for ever."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from threading import Timer
from types import CodeType, FrameType
from typing import Final

__all__ = ["RUN", "Ended", "Phase", "end_cleanly_on_signals", "last_words"]

_PATIENCE: Final = 5.0  # seconds for last words on a terminal that shows nothing (Ctrl-S, say)
_SOON: Final = 0.01  # seconds until a signal that came at a bad moment comes again
_MOST: Final = 100  # times that a signal is put off: who holds a lock for a second is stuck, and is to be interrupted
# What takes or lets go of a lock, or begins a thread, in Python's own Python: an exception between two of its steps
# leaves the lock taken, and whoever is to have it next (a worker that says that it is done, say) waits for ever.
_DELICATE: Final = (
    ("threading", "Condition.__enter__"),
    ("threading", "Condition.__exit__"),
    ("threading", "Condition._acquire_restore"),
    ("threading", "Condition._release_save"),
    ("threading", "Thread.start"),
    ("concurrent.futures._base", "_AcquireFutures.__enter__"),
    ("concurrent.futures._base", "_AcquireFutures.__exit__"),
    ("concurrent.futures.thread", "ThreadPoolExecutor._adjust_thread_count"),
    ("logging", "Handler.acquire"),
    ("logging", "Handler.release"),
    ("_frozen_importlib", "_get_module_lock"),
    ("_frozen_importlib", "_ModuleLock.acquire"),
    ("_frozen_importlib", "_ModuleLock.release"),
    ("_frozen_importlib", "_ModuleLockManager.__enter__"),
    ("_frozen_importlib", "_ModuleLockManager.__exit__"),
)


class Ended(KeyboardInterrupt):
    """By SIGINT, SIGTERM or SIGHUP: what cleans up after Ctrl-C cleans up after all of them."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class Phase(Enum):
    """How far the program is."""

    LOADING = auto()  # there is nothing to clean up yet
    WORKING = auto()
    OVER = auto()  # the status is decided, and signals are too late


@dataclass(slots=True)
class _Run:
    """What handlers of signals ask. Plain values: an `Event` takes a lock, and a signal may come meanwhile."""

    phase: Phase = Phase.LOADING
    came: list[int] = field(default_factory=list)  # the signals that have broken off this run
    put_off: int = 0  # how many times in a row

    def begin(self) -> None:
        self.came = []
        self.put_off = 0
        self.phase = Phase.WORKING


RUN: Final = _Run()


def end_cleanly_on_signals() -> None:
    """Let signals (unless ignored, as under nohup) end the work with all its cleaning up, and not with a traceback.

    Somebody who is impatient may send more of them: the next ones end the cleaning up, none the last words.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)
    sys.unraisablehook = _once_more


@contextmanager
def last_words(status: int) -> Iterator[None]:
    """In the block something is said before the end. If nobody takes it the process ends all the same, with `status`:
    signals are too late then, and nobody else could end it."""
    unheard = Timer(_PATIENCE, os._exit, [status])
    unheard.daemon = True
    unheard.start()
    try:
        yield
    finally:
        unheard.cancel()


def _end(number: int, frame: FrameType | None) -> None:
    if RUN.phase is Phase.OVER:
        return
    if RUN.phase is Phase.LOADING:
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
    elif RUN.put_off < _MOST and _is_delicate(frame):
        RUN.put_off += 1
        _come_again(number)
    else:
        RUN.put_off = 0
        RUN.came.append(number)
        raise Ended(number)


def _is_delicate(frame: FrameType | None) -> bool:
    """Whether the main thread, which is in `frame`, is where an exception would do harm or go nowhere."""
    delicate = {_once_more.__code__}.union(*map(_codes, _DELICATE))
    handled = sys.exc_info()[2]
    while frame is not None:
        if frame.f_code in delicate:
            return True
        if handled is not None and handled.tb_frame is frame and frame.f_globals.get("__name__") == "threading":
            return True  # it puts right what another signal has broken off: a lock that `join` has taken, say
        frame = frame.f_back
    return False


def _codes(place: tuple[str, str]) -> set[CodeType]:
    """The code of a function and of those in it; none where its module was not imported. Some are others, or in C, from
    one Python to the next."""
    module, names = place
    found: object = sys.modules.get(module)
    for name in (*names.split("."), "__code__"):
        found = getattr(found, name, None)
    return {each for each in (found, *getattr(found, "co_consts", ())) if isinstance(each, CodeType)}


def _once_more(unraisable: sys.UnraisableHookArgs) -> None:
    """A signal that came while Python was collecting garbage, where exceptions go nowhere, comes again."""
    if isinstance(unraisable.exc_value, Ended):
        _come_again(unraisable.exc_value.number)
    else:
        sys.__unraisablehook__(unraisable)


def _come_again(number: int) -> None:
    def send() -> None:
        time.sleep(_SOON)
        os.kill(os.getpid(), number)

    # Not a `Timer`: to begin one takes locks of `threading`, in which the main thread may just be.
    _thread.start_new_thread(send, ())
