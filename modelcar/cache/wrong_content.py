"""Blobs whose upstream sent something else: not asked for again at once, for each time costs the whole blob."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from modelcar.errors import InvalidContent
from modelcar.lazy.grid import Grid
from modelcar.oci import Digest

__all__ = ["WrongContent"]

_REMEMBERED: Final = 1000


@dataclass(frozen=True, slots=True)
class _Record:
    times: int
    since: float
    error: InvalidContent
    suspects: frozenset[str]


class WrongContent:
    """Safe to use from several threads."""

    def __init__(
        self, pause: float, *, clock: Callable[[], float] = time.monotonic, today: Callable[[], float] = time.time
    ) -> None:
        self._pause, self._clock, self._today = pause, clock, today
        self._lock = threading.Lock()
        self._records: OrderedDict[tuple[Digest, str], _Record] = OrderedDict()

    def add(self, grid: Grid, error: InvalidContent, suspects: frozenset[str] = frozenset()) -> InvalidContent:
        """What came is not the blob. A table that is wrong stays wrong; a plain blob gets a second chance, and one from
        the upstream alone if `suspects` have sent some of it. Returns what to say: when it is asked for again, too."""
        key = (grid.digest, grid.name)
        with self._lock:
            before = self._records.pop(key, None)
            again = before is not None and not suspects
            known = before.suspects if before is not None else frozenset()
            times = 2 if grid.verifiable or again else 1
            if times > 1 and self._pause > 0:
                error = self._refused(error)
            self._records[key] = _Record(times, self._clock(), error, known | suspects)
            while len(self._records) > _REMEMBERED:
                self._records.popitem(last=False)
        return error

    def suspects(self, grid: Grid) -> frozenset[str]:
        """Who is not to be asked for the blob."""
        with self._lock:
            record = self._records.get((grid.digest, grid.name))
        return record.suspects if record is not None else frozenset()

    def forget(self, digest: Digest) -> None:
        """The blob came."""
        with self._lock:
            for key in [key for key in self._records if key[0] == digest]:
                del self._records[key]

    def check(self, grid: Grid) -> None:
        """Raise what happened last time, if that was not the first time and not long ago."""
        with self._lock:
            record = self._records.get((grid.digest, grid.name))
        if record is not None and record.times > 1 and self._clock() - record.since < self._pause:
            raise record.error

    def _refused(self, error: InvalidContent) -> InvalidContent:
        until = time.strftime("%H:%M:%S", time.localtime(self._today() + self._pause))
        return type(error)(f"{error}; its registry is not asked for it again before {until}", hint=error.hint)
