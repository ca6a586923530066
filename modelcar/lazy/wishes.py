"""Which chunks are to come before others, though nobody waits for them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from modelcar.lazy.demand import NextMissing

__all__ = ["Wishes"]


class Wishes:
    """Of several who wish, the first one's come first. Not safe to use from several threads."""

    def __init__(self) -> None:
        self._ranges: dict[object, deque[range]] = {}

    def set(self, who: object, numbers: Iterable[range]) -> None:
        """`who` wishes for these chunks, in this order, and for no others."""
        self._ranges[who] = deque(numbers)

    def drop(self, who: object) -> None:
        self._ranges.pop(who, None)

    def include(self, number: int) -> bool:
        return any(number in numbers for ranges in self._ranges.values() for numbers in ranges)

    def missing(self, missing: NextMissing) -> Iterator[int]:
        """Those that are not here, in order."""
        for ranges in list(self._ranges.values()):
            while ranges and missing(ranges[0].start, ranges[0].stop) < 0:
                ranges.popleft()
            for numbers in list(ranges):
                start = numbers.start
                while (number := missing(start, numbers.stop)) >= 0:
                    yield number
                    start = number + 1
