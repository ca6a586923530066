"""How fast bytes may move."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["Throttle"]

_BURST = 0.25  # seconds' worth of bytes that may move at once


class Throttle:
    """A limit in bytes a second that several streams share; it may change at any time. `None` is no limit."""

    def __init__(self, rate: float | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._rate = rate
        self._paid_until = 0.0  # when all that was taken has been paid for

    @property
    def rate(self) -> float | None:
        return self._rate

    @property
    def held(self) -> bool:
        """Whether nothing may arrive at all."""
        return self._rate is not None and self._rate <= 0

    def set_rate(self, rate: float | None) -> None:
        with self._lock:
            self._rate = rate
            self._paid_until = min(self._paid_until, self._clock() + _BURST)

    def take(self, size: int) -> float:
        """Count `size` bytes that have moved; returns how many seconds to wait before moving more."""
        with self._lock:
            if not self._rate or self._rate <= 0:
                return 0.0
            now = self._clock()
            self._paid_until = max(self._paid_until, now - _BURST) + size / self._rate
            return max(0.0, self._paid_until - now)
