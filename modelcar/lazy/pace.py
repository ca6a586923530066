"""How fast sources of a kind usually are: what to compare a slow one with."""

from __future__ import annotations

import statistics
import threading
from collections import defaultdict, deque
from typing import Final

from modelcar.lazy.sources import ChunkSource, SourceKind

__all__ = ["Pace"]

_SAMPLES: Final = 200
_ENOUGH: Final = 20  # samples that a 95th percentile is worth being taken of
_SIBLINGS: Final = 3
_RECENT: Final = 60.0  # seconds


class Pace:
    """Safe to use from several threads. Times are seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waits: defaultdict[SourceKind, deque[float]] = defaultdict(lambda: deque(maxlen=_SAMPLES))
        self._rates: defaultdict[str, deque[tuple[float, float]]] = defaultdict(lambda: deque(maxlen=_SAMPLES))

    def chunk(self, source: ChunkSource, size: int, *, waited: float, flowed: float, now: float) -> None:
        """A chunk of `size` bytes came `waited` seconds after it was its turn, during `flowed` of which it flowed."""
        with self._lock:
            self._waits[source.kind].append(waited)
            self._rates[source.name].append((now, size / max(flowed, 1e-3)))

    def patience(self, kind: SourceKind, least: float) -> float:
        """How long 95 of 100 chunks took, and at least `least`; three times that while too few are known."""
        with self._lock:
            waits = list(self._waits[kind])
        if len(waits) < _ENOUGH:
            return 3 * least
        return max(least, statistics.quantiles(waits, n=20)[-1])

    def usual(self, source: str, now: float) -> float | None:
        """The median rate of a source's chunks lately, in bytes a second; `None` while too few are known."""
        with self._lock:
            rates = [rate for moment, rate in self._rates[source] if now - moment < _RECENT]
        return statistics.median(rates) if len(rates) >= _SIBLINGS else None
