"""Who is asked for which chunk."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from modelcar.cache.origins import Origins
from modelcar.layers.hashing import CHUNK_SIZE
from modelcar.lazy.grid import Grid
from modelcar.lazy.sources import ByteStream, ChunkSource, Outcome, Router, SourceKind
from modelcar.registry.cancel import CancelScope, current_scope
from registry_shim.peers.client import PeerClient
from registry_shim.peers.directions import Directions
from registry_shim.peers.knowledge import Knowledge
from registry_shim.peers.members import Member
from registry_shim.peers.membership import Membership
from registry_shim.peers.source import PeerSource

__all__ = ["PeerRouter"]

_HOLDERS: Final = 2  # besides the home
_WAIT: Final = 4.0  # seconds that one request goes on asking for what is on its way
_ASKED: Final = 4  # peers, before a blob begins
_LOOK: Final = 0.3  # seconds that their answers may take
_SPREAD: Final = 1.0  # seconds
_STEP: Final = 0.2  # seconds
_SMALL: Final = CHUNK_SIZE  # bytes


class PeerRouter:
    """The `Router` for one blob on a node with peers. `behind` is that of a node without.

    This node's own chunks come from there. All others come from their home in this zone, or from whoever is known to
    have them; the home in the zone, if another zone has the chunk's home among all members, gets them from that. As
    long as a home does what it should, nobody else is asked to fetch a chunk, however slow the upstream is; where it
    does not, the next in rank is.

    What is small and cannot be verified in part (a model index, a configuration) every node gets from the upstream: a
    pull cannot begin without it, and one wrong copy would spoil all that follows.
    """

    def __init__(
        self,
        origins: Origins,
        behind: Router,
        *,
        membership: Membership,
        directions: Directions,
        knowledge: Knowledge,
        client: PeerClient,
        turns: threading.Semaphore,
        lookouts: threading.Semaphore,
    ) -> None:
        """What all routers share: `turns` bounds how much of what others should fetch is fetched from the upstream at
        once, `lookouts` how many peers are asked what they have."""
        self._origins = origins
        self._behind = behind
        self._membership = membership
        self._directions = directions
        self._knowledge = knowledge
        self._client = client
        self._turns, self._lookouts = turns, lookouts
        self._sources: dict[Member, PeerSource] = {}

    def background(self, grid: Grid) -> Iterable[int]:
        """First this node's own chunks, then, in turn, one of each of the others' homes, the next in line first.

        A home fetches its chunks in their order, so everyone asks it for them in that order, and no two nodes ask the
        same home at the same time.
        """
        if _is_small(grid):
            return self._behind.background(grid)
        self._look_around(grid)
        if not grid.verifiable:
            return range(len(grid))
        plan, me = self._directions.plan(grid), self._membership.me
        of: dict[Member, list[int]] = {member: [] for member in plan.zone.members}
        for number in range(len(grid)):
            of[plan.zone[number]].append(number)
        own = of.pop(me, [])
        others = sorted(of)
        turn = sum(member < me for member in others)
        rounds = zip_longest(*(of[member] for member in (*others[turn:], *others[:turn])))
        return [*own, *(n for numbers in rounds for n in numbers if n is not None)]

    def candidates(self, grid: Grid, number: int) -> Sequence[ChunkSource]:
        if _is_small(grid):
            return self._behind.candidates(grid, number)
        direction = self._directions.to(grid, number)
        if direction.ours:  # somebody may have it all the same: from before this node was its home
            return [*map(self._source, self._holders(grid, number)), *self._behind.candidates(grid, number)]
        if len(direction.members) == 1 and direction.members[0] in self._membership.reliable():
            return self._spread(direction.members[0], grid, number)
        last_resort = [_LastResort(inner=s, turns=self._turns) for s in self._behind.candidates(grid, number)]
        holders = self._holders(grid, number)
        return [*map(self._source, dict.fromkeys([*holders, *direction.members])), *last_resort]

    def is_at_hand(self, grid: Grid, number: int) -> bool:
        return self._knowledge.is_held(grid, number)

    def report(self, source: ChunkSource, outcome: Outcome, size: int, seconds: float) -> None:
        if isinstance(source, _LastResort):
            self._behind.report(source.inner, outcome, size, seconds)
        elif not isinstance(source, PeerSource):
            self._behind.report(source, outcome, size, seconds)
        elif outcome is Outcome.DONE:
            # Who sends to many is not slow: only a part of its time was for us.
            self._membership.succeeded(source.member, size, seconds / self._knowledge.sharing(source.member))
        elif outcome is Outcome.BROKEN:
            self._membership.failed(source.member)
        elif outcome is Outcome.SLOW:
            self._membership.dawdled(source.member)
        elif outcome is Outcome.WRONG:
            self._membership.lied(source.member)
            self._knowledge.forget(source.member)

    def _spread(self, home: Member, grid: Grid, number: int) -> list[ChunkSource]:
        """The home, and those who have the chunk already, the one that is least busy with us first: so the home's
        uplink is not all that everybody waits for."""
        holders = self._holders(grid, number)
        if not holders:
            return [self._source(home)]
        return [self._source(member) for member in self._idlest({home, *holders})]

    def _holders(self, grid: Grid, number: int) -> list[Member]:
        """Some who are known to have a chunk, in this zone."""
        if not self._knowledge.is_held(grid, number):
            return []
        reliable, me = self._membership.reliable(), self._membership.me  # which it does not count among them
        known = self._knowledge.holders(grid, number)
        return self._idlest(m for m in known if m in reliable and m.zone == me.zone)[:_HOLDERS]

    def _idlest(self, members: Iterable[Member]) -> list[Member]:
        """Those first who have least to do for us; among equals, chance decides."""
        return sorted(members, key=lambda m: self._knowledge.busy(m) + random.random())  # noqa: S311  # not a secret

    def _look_around(self, grid: Grid) -> None:
        """Ask some who has what, so that a node that joins, or comes late, takes nothing from the upstream. In threads
        of their own, for a moment: who has nothing to tell by then is not waited for."""
        well = sorted(self._membership.reliable())
        threads = [
            threading.Thread(target=self._look, args=(self._source(member), grid), name="peer-look", daemon=True)
            for member in random.sample(well, min(_ASKED, len(well)))
            if self._lookouts.acquire(blocking=False)  # all of them may wait for peers that do not answer
        ]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + _LOOK
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _look(self, source: PeerSource, grid: Grid) -> None:
        try:
            source.look(grid)
        finally:
            self._lookouts.release()

    def _source(self, member: Member) -> PeerSource:
        source = self._sources.get(member)
        if source is None:
            source = self._sources[member] = PeerSource(
                member=member,
                origins=self._origins,
                client=self._client,
                notes=self._knowledge,
                wait=_WAIT,
                lags=self._membership.lags,
            )
        return source


def _is_small(grid: Grid) -> bool:
    return not grid.verifiable and grid.size <= _SMALL


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _LastResort:
    """The upstream, when all who should fetch a chunk have failed: not at once, and for a few chunks at a time, because
    every other node may be in the same position."""

    inner: ChunkSource
    turns: threading.Semaphore

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def kind(self) -> SourceKind:
        return self.inner.kind

    @contextmanager
    def fetch(self, grid: Grid, offset: int, length: int) -> Iterator[ByteStream]:
        scope = current_scope() or CancelScope()
        scope.wait(random.uniform(0, _SPREAD))  # noqa: S311  # not a secret
        while not self.turns.acquire(timeout=_STEP):
            scope.check()
        try:
            with self.inner.fetch(grid, offset, length) as stream:
                yield stream
        finally:
            self.turns.release()
