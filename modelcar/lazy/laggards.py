"""What takes too long: which streams are given up, and who else is asked for a chunk that somebody waits for."""

from __future__ import annotations

from typing import Final

from modelcar.layers.hashing import CHUNK_SIZE
from modelcar.lazy.grid import Grid
from modelcar.lazy.pace import Pace
from modelcar.lazy.settings import FetchSettings
from modelcar.lazy.sources import ChunkSource, Router, SourceKind, is_serial
from modelcar.lazy.standing import Standing
from modelcar.lazy.window import Window

__all__ = ["Laggards"]

_CHANCES: Final = 2  # how often a chunk may be the reason to give a slow stream up
_WASTE: Final = 8 << 20  # bytes of slow streams that may be thrown away, besides half a percent of the blob
_DESPERATE: Final = 4  # times the usual wait until the same source is asked again


class Laggards:
    """Of one blob. Not safe to use from several threads. Times are seconds of the monotonic clock.

    Attributes:
        wasted: bytes that came in vain, which the upstream is paid for all the same.
    """

    def __init__(self, grid: Grid, router: Router, standing: Standing, usual: Pace, settings: FetchSettings) -> None:
        self.wasted = 0
        self._grid, self._router = grid, router
        self._standing, self._usual, self._settings = standing, usual, settings

    def is_slow(self, window: Window, now: float) -> bool:
        """Whether others would do better: it stands still, or lags far behind what its source is capable of."""
        if window.abandoned or not window.began:
            return False
        waits = window.partial == 0 and (window.kind is SourceKind.PEER or is_serial(window.source))
        stall = self._settings.peer_stall if waits else self._settings.stall
        if now - max(window.last_byte, window.chunk_began) > stall:
            return True
        if window.held_up or window.kind is SourceKind.PEER:
            return False  # its slowness is ours; a peer's rate is what others leave of it
        age = window.flowing(now)
        usual = self._usual.usual(window.source.name, now)
        if (
            usual is None
            or age < self._settings.straggler_after
            or self._standing.abandoned(window.current) >= _CHANCES
        ):
            return False
        return self._may_waste(window.losing) and window.received / age < usual * self._settings.straggler_share

    def second(self, first: Window, now: float) -> ChunkSource | None:
        """Who is asked as well for the chunk that `first` is at, if that takes longer than is usual: another source, or
        else the same once more, over another connection."""
        waited = now - first.chunk_began
        patience = self._usual.patience(first.kind, self._settings.hedge_after)
        if waited < patience:
            return None
        candidates = self._router.candidates(self._grid, first.current)
        others = [c for c in candidates if _may_hedge(first.source, c)]
        source, _ = self._standing.choose(others, first.current, now) if others else (None, None)
        alone = first.kind is SourceKind.PEER or is_serial(first.source)
        if source is None and waited > _DESPERATE * patience and not alone and self._may_waste(CHUNK_SIZE):
            return next((c for c in candidates if c.name == first.source.name), None)
        return source

    def _may_waste(self, size: int) -> bool:
        return self.wasted + size <= _WASTE + self._grid.size // 200


def _may_hedge(first: ChunkSource, other: ChunkSource) -> bool:
    """Not the same one, and never the upstream because a peer or a mirror is slow: all nodes would turn to it together,
    which is what those are there to prevent."""
    return other.name != first.name and (first.kind is SourceKind.UPSTREAM or other.kind is not SourceKind.UPSTREAM)
