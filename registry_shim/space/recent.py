"""Values that take long to find out, for those who ask again and again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

__all__ = ["Recent"]

T = TypeVar("T")

_LEAST: Final = 5.0  # seconds for which a value is believed
_SHARE: Final = 20.0  # and for so many times as long as it took: a twentieth of the time goes into finding out


class Recent(Generic[T]):
    """`get` gives what was found out last, and finds out anew now and then. Safe to use from several threads: while one
    of them finds out, the others get what was known before."""

    def __init__(self, find_out: Callable[[], T], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._find_out = find_out
        self._clock = clock
        self._finding = threading.Lock()
        self._known: tuple[float, T] | None = None
        """Until when, in the clock's seconds, and what."""

    def get(self) -> T:
        """Raises as finding out does; then nothing changes, and the next caller tries again."""
        known = self._known
        if known is not None:
            if self._clock() < known[0] or not self._finding.acquire(blocking=False):
                return known[1]
        else:
            self._finding.acquire()
        try:
            if self._known is not known and self._known is not None:  # somebody else did meanwhile
                return self._known[1]
            began = self._clock()
            value = self._find_out()
            ended = self._clock()
            self._known = (ended + max(_LEAST, _SHARE * (ended - began)), value)
            return value
        finally:
            self._finding.release()
