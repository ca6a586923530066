"""Which chunks somebody waits for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice

__all__ = ["Demands", "NextMissing"]

NextMissing = Callable[[int, int], int]
"""The first chunk from a number up to another that is not here, or -1."""


@dataclass(slots=True)
class _Reader:
    """Ranges of chunks that one reader waits for, and the chunk after the last one that it got."""

    ranges: deque[range] = field(default_factory=deque)
    position: int | None = None


class Demands:
    """What readers wait for, in fair turns. Not safe to use from several threads."""

    def __init__(self, chunks: int) -> None:
        self._chunks = chunks
        self._readers: dict[object, _Reader] = {}

    def __bool__(self) -> bool:
        return any(reader.ranges for reader in self._readers.values())

    def add(self, who: object, numbers: range) -> None:
        """`who` waits for these chunks, and is going to read on after them."""
        reader = self._readers.setdefault(who, _Reader())
        if not numbers:
            return
        if reader.ranges and reader.ranges[-1].start <= numbers.start <= reader.ranges[-1].stop:
            last = reader.ranges.pop()  # the same again, or what comes next
            numbers = range(last.start, max(last.stop, numbers.stop))
        reader.ranges.append(numbers)

    def drop(self, who: object) -> None:
        """`who` has left."""
        self._readers.pop(who, None)

    def include(self, number: int) -> bool:
        """Whether somebody waits for a chunk, if it is not here."""
        return any(number in numbers for reader in self._readers.values() for numbers in reader.ranges)

    def urgent(self, missing: NextMissing) -> Iterator[int]:
        """Chunks that are waited for and are not here: the first one of every reader, then the second …"""
        turns = deque(self._chunks_of(reader, missing) for reader in list(self._readers.values()))
        while turns:
            turn = turns.popleft()
            if (number := next(turn, None)) is not None:
                yield number
                turns.append(turn)

    def first(self, missing: NextMissing) -> set[int]:
        """Of every reader, the chunk that it cannot go on without."""
        return {n for reader in self._readers.values() for n in islice(self._chunks_of(reader, missing), 1)}

    def ahead(self, missing: NextMissing, limit: int) -> Iterator[int]:
        """Up to `limit` chunks after those that readers got or wait for."""
        for reader in list(self._readers.values()):
            start = reader.ranges[-1].stop if reader.ranges else reader.position
            if start is not None:
                yield from _each(missing, start, min(start + limit, self._chunks))

    def rotate(self) -> None:
        """Another reader has the first turn next time."""
        if self._readers:
            first = next(iter(self._readers))
            self._readers[first] = self._readers.pop(first)

    def _chunks_of(self, reader: _Reader, missing: NextMissing) -> Iterator[int]:
        for _ in range(len(reader.ranges)):
            numbers = reader.ranges.popleft()
            start = missing(numbers.start, numbers.stop)
            if start < 0:
                reader.position = numbers.stop
            else:
                reader.ranges.append(range(start, numbers.stop))
        for numbers in list(reader.ranges):
            yield from _each(missing, numbers.start, numbers.stop)


def _each(missing: NextMissing, start: int, stop: int) -> Iterator[int]:
    while (number := missing(start, stop)) >= 0:
        yield number
        start = number + 1
