"""What is known of who has which chunks."""

from __future__ import annotations

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
