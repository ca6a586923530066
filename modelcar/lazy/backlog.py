"""The chunks of one blob that are still to be asked for, in the order in which they are wanted."""

from __future__ import annotations

from collections import deque
from collections.abc import Container, Iterable, Iterator
from typing import Final

from modelcar.layers.hashing import CHUNK_SIZE
from modelcar.lazy.demand import Demands
from modelcar.lazy.partial import PartialBlob
from modelcar.lazy.wishes import Wishes

__all__ = ["Backlog"]

_SLACK: Final = 256  # chunks that came out of their turn before the list is cleaned of them


class Backlog:
    """Not safe to use from several threads. `flight` has the chunks that are on their way."""

    def __init__(self, partial: PartialBlob, demands: Demands, flight: Container[int], *, read_ahead: int) -> None:
        """`read_ahead`: bytes after a reader's place that come before the rest."""
        self._partial, self._demands, self._flight = partial, demands, flight
        self._ahead = read_ahead // CHUNK_SIZE
        self._todo: deque[int] = deque()
        self.wishes = Wishes()
        """What comes before the rest, and also where the rest does not."""

    def begin(self, order: Iterable[int]) -> None:
        self._todo = deque(n for n in order if not self._partial.has(n))

    def again(self, number: int) -> None:
        """It did not come: next time it is the first of those that nobody waits for."""
        self._todo.appendleft(number)

    def anew(self, numbers: Iterable[int]) -> None:
        """They were here, and are no more."""
        self._todo.extend(numbers)

    def wanted(self, *, background: bool, spare: bool = True) -> Iterator[tuple[int, bool]]:
        """Chunks to ask for, the most wanted first, and whether somebody waits for them; only those, without `spare`;
        only those and what is wished for, without `background`."""
        here, flight, todo = self._partial.has, self._flight, self._todo
        missing = self._partial.next_missing
        yield from ((n, True) for n in self._demands.urgent(missing) if n not in flight)
        if not spare:
            return
        yield from ((n, False) for n in self.wishes.missing(missing) if n not in flight)
        if not background:
            return
        yield from ((n, False) for n in self._demands.ahead(missing, self._ahead) if n not in flight)
        while todo and (here(todo[0]) or todo[0] in flight):
            todo.popleft()
        if len(todo) > 2 * self._partial.left + _SLACK:
            todo = self._todo = deque(n for n in todo if not here(n))
        yield from ((n, False) for n in todo if not here(n) and n not in flight)
