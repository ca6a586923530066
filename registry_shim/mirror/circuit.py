"""Not asking again and again who has just failed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from modelcar.backoff import Backoff

__all__ = ["Circuit"]

_BACKOFF: Final = Backoff(1.0, 30.0)
_TRIAL: Final = 30.0


class Circuit:
    """Opens after `tolerated` failures in a row, and then lets one question through now and then.

    It stays open for a second at first, twice as long each time, at most for half a minute, spread so that nodes do not
    return together. Safe to share between threads.
    """

    def __init__(self, *, tolerated: int = 2, clock: Callable[[], float] = time.monotonic) -> None:
        self._tolerated = tolerated
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._until = 0.0

    def wait(self) -> float:
        """Seconds until somebody may ask again; 0 lets the caller ask, who then must say how it went."""
        with self._lock:
            if self._failures < self._tolerated:
                return 0.0
            now = self._clock()
            if now < self._until:
                return self._until - now
            self._until = now + _TRIAL  # one tries; the others wait for what it finds
            return 0.0

    def succeeded(self) -> None:
        with self._lock:
            self._failures = 0

    def failed(self, retry_after: float | None = None) -> None:
        """`retry_after` is how many seconds it asked for itself."""
        with self._lock:
            self._failures += 1
            pause = _BACKOFF.after(max(1, self._failures - self._tolerated + 1))
            self._until = self._clock() + max(pause, min(retry_after or 0.0, _BACKOFF.longest))
