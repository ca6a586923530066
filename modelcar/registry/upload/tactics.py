"""Which way a blob goes, and which one next where that is refused. What worked is remembered for the registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Self

from modelcar.registry.dialects import AfterCut, Dialect, Way
from modelcar.registry.habits import Habit, Habits

__all__ = ["Tactics"]

_PIECE: Final = 32 << 20  # bytes, where a registry takes no request of any size
_SMALL_PIECE: Final = 4 << 20
_SMALLEST_PIECE: Final = 1 << 20
_CAREFUL_PIECE: Final = 5 << 20  # bytes, where nothing is kept of a request that broke off: what S3 stores by itself
_LARGEST_PIECE: Final = 64 << 20
_WORTH_CARE: Final = 16 << 20  # bytes; what is smaller goes in one request
_SHARE: Final = 48  # of a blob is the most that one request may lose
_STEADY: Final = 32  # pieces in a row until they grow: so a break costs half of one in 32, however often it comes
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
    _size: int
    _limit: int
    _dialect: Dialect
    _first: Way
    _forced: bool = False
    _asked_for: bool = False
    _after_cut: AfterCut | None = None
    _seen: AfterCut | None = None
    _broken_off: int = 0
    _in_a_row: int = 0
    _breaks: int = 0
    _remembered: bool = False
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
        return cls(
            way=way,
            piece=piece,
            most=piece,
            _size=size,
            _limit=min(habit.piece or _LARGEST_PIECE, dialect.largest_piece or _LARGEST_PIECE),
            _dialect=dialect,
            _first=way,
            _asked_for=chunk_size is not None,
            _remembered=habit.way is not None,
        )

    @property
    def continues(self) -> bool:
        """Whether a session that has a part of the blob takes the rest."""
        return any(self._open_to(way) for way in (Way.PIECES, Way.STREAM))

    @property
    def settled(self) -> Way | None:
        """The way, where the registry has taken no other; whoever goes on would have to find that out again."""
        return self.way if self._forced else None

    def length(self, rest: int) -> int:
        """How much of `rest` goes into the next PATCH."""
        if self.way is Way.PIECES:
            return min(rest, max(self.piece, self.least))
        return min(rest, self._dialect.largest_piece or rest)

    def expect(self, after_cut: Callable[[], AfterCut | None]) -> None:
        """Begin with pieces where a request that breaks off leaves nothing but what was acknowledged, or where nobody
        knows what it leaves. `after_cut` finds out, and is asked only where it matters."""
        if self._asked_for or self.way not in (Way.WHOLE, Way.STREAM) or self._size <= _WORTH_CARE:
            return
        if not self._open_to(Way.PIECES):
            return
        self._after_cut = after_cut()
        guess = self._after_cut is None and self._dialect.streams and not self._remembered
        if guess or self._after_cut is AfterCut.DROPPED:
            self._to_careful_pieces()
            self._first = Way.PIECES

    def opened(self, least: int) -> None:
        """A session is open. A registry that says what its smallest piece is is made for pieces, and those lose
        least."""
        self.least = least
        if least and self.way is Way.WHOLE and self._size > max(_CAREFUL_PIECE, least) and self._open_to(Way.PIECES):
            self._to_careful_pieces()

    def taken_over(self, way: Way | None, piece: int, least: int) -> None:
        """An earlier process has come to this with the session."""
        self.least = least
        if way is Way.PIECES and piece and self._open_to(way):
            self.way, self._forced = way, True
            self.piece = self.most = min(piece, self._dialect.largest_piece or piece)

    def took(self) -> None:
        """The registry has taken a piece."""
        self._in_a_row, self._breaks = self._in_a_row + 1, 0
        if self._in_a_row >= _STEADY and self.piece < self.most:
            self.piece, self._in_a_row = min(2 * self.piece, self.most), 0

    def go_on(self) -> None:
        """A session has a part of the blob: the rest goes by PATCH."""
        if self.way in (Way.WHOLE, Way.ONCE):
            self.way = Way.STREAM if self._open_to(Way.STREAM) else Way.PIECES

    def kept(self) -> None:
        """A session has a part of the request that broke off: so large ones lose nothing."""
        self._seen = AfterCut.KEPT
        if self.way is Way.PIECES and self._first is Way.PIECES and not (self._forced or self._asked_for):
            self._first = Way.STREAM if self._open_to(Way.STREAM) else Way.PIECES
            self.way = self._first

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
            self._breaks += 1
            lowest = floor if self._breaks > 1 else max(floor, _CAREFUL_PIECE)
            self.piece, self._in_a_row = max(min(lowest, self.piece), self.piece // 2), 0
            return
        self._broken_off += 1
        if alive and moved > floor:
            self._seen = AfterCut.DROPPED
            if self._open_to(Way.PIECES):
                self._to_careful_pieces()
                self._first = Way.PIECES
        elif moved > _MUCH or (self._broken_off > 1 and moved > 2 * floor):
            self._to_pieces(max(floor, min(_PIECE, moved // 8)))

    def learn(self, habits: Habits, registry: str) -> None:
        """The blob is there: remember how, as far as that is news."""
        if Way.STREAM in self._refused:
            habits.learn(registry, streams=False)
        elif self.way is Way.STREAM:
            habits.learn(registry, streams=True)
        if Way.PIECES in self._refused:
            habits.learn(registry, after_cut=AfterCut.LOST)  # as far as pieces could have saved anything
        elif self._seen is not None:
            habits.learn(registry, after_cut=self._seen)
        if self._forced:
            habits.learn(registry, way=self.way, piece=self.most if self.way is Way.PIECES else None)

    def _open_to(self, way: Way) -> bool:
        return way not in self._refused and self._dialect.takes(way)

    def _to_careful_pieces(self) -> None:
        """Pieces that grow while nothing breaks, but to no more than may be lost."""
        self.way, self._in_a_row = Way.PIECES, 0
        careful = max(_CAREFUL_PIECE, self.least)
        share = self._size // _SHARE // _SMALLEST_PIECE * _SMALLEST_PIECE
        self.most = min(self._limit, max(careful, min(_LARGEST_PIECE, share)))
        self.piece = min(careful, self.most)

    def _to_pieces(self, size: int) -> bool:
        if not self._open_to(Way.PIECES):
            return False
        self.way, self._forced = Way.PIECES, True
        self.piece = self.most = min(size, self._dialect.largest_piece or size)
        self._in_a_row = 0
        return True
