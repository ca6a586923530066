"""Whose chunk is whose: rendezvous hashing. Pure functions of the members' names, so that nodes agree without talking.

Every member has a score for every chunk, and the highest one is its home. A member that leaves gives up its own chunks
and nobody else's. Scores alone would leave one of ten nodes with twice its share of 64 chunks, and all the others
would wait for its uplink; so no member becomes the home of much more than its share of a blob, and what is too much
for it goes to the next in rank.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from modelcar.layers.hashing import CHUNK_SIZE
from modelcar.lazy.grid import Grid
from registry_shim.peers.members import Member

__all__ = ["Homes", "assign", "ranking"]

_MASK: Final = (1 << 64) - 1
_SLACK: Final = 1.05  # of a member's share: what little is left over must not move everything


def ranking(grid: Grid, number: int, members: Sequence[Member]) -> list[Member]:
    """All members in the order in which they would be a chunk's home, whatever else they are the home of.

    A blob that only the whole of which can be verified has one home for all of it.
    """
    key = _chunk_key(_blob_key(grid), number if grid.verifiable else 0)
    return sorted(members, key=lambda member: (_score(key, _member_key(member.name)), member.name), reverse=True)


@dataclass(frozen=True, slots=True)
class Homes:
    """The homes of a blob's chunks: `members[index[number]]` is that of chunk `number`."""

    members: tuple[Member, ...]
    index: array[int]

    def __getitem__(self, number: int) -> Member:
        return self.members[self.index[number]]


def assign(grid: Grid, members: Sequence[Member]) -> Homes:
    """The home of every chunk; `members` are sorted. It costs a microsecond for each chunk and member: keep it."""
    if not members:
        raise ValueError("nobody can be the home of anything")
    everyone = members if isinstance(members, tuple) else tuple(members)
    if not grid.verifiable:
        home = everyone.index(ranking(grid, 0, everyone)[0])
        return Homes(everyone, array("L", [home]) * len(grid))
    keys = [_member_key(member.name) for member in everyone]
    blob = _blob_key(grid)
    room = [_limit(grid.size, len(everyone))] * len(everyone)
    index = array("L")
    for number in range(len(grid)):
        size = grid.bounds(number)[1]
        home = _home(_chunk_key(blob, number), keys, room, size)
        room[home] -= size
        index.append(home)
    return Homes(everyone, index)


def _home(key: int, keys: list[int], room: list[int], size: int) -> int:
    scores = [_score(key, member) for member in keys]
    best = max(range(len(keys)), key=scores.__getitem__)
    if room[best] >= size:
        return best
    with_room = [i for i in range(len(keys)) if room[i] >= size]
    return max(with_room, key=scores.__getitem__) if with_room else best


def _limit(size: int, members: int) -> int:
    """How many bytes of a blob one member may be the home of: its share, in whole chunks."""
    return math.ceil(size * _SLACK / members / CHUNK_SIZE) * CHUNK_SIZE


def _blob_key(grid: Grid) -> int:
    return _hashed(f"{grid.digest} {grid.name}")


def _member_key(name: str) -> int:
    return _hashed(name)


def _hashed(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _chunk_key(blob: int, number: int) -> int:
    return _mixed(blob + number & _MASK)


def _score(chunk: int, member: int) -> int:
    return _mixed(chunk ^ member)


def _mixed(x: int) -> int:
    """The finaliser of SplitMix64: every bit of the result depends on every bit of `x`."""
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)
