"""What this node has found out about peers' blobs: who has which chunks, and who is not going to give us any."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import reduce
from operator import or_
from typing import Final

from modelcar.lazy.grid import Grid
from modelcar.oci import Digest
from registry_shim.peers.members import Member
from registry_shim.peers.protocol import is_in_map

__all__ = ["Knowledge"]

_Blob = tuple[Digest, str]
_MOST: Final = 64  # blobs whose maps are kept
_MOST_DELAYS: Final = 10_000
_LEAST: Final = 8.0  # seconds that a chunk may be on its way
_TIMES: Final = 5  # longer than is usual
_WEIGHT: Final = 0.1  # of the newest sample in the average
_FRESH: Final = 1.0  # seconds that what a peer says of its load is worth something
_REFUSED: Final = 20.0  # seconds that a peer is not asked for a blob that it has refused


class Knowledge:
    """`source.Notes`, and what follows from them. Safe to use from several threads."""

    def __init__(self, patience: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`patience`: seconds that a chunk may be on its way to its home before others are asked for it."""
        self._patience = patience
        self._clock = clock
        self._lock = threading.Lock()
        self._maps: OrderedDict[_Blob, dict[Member, bytes]] = OrderedDict()
        self._held: dict[_Blob, bytes] = {}
        self._refused: dict[tuple[Member, _Blob], float] = {}
        self._delayed: OrderedDict[tuple[Member, _Blob, int], float] = OrderedDict()
        self._news: dict[Member, float] = {}  # when a map of its last grew
        self._usual: float | None = None
        self._asked: Counter[Member] = Counter()
        self._sending: dict[Member, tuple[int, float]] = {}  # bodies, and when it said so

    # What sources tell.

    def learnt(self, member: Member, grid: Grid, bits: bytes) -> None:
        with self._lock:
            maps = self._maps.setdefault(_blob(grid), {})
            if maps.get(member) != bits:
                maps[member] = bits
                self._news[member] = self._clock()
                self._sum_up(_blob(grid))
            self._maps.move_to_end(_blob(grid))
            if len(self._maps) > _MOST:
                oldest, _ = self._maps.popitem(last=False)
                self._sum_up(oldest)

    def loaded(self, member: Member, sending: int) -> None:
        self._sending[member] = (sending, self._clock())

    def refused(self, member: Member, grid: Grid) -> None:
        now = self._clock()
        with self._lock:
            self._refused = {key: until for key, until in self._refused.items() if until > now}
            self._refused[member, _blob(grid)] = now + _REFUSED * random.uniform(0.75, 1.25)  # noqa: S311  # not a secret
            self._maps.get(_blob(grid), {}).pop(member, None)
            self._sum_up(_blob(grid))

    def delayed(self, member: Member, grid: Grid, number: int) -> None:
        with self._lock:
            self._delayed.setdefault((member, _blob(grid), number), self._clock())
            if len(self._delayed) > _MOST_DELAYS:
                self._delayed.popitem(last=False)

    def begun(self, member: Member, grid: Grid, number: int, seconds: float) -> None:
        with self._lock:
            since = self._delayed.pop((member, _blob(grid), number), None)
            waited = seconds if since is None else self._clock() - since
            self._usual = waited if self._usual is None else (1 - _WEIGHT) * self._usual + _WEIGHT * waited

    @contextmanager
    def asking(self, member: Member) -> Iterator[None]:
        with self._lock:
            self._asked[member] += 1
        try:
            yield
        finally:
            with self._lock:
                self._asked[member] -= 1

    # What follows.

    def has_refused(self, member: Member, grid: Grid, number: int) -> bool:
        """Whether there is no use in asking a home for a chunk at the moment: it said so, or we waited for long and it
        got no others meanwhile. One that is well has many to fetch, and not all of them can be the first."""
        if not self._refused and not self._delayed:
            return False
        now, blob = self._clock(), _blob(grid)
        if self._refused.get((member, blob), 0.0) > now:
            return True
        since = self._delayed.get((member, blob, number))
        if since is None:
            return False
        stuck = max(since, self._news.get(member, since))
        return now - since > self._patience or now - stuck > self._worth_waiting()

    def _worth_waiting(self) -> float:
        """Seconds: longer where everybody's chunks take long, for then it is the upstream that is slow."""
        return self._patience if self._usual is None else min(self._patience, max(_LEAST, _TIMES * self._usual))

    def holders(self, grid: Grid, number: int) -> list[Member]:
        """Who is known to have a chunk."""
        with self._lock:
            maps = self._maps.get(_blob(grid), {})
            return [member for member, bits in maps.items() if is_in_map(bits, number)]

    def is_held(self, grid: Grid, number: int) -> bool:
        """Whether anybody is known to have a chunk."""
        bits = self._held.get(_blob(grid))
        return bits is not None and is_in_map(bits, number)

    def busy(self, member: Member) -> int:
        """How much it has to do, as far as is known: for us, and of late for all."""
        sending, told = self._sending.get(member, (0, 0.0))
        return self._asked[member] + (sending if self._clock() - told < _FRESH else 0)

    def sharing(self, member: Member) -> int:
        """How many bodies it was sending when it last said so, and at least one."""
        return max(1, self._sending.get(member, (1, 0.0))[0])

    def forget(self, member: Member) -> None:
        """It is gone, or not to be believed."""
        with self._lock:
            self._news.pop(member, None)
            self._sending.pop(member, None)
            for blob, maps in self._maps.items():
                maps.pop(member, None)
                self._sum_up(blob)

    def _sum_up(self, blob: _Blob) -> None:
        maps = self._maps.get(blob)
        if not maps:
            self._held.pop(blob, None)
            return
        most = max(map(len, maps.values()))
        held = reduce(or_, (int.from_bytes(bits, "little") for bits in maps.values()))
        self._held[blob] = held.to_bytes(most, "little")


def _blob(grid: Grid) -> _Blob:
    return grid.digest, grid.name
