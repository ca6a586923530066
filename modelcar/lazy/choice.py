"""What one transfer fetches next, and from whom."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from modelcar.errors import ModelcarError
from modelcar.layers.hashing import CHUNK_SIZE
from modelcar.lazy.backlog import Backlog
from modelcar.lazy.demand import Demands
from modelcar.lazy.grid import Grid
from modelcar.lazy.partial import PartialBlob
from modelcar.lazy.scheduler import Slots
from modelcar.lazy.settings import FetchSettings
from modelcar.lazy.sources import ChunkSource, Router, SourceKind, is_serial
from modelcar.lazy.standing import Standing
from modelcar.lazy.window import Window

__all__ = ["Ask", "Choice", "Chooser", "Confirm", "Nobody"]

_SCAN: Final = 256  # chunks that one choice looks at
_FIRST: Final = CHUNK_SIZE * 5 // 4  # bytes: headers are small chunks of their own, and go along with what follows


class Ask(NamedTuple):
    """These chunks are to be had from this source."""

    source: ChunkSource
    numbers: range
    urgent: bool


class Confirm(NamedTuple):
    """This chunk may be on disk since before the machine was started: look."""

    number: int


class Nobody(NamedTuple):
    """Nobody is left to ask for a chunk."""

    error: ModelcarError


Choice = Ask | Confirm | Nobody


class _Offer(NamedTuple):
    """A chunk that a source may be asked for; the cheaper the better."""

    source: ChunkSource
    number: int
    urgent: bool
    cost: int


class Chooser:
    """Of one transfer, which owns and changes what it is made of. Not safe to use from several threads."""

    def __init__(
        self,
        partial: PartialBlob,
        router: Router,
        settings: FetchSettings,
        *,
        standing: Standing,
        demands: Demands,
        backlog: Backlog,
        flight: Mapping[int, object],
        windows: Collection[Window],
    ) -> None:
        """`flight` has the chunks that are on their way, `windows` the streams that bring them."""
        self._partial, self._router, self._settings = partial, router, settings
        self._standing, self._demands, self._backlog = standing, demands, backlog
        self._flight, self._windows = flight, windows

    def next(self, now: float, slots: Slots, *, background: bool, streams: int) -> Choice | None:
        """The best at the moment, if anything can be done. `background`: whether more is fetched than what somebody
        waits for; `streams`: how many connections of a kind that may have."""
        unsure = self._partial.unsure
        if not unsure and not any(slots.room(kind, urgent=True) for kind in SourceKind):
            return None
        spare = unsure or any(self._has_spare(kind, slots, streams) for kind in SourceKind)
        best: _Offer | None = None
        pressing = self._demands.first(self._partial.next_missing)
        for looked, (number, urgent) in enumerate(self._backlog.wanted(background=background, spare=spare)):
            if looked >= _SCAN or (best is not None and best.urgent and not urgent):
                break
            if self._partial.claims(number):
                return Confirm(number)
            source, error = self._standing.choose(self._router.candidates(self._grid, number), number, now)
            if error is not None:
                return Nobody(error)
            if source is None or not self._may_open(source, slots, streams, urgent=urgent):
                continue
            cost = 0 if number in pressing else self._cost(source, number, slots)
            if cost is not None and (best is None or cost < best.cost):
                best = _Offer(source, number, urgent, cost)
            if cost == 0:
                break
        if best is None:
            return None
        return Ask(best.source, self._run_of(best.source, best.number, now, background=background), best.urgent)

    def may_hedge(self, source: ChunkSource, slots: Slots) -> bool:
        """Whether a source may be asked as well for what somebody waits for."""
        return self._may_open(source, slots, 0, urgent=True)

    @property
    def _grid(self) -> Grid:
        return self._partial.grid

    def _has_spare(self, kind: SourceKind, slots: Slots, streams: int) -> bool:
        """Whether a stream may be opened for what nobody waits for yet."""
        return slots.room(kind, urgent=False) and sum(w.kind is kind for w in self._windows) < streams

    def _cost(self, source: ChunkSource, number: int, slots: Slots) -> int | None:
        """How little there is to be had from a source now: nothing is best. `None`: it is not worth asking yet."""
        if source.kind is not SourceKind.PEER:
            return 0
        here = self._router.is_at_hand(self._grid, number)
        if not here and slots.awaited(source):
            return None  # who is busy fetching one chunk is not kept from other work by waiting for two
        return 2 * slots.streams_of(source) + (not here)

    def _may_open(self, source: ChunkSource, slots: Slots, streams: int, *, urgent: bool) -> bool:
        if is_serial(source) and any(w.source.name == source.name for w in self._windows):
            return False
        if not slots.free(source, urgent=urgent):
            return False
        return urgent or sum(w.kind is source.kind for w in self._windows) < streams

    def _run_of(self, source: ChunkSource, number: int, now: float, *, background: bool) -> range:
        """As many missing chunks in a row, from `number` on, as this source is the first to be asked for."""
        grid, partial = self._grid, self._partial
        if is_serial(source):
            return range(partial.next_missing(0, len(grid)), len(grid))
        limit = self._limit(source.kind, number)
        size, stop = grid.bounds(number)[1], number + 1
        while stop < len(grid) and stop not in self._flight and not partial.has(stop):
            size += grid.bounds(stop)[1]
            if size > limit or partial.claims(stop) or not (background or self._is_asked_for(stop)):
                break
            if partial.arrived(stop):  # the rest of it is asked for by itself
                break
            best, _ = self._standing.choose(self._router.candidates(grid, stop), stop, now)
            if best is None or best.name != source.name:
                break
            stop += 1
        return range(number, stop)

    def _is_asked_for(self, number: int) -> bool:
        return self._demands.include(number) or self._backlog.wishes.include(number)

    def _limit(self, kind: SourceKind, number: int) -> int:
        """Bytes that one window from a chunk on may have: less where that keeps all streams busy to the end, and where
        reading has just begun. Streams share the line: who waits for the first bytes gets them sooner from many."""
        if kind is SourceKind.PEER:
            return self._settings.peer_window
        streams, window = self._settings.blob_streams, self._settings.window
        left = self._partial.size - self._partial.present - len(self._flight) * CHUNK_SIZE
        led_up = self._leading_up_to(number, window * streams // CHUNK_SIZE) * CHUNK_SIZE
        return min(window, max(2 * CHUNK_SIZE, left // streams), max(_FIRST, led_up // streams))

    def _leading_up_to(self, number: int, most: int) -> int:
        """How many chunks in a row before a chunk are here, or on their way."""
        first = number
        while first > 0 and number - first < most and (self._partial.has(first - 1) or first - 1 in self._flight):
            first -= 1
        return number - first
