"""Whom this node gets a chunk from, as things stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from modelcar.lazy.grid import Grid
from registry_shim.peers.homes import HomeBook, Plan
from registry_shim.peers.knowledge import Knowledge
from registry_shim.peers.members import Member
from registry_shim.peers.membership import Membership

__all__ = ["Direction", "Directions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Direction:
    """Members to ask, in order. `ours` says that this node fetches the chunk for all the others.

    Where several are listed, or none and it is not ours, all of them have failed of late.
    """

    members: tuple[Member, ...] = ()
    ours: bool = False


_OURS: Final = Direction(ours=True)


class Directions:
    """Follows the line of those who fetch a chunk for others: in this node's zone, then among all members.

    It ends with the first who does what it should, or with this node itself, which then is the one to go upstream. So
    as long as a home answers, nobody else is asked to fetch its chunks, however slow the upstream is.
    """

    def __init__(self, membership: Membership, homes: HomeBook, knowledge: Knowledge) -> None:
        self._membership = membership
        self._homes = homes
        self._knowledge = knowledge

    def plan(self, grid: Grid) -> Plan:
        """The homes of all chunks. Takes its time, once."""
        return self._homes.plan(grid)

    def to(self, grid: Grid, number: int) -> Direction:
        """Quick: all transfers wait for it."""
        plan, me = self._homes.quick_plan(grid), self._membership.me
        if plan.everywhere[number] == me:
            return _OURS
        home = plan.zone[number]
        if home != me and self._is_reliable(home) and not self._knowledge.has_refused(home, grid, number):
            return Direction(members=(home,))
        ours = False
        doubtful: list[Member] = []
        for line in self._homes.lines(plan, grid, number):
            for member in line:
                if member == me:
                    ours = True
                    break
                if self._knowledge.has_refused(member, grid, number):
                    continue
                if self._is_reliable(member):
                    return Direction(members=(member,))
                doubtful.append(member)
        return _OURS if ours else Direction(members=tuple(dict.fromkeys(doubtful)))

    def accepts(self, grid: Grid, number: int, sender: str) -> bool:
        """Whether this node fetches a chunk for `sender`: it is in line for it, and would not ask `sender` itself.

        Nodes may differ for a while about who the members are. So several are in line, and a chunk is fetched by no
        more than those.
        """
        plan, me = self._homes.plan(grid), self._membership.me
        if not any(me in line for line in self._homes.lines(plan, grid, number)):
            return False
        return sender not in (member.name for member in self.to(grid, number).members)

    def _is_reliable(self, member: Member) -> bool:
        return member in self._membership.reliable()
