"""Homes: everyone has about their share, and little moves when members come and go."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from modelcar.layers.hashing import CHUNK_SIZE, Chunk
from modelcar.lazy.grid import Grid
from modelcar.oci import Digest
from registry_shim.peers.members import Member
from registry_shim.peers.ring import assign, ranking
from tests.support.examples import examples

SEEDS = st.integers(0, 1 << 30)
ABSENT = Digest.of(b"")


def grid_of(seed: int, chunks: int) -> Grid:
    table = tuple(Chunk(offset=n * CHUNK_SIZE, size=CHUNK_SIZE, digest=ABSENT) for n in range(chunks))
    return Grid(Digest.of(str(seed).encode()), chunks * CHUNK_SIZE, table)


def members(count: int, seed: int = 0) -> list[Member]:
    return sorted(Member(f"10.{seed % 256}.0.{n}", 5443) for n in range(count))


@given(seed=SEEDS, chunks=st.integers(1, 300), count=st.integers(1, 40))
def test_nobody_is_the_home_of_much_more_than_its_share(seed: int, chunks: int, count: int) -> None:
    homes = assign(grid_of(seed, chunks), members(count, seed))
    load = Counter(homes[n] for n in range(chunks))
    assert max(load.values()) <= chunks * 1.05 / count + 1


@examples(30)
@given(seed=SEEDS, count=st.integers(2, 30))
def test_one_who_leaves_takes_little_with_it(seed: int, count: int) -> None:
    grid, everyone = grid_of(seed, 600), members(count, seed)
    before, after = assign(grid, everyone), assign(grid, everyone[1:])
    moved = sum(before[n] != after[n] for n in range(600) if before[n] != everyone[0])
    assert moved <= 600 * 0.25
    assert all(after[n] != everyone[0] for n in range(600))


@given(seed=SEEDS, chunks=st.integers(1, 50), count=st.integers(1, 20))
def test_nodes_agree_in_whatever_order_they_learnt_of_each_other(seed: int, chunks: int, count: int) -> None:
    grid, everyone = grid_of(seed, chunks), members(count, seed)
    one, other = assign(grid, everyone), assign(grid, sorted(set(everyone)))
    assert [one[n] for n in range(chunks)] == [other[n] for n in range(chunks)]


@given(seed=SEEDS, number=st.integers(0, 9), count=st.integers(2, 20))
def test_the_rank_of_two_members_does_not_depend_on_the_others(seed: int, number: int, count: int) -> None:
    grid, everyone = grid_of(seed, 10), members(count, seed)
    whole, part = ranking(grid, number, everyone), ranking(grid, number, everyone[::2])
    assert [m for m in whole if m in set(part)] == part


@given(seed=SEEDS, count=st.integers(1, 20))
def test_what_only_the_whole_of_can_be_verified_has_one_home(seed: int, count: int) -> None:
    grid, everyone = Grid.plain(Digest.of(str(seed).encode()), 30 * CHUNK_SIZE), members(count, seed)
    homes = assign(grid, everyone)
    assert {homes[n] for n in range(len(grid))} == {ranking(grid, 7, everyone)[0]}


def test_homes_are_the_first_in_rank_where_there_is_room() -> None:
    grid, everyone = grid_of(1, 1000), members(10)
    homes = assign(grid, everyone)
    first = sum(homes[n] == ranking(grid, n, everyone)[0] for n in range(1000))
    second = sum(homes[n] in ranking(grid, n, everyone)[:3] for n in range(1000))
    assert first > 900
    assert second > 980


def test_homes_are_what_they_were_in_the_version_before() -> None:
    """Nodes of two versions must agree while a cluster is upgraded."""
    grid = grid_of(0, 8)
    assert [int(ranking(grid, n, members(10))[0].host[-1]) for n in range(8)] == [8, 4, 1, 3, 9, 1, 6, 5]
