"""What is known of who has which chunks."""

from __future__ import annotations

import pytest

from registry_shim.peers.knowledge import Knowledge
from registry_shim.peers.members import Member
from tests.support.chunks import Content

B, C = (Member(f"10.0.0.{n}", 5443) for n in (2, 3))
GRID = Content(12 * 1000).table(1000)


def test_a_chunk_is_held_as_long_as_anybody_is_known_to_have_it() -> None:
    knowledge = Knowledge(1.0)
    assert not knowledge.is_held(GRID, 1)
    knowledge.learnt(B, GRID, bytes([0b0000_0010, 0]))
    knowledge.learnt(C, GRID, bytes([0b0000_0010, 0b1000]))
    assert [n for n in range(12) if knowledge.is_held(GRID, n)] == [1, 11]
    assert knowledge.holders(GRID, 1) == [B, C]
    knowledge.forget(C)
    assert [n for n in range(12) if knowledge.is_held(GRID, n)] == [1]
    knowledge.refused(B, GRID)
    assert not knowledge.is_held(GRID, 1)
    assert knowledge.holders(GRID, 1) == []


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_home_that_gets_other_chunks_meanwhile_is_not_given_up(clock: Clock) -> None:
    knowledge = Knowledge(60.0, clock=clock)
    knowledge.begun(B, GRID, 0, 0.1)  # so that eight seconds are long
    knowledge.delayed(B, GRID, 5)
    for here in range(1, 5):
        clock.now += 6
        knowledge.learnt(B, GRID, bytes([(1 << here) - 1, 0]))
        assert not knowledge.has_refused(B, GRID, 5)
    clock.now += 6
    knowledge.learnt(B, GRID, bytes([0b1111, 0]))  # nothing new
    clock.now += 6
    assert knowledge.has_refused(B, GRID, 5)


def test_no_home_is_waited_for_without_end(clock: Clock) -> None:
    knowledge = Knowledge(60.0, clock=clock)
    knowledge.begun(B, GRID, 0, 0.1)
    knowledge.delayed(B, GRID, 11)
    for here in range(1, 12):
        clock.now += 6
        knowledge.learnt(B, GRID, ((1 << here) - 1).to_bytes(2, "little"))
    assert knowledge.has_refused(B, GRID, 11)


def test_busy_is_who_has_much_to_do_for_us_or_for_others(clock: Clock) -> None:
    knowledge = Knowledge(60.0, clock=clock)
    assert (knowledge.busy(B), knowledge.sharing(B)) == (0, 1)
    with knowledge.asking(B):
        assert knowledge.busy(B) == 1
        knowledge.loaded(B, 7)
        assert (knowledge.busy(B), knowledge.sharing(B)) == (8, 7)
    clock.now += 2
    assert knowledge.busy(B) == 0, "that was a while ago"
    knowledge.loaded(B, 0)
    assert knowledge.sharing(B) == 1
