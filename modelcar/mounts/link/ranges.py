"""Which bytes of a blob are known to be readable."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

__all__ = ["Ranges"]


class Ranges:
    """A set of bytes as ranges that neither overlap nor touch. Not safe to use from several threads."""

    __slots__ = ("_starts", "_stops")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []

    def add(self, start: int, stop: int) -> None:
        if start >= stop:
            return
        first = bisect_left(self._stops, start)  # the first that this one touches, and the one after the last
        after = bisect_right(self._starts, stop)
        if first < after:
            start = min(start, self._starts[first])
            stop = max(stop, self._stops[after - 1])
        self._starts[first:after] = [start]
        self._stops[first:after] = [stop]

    def covers(self, start: int, stop: int) -> bool:
        """Whether every byte of `[start, stop)` is in it."""
        if start >= stop:
            return True
        n = bisect_right(self._starts, start) - 1
        return n >= 0 and stop <= self._stops[n]

    def clear(self) -> None:
        self._starts.clear()
        self._stops.clear()

    def __iter__(self) -> zip[tuple[int, int]]:
        return zip(self._starts, self._stops, strict=True)
