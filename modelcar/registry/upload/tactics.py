"""Which way a blob goes, and which one next where that is refused. What worked is remembered for the registry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Self

from modelcar.registry.dialects import Dialect, Way
from modelcar.registry.habits import Habit, Habits

__all__ = ["Tactics"]

_PIECE: Final = 32 << 20  # bytes, where a registry takes no request of any size
_SMALL_PIECE: Final = 4 << 20
_SMALLEST_PIECE: Final = 1 << 20
_CAREFUL_PIECE: Final = 8 << 20  # bytes, where nothing is kept of a request that broke off
_STEADY: Final = 8  # pieces in a row until they grow again
_MUCH: Final = 64 << 20  # bytes not to be lost twice
_LADDER: Final = (Way.WHOLE, Way.PIECES, Way.STREAM, Way.ONCE)


@dataclass(slots=True, kw_only=True)
class Tactics:
    """The way of one upload, as it is now. Sizes are bytes.

    Attributes:
        piece: of `Way.PIECES`.
        most: what `piece` may grow to again after a bad stretch of the line.
        least: the smallest piece that the session takes, but for the last.
    """

    way: Way
    piece: int = _PIECE
    most: int = _PIECE
    least: int = 0
    _dialect: Dialect
    _first: Way
    _forced: bool = False
    _broken_off: int = 0
    _in_a_row: int = 0
    _refused: set[Way] = field(default_factory=set)

    @classmethod
    def choose(
        cls, dialect: Dialect, habit: Habit, size: int, *, chunk_size: int | None = None, streamed: bool = False
    ) -> Self:
        """What to begin with: as it was asked for, as it went the last time, or as the table says."""
        way, piece = dialect.way, min(habit.piece or _PIECE, dialect.largest_piece or _PIECE)
        if chunk_size is not None:
            way, piece = Way.PIECES, chunk_size
        elif streamed:
            way = Way.STREAM
        elif habit.way is not None and dialect.takes(habit.way):
            way = habit.way
        elif way is Way.WHOLE and dialect.largest_put is not None and size > dialect.largest_put:
            way = Way.STREAM if dialect.streams else Way.PIECES
        return cls(way=way, piece=piece, most=piece, _dialect=dialect, _first=way)

    @property
    def continues(self) -> bool:
        """Whether a session that has a part of the blob takes the rest."""
        return any(self._open_to(way) for way in (Way.PIECES, Way.STREAM))

    def length(self, rest: int) -> int:
        """How much of `rest` goes into the next PATCH."""
        if self.way is Way.PIECES:
            return min(rest, max(self.piece, self.least))
        return min(rest, self._dialect.largest_piece or rest)

    def opened(self, least: int, size: int) -> None:
        """A session for `size` bytes is open. A registry that says what its smallest piece is is made for pieces, and
        those lose least."""
        self.least = least
        if least and self.way is Way.WHOLE and size > max(_CAREFUL_PIECE, least) and self._open_to(Way.PIECES):
            self.way, self.piece, self.most = Way.PIECES, _CAREFUL_PIECE, _CAREFUL_PIECE

    def taken_over(self, way: Way | None, piece: int, least: int) -> None:
        """An earlier process has come to this with the session."""
        self.least = least
        if way is Way.PIECES and piece and self._open_to(way):
            self.way, self._forced = way, True
            self.piece = self.most = min(piece, self._dialect.largest_piece or piece)

    def took(self) -> None:
        """The registry has taken a piece."""
        self._in_a_row += 1
        if self._in_a_row >= _STEADY and self.piece < self.most:
            self.piece, self._in_a_row = min(2 * self.piece, self.most), 0

    def go_on(self) -> None:
        """A session has a part of the blob: the rest goes by PATCH."""
        if self.way in (Way.WHOLE, Way.ONCE):
            self.way = Way.STREAM if self._open_to(Way.STREAM) else Way.PIECES

    def begin_again(self) -> None:
        """Nothing is there: as it was chosen, unless that was refused since."""
        if not self._forced:
            self.way = self._first

    def refuse(self, *ways: Way) -> bool:
        """The registry does not take these: go the next way. Returns whether there is one."""
        self._refused.update(ways)
        if self.way in self._refused:
            untried = [way for way in _LADDER if self._open_to(way)]
            if not untried:
                return False
            self.way, self._forced = untried[0], True
        return True

    def pardon(self) -> None:
        """What was refused may have been an accident: once more from the beginning."""
        self._refused.clear()
        self.way, self._forced = self._first, False

    def smaller(self, refused: int | None = None) -> bool:
        """Send smaller pieces, or pieces at all: less than `refused` bytes, if it was one PATCH of so many that was not
        taken. Returns whether there are any."""
        if self.way in (Way.WHOLE, Way.ONCE) or (refused is None and self.way is Way.STREAM):
            return self._to_pieces(_PIECE)
        length = self.piece if refused is None else refused
        sizes = (_PIECE, _SMALL_PIECE, max(_SMALLEST_PIECE, self.least))
        return any(self._to_pieces(size) for size in sizes if self.least <= size < length)

    def broke_off(self, moved: int, *, alive: bool) -> None:
        """The registry has kept nothing of the last `moved` bytes; `alive`: but it still has the session. Lose less the
        next time."""
        floor = max(_SMALLEST_PIECE, self.least)
        if self.way is Way.PIECES:
            self.piece, self._in_a_row = max(min(floor, self.piece), self.piece // 2), 0
            return
        self._broken_off += 1
        if alive and moved > floor:
            self._to_pieces(max(floor, _CAREFUL_PIECE))
        elif moved > _MUCH or (self._broken_off > 1 and moved > 2 * floor):
            self._to_pieces(max(floor, min(_PIECE, moved // 8)))

    def learn(self, habits: Habits, registry: str) -> None:
        """The blob is there: remember how, as far as that is news."""
        if Way.STREAM in self._refused:
            habits.learn(registry, streams=False)
        elif self.way is Way.STREAM:
            habits.learn(registry, streams=True)
        if self._forced:
            habits.learn(registry, way=self.way, piece=self.most if self.way is Way.PIECES else None)

    def _open_to(self, way: Way) -> bool:
        return way not in self._refused and self._dialect.takes(way)

    def _to_pieces(self, size: int) -> bool:
        if not self._open_to(Way.PIECES):
            return False
        self.way, self._forced = Way.PIECES, True
        self.piece = self.most = min(size, self._dialect.largest_piece or size)
        self._in_a_row = 0
        return True
