"""Which chunks somebody waits for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

__all__ = ["Demands"]


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
        if numbers and numbers not in reader.ranges:
            reader.ranges.append(numbers)

    def drop(self, who: object) -> None:
        """`who` has left."""
        self._readers.pop(who, None)

    def include(self, number: int) -> bool:
        """Whether somebody waits for a chunk, if it is not here."""
        return any(number in numbers for reader in self._readers.values() for numbers in reader.ranges)

    def urgent(self, here: Callable[[int], bool]) -> Iterator[int]:
        """Chunks that are waited for and are not here: the first one of every reader, then the second …"""
        turns = deque(self._chunks_of(reader, here) for reader in list(self._readers.values()))
        while turns:
            turn = turns.popleft()
            if (number := next(turn, None)) is not None:
                yield number
                turns.append(turn)

    def ahead(self, here: Callable[[int], bool], limit: int) -> Iterator[int]:
        """Up to `limit` chunks after those that readers got or wait for."""
        for reader in list(self._readers.values()):
            start = reader.ranges[-1].stop if reader.ranges else reader.position
            if start is not None:
                yield from (n for n in range(start, min(start + limit, self._chunks)) if not here(n))

    def rotate(self) -> None:
        """Another reader has the first turn next time."""
        if self._readers:
            first = next(iter(self._readers))
            self._readers[first] = self._readers.pop(first)

    def _chunks_of(self, reader: _Reader, here: Callable[[int], bool]) -> Iterator[int]:
        for _ in range(len(reader.ranges)):
            numbers = reader.ranges.popleft()
            start = next((n for n in numbers if not here(n)), None)
            if start is None:
                reader.position = numbers.stop
                continue
            reader.ranges.append(range(start, numbers.stop))
        for numbers in list(reader.ranges):
            yield from (n for n in numbers if not here(n))
