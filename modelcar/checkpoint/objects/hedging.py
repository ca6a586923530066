"""Requests of which the slow ones are asked a second time.

Among hundreds of requests to an object store some take many times as long as the others. Such a one is not waited for:
the same range is asked for once more, and the first answer counts. The other request is left to its own end, and
nobody looks at it any more.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Final, TypeVar

__all__ = ["Hedge"]

T = TypeVar("T")
_REMEMBERED: Final = 64  # requests
_PATIENCE: Final = 3.0  # times what a request of this size takes
_LEAST: Final = 1.0  # seconds on top
_AT_FIRST: Final = 15.0  # seconds, while nothing is known
_ALLOWED: Final = 0.1  # second requests, of all: a line that is slow for everybody is not to carry everything twice
_FREE: Final = 2


class Hedge:
    """What requests to one place take. Safe to share between threads."""

    def __init__(self, *, least: float = _LEAST, at_first: float = _AT_FIRST) -> None:
        self._least, self._at_first = least, at_first
        self._pace: deque[float] = deque(maxlen=_REMEMBERED)  # seconds a byte
        self._finished = 0
        self._lock = threading.Lock()
        self.again = 0  # second requests

    def get(self, ask: Callable[[], T], size: int) -> T:
        """What `ask` gives, which is asked again if that takes too long. Raises what it raised."""
        began = time.monotonic()
        futures = {_started(ask)}
        done, _ = wait(futures, timeout=self._patience(size))
        if not done and self._may_ask_again():
            futures.add(_started(ask))
        result = _first(futures)
        with self._lock:
            self._finished += 1
            self._pace.append((time.monotonic() - began) / max(size, 1))
        return result

    def _patience(self, size: int) -> float:
        with self._lock:
            if len(self._pace) < 4:
                return self._at_first
            usual = sorted(self._pace)[len(self._pace) // 2]
            return self._least + _PATIENCE * usual * size

    def _may_ask_again(self) -> bool:
        with self._lock:
            allowed = self.again < _FREE + _ALLOWED * self._finished
            self.again += allowed
            return allowed


def _started(ask: Callable[[], T]) -> Future[T]:
    """`ask`, at work in a thread that keeps nobody from ending.

    The library's asynchronous calls could be cancelled, but their threads touch Python once more after the answer has
    been given, which aborts a process that is ending by then.
    """
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(ask())
        except BaseException as e:  # whoever waits raises it
            future.set_exception(e)

    threading.Thread(target=work, name="modelcar-objects", daemon=True).start()
    return future


def _first(futures: set[Future[T]]) -> T:
    """The first of `futures` that succeeds."""
    pending = futures
    while True:
        done, pending = wait(pending, return_when=FIRST_COMPLETED)
        succeeded = [future for future in done if future.exception() is None]
        if succeeded or not pending:
            return (succeeded or list(done))[0].result()  # raises
