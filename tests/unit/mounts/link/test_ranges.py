"""Ranges against a plain set of numbers."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from modelcar.mounts.link.ranges import Ranges

PAIRS = st.tuples(st.integers(0, 60), st.integers(0, 60))


@given(st.lists(PAIRS, max_size=30), st.lists(PAIRS, max_size=30))
def test_ranges_are_a_set_of_bytes(added: list[tuple[int, int]], asked: list[tuple[int, int]]) -> None:
    ranges, known = Ranges(), set[int]()
    for start, stop in added:
        ranges.add(start, stop)
        known |= set(range(start, stop))
        pairs = list(ranges)
        assert {n for a, b in pairs for n in range(a, b)} == known
        assert all(a < b for a, b in pairs)
        assert all(one[1] < other[0] for one, other in itertools.pairwise(pairs)), "they overlap or touch"
    for start, stop in asked:
        assert ranges.covers(start, stop) == (set(range(start, stop)) <= known)


def test_a_set_can_be_emptied() -> None:
    ranges = Ranges()
    ranges.add(0, 10)
    ranges.clear()
    assert not ranges.covers(0, 1)
    assert list(ranges) == []
