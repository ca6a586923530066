"""The homes of the chunks of recent blobs, worked out once for each membership."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from modelcar.lazy.grid import Grid
from modelcar.oci import Digest
from registry_shim.peers.members import Member
from registry_shim.peers.membership import Membership
from registry_shim.peers.ring import assign, ranking

__all__ = ["HomeBook", "Plan"]

_MOST: Final = 256  # blobs that are remembered
_AT_ONCE: Final = 20_000  # chunks times members: about ten milliseconds


class _Homes(Protocol):
    @property
    def members(self) -> tuple[Member, ...]: ...

    def __getitem__(self, number: int) -> Member: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Of one blob, under one membership: the homes within this node's zone, and those among all members.

    Where there are no zones the two are the same.
    """

    zone: _Homes
    everywhere: _Homes


class HomeBook:
    """Safe to use from several threads."""

    def __init__(self, membership: Membership, stand_ins: int) -> None:
        self._membership = membership
        self._stand_ins = stand_ins
        self._lock = threading.Lock()
        self._plans: OrderedDict[tuple[Digest, str], Plan] = OrderedDict()
        self._working: set[tuple[Digest, str]] = set()

    def plan(self, grid: Grid) -> Plan:
        """The homes of all chunks, by what is known now of the members. Takes its time, once."""
        everyone = self._membership.ring()
        plan = self._known(grid)
        if plan is not None and plan.everywhere.members is everyone:
            return plan
        near = self.near(everyone)
        everywhere = assign(grid, everyone)
        plan = Plan(zone=assign(grid, near) if near != everyone else everywhere, everywhere=everywhere)
        with self._lock:
            self._plans[_key(grid)] = plan
            self._plans.move_to_end(_key(grid))
            while len(self._plans) > _MOST:
                self._plans.popitem(last=False)
        return plan

    def quick_plan(self, grid: Grid) -> Plan:
        """As `plan`, but at once: for a large blob it may be that of a moment ago, or a rough one."""
        everyone = self._membership.ring()
        plan = self._known(grid)
        if plan is not None and plan.everywhere.members is everyone:
            return plan
        if len(grid) * len(everyone) <= _AT_ONCE:
            return self.plan(grid)
        with self._lock:
            if _key(grid) not in self._working:
                self._working.add(_key(grid))
                threading.Thread(target=self._work_out, args=(grid,), name="peer-homes", daemon=True).start()
        near = self.near(everyone)
        everywhere = _FirstInRank(grid, everyone)
        return plan or Plan(zone=_FirstInRank(grid, near) if near != everyone else everywhere, everywhere=everywhere)

    def _work_out(self, grid: Grid) -> None:
        try:
            self.plan(grid)
        finally:
            with self._lock:
                self._working.discard(_key(grid))

    def _known(self, grid: Grid) -> Plan | None:
        with self._lock:
            return self._plans.get(_key(grid))

    def near(self, members: tuple[Member, ...]) -> tuple[Member, ...]:
        """Those in this node's zone."""
        zone = self._membership.me.zone
        return tuple(m for m in members if m.zone == zone)

    def lines(self, plan: Plan, grid: Grid, number: int) -> Iterator[Iterator[Member]]:
        """Who fetches a chunk for others, the home first: in this node's zone, then, if that is not all, among all."""
        yield self._line(plan.zone, grid, number)
        if plan.zone is not plan.everywhere:
            yield self._line(plan.everywhere, grid, number)

    def _line(self, homes: _Homes, grid: Grid, number: int) -> Iterator[Member]:
        home = homes[number]
        yield home
        yield from (m for m in ranking(grid, number, homes.members)[: self._stand_ins] if m != home)


def _key(grid: Grid) -> tuple[Digest, str]:
    return grid.digest, grid.name


@dataclass(frozen=True, slots=True)
class _FirstInRank:
    """Homes as they would be if they were not bounded, one by one."""

    grid: Grid
    members: tuple[Member, ...]

    def __getitem__(self, number: int) -> Member:
        return ranking(self.grid, number, self.members)[0]
