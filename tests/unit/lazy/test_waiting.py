"""Who is told when, by a plain reading of what is here."""

from __future__ import annotations

from concurrent.futures import Future

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcar.errors import Unreachable
from modelcar.lazy.waiting import Waiter, Waiting

CHUNKS = 8
RANGES = st.tuples(st.integers(0, CHUNKS - 1), st.integers(1, CHUNKS)).map(lambda r: range(r[0], min(CHUNKS, sum(r))))


@given(st.lists(RANGES), st.permutations(range(CHUNKS)))
def test_each_is_told_once_by_its_last_chunk(ranges: list[range], order: list[int]) -> None:
    here = bytearray(CHUNKS)
    waiting = Waiting(here)
    waiters = {Waiter(chunks, Future()): chunks for chunks in ranges}
    assert not any(waiting.add(waiter) for waiter in waiters)
    left = dict(waiters)
    for number in order:
        assert len(waiting) == len(left)
        here[number] = 1
        told = waiting.arrived(number)
        assert len(told) == len(set(told))
        assert {w for w, chunks in left.items() if all(here[n] for n in chunks)} == set(told)
        left = {w: chunks for w, chunks in left.items() if w not in told}
    assert not left
    assert len(waiting) == 0


def test_what_is_here_is_not_waited_for() -> None:
    waiting = Waiting(bytearray(b"\1\1\0"))
    assert waiting.add(Waiter(range(2), Future()))
    assert waiting.add(Waiter(range(2, 2), Future()))
    assert not waiting.add(Waiter(range(1, 3), Future()))
    assert len(waiting) == 1


def test_who_is_taken_is_remembered_no_more() -> None:
    waiting = Waiting(bytearray(2))
    futures: list[Future[None]] = [Future(), Future()]
    for number, future in enumerate(futures):
        waiting.add(Waiter(range(number, 2), future))
    futures[1].cancel()
    error = Unreachable("gone")
    for waiter in waiting.take():
        waiter.tell(error)
    assert futures[0].exception(0) is error
    assert len(waiting) == 0
    assert waiting.arrived(0) == []
    with pytest.raises(Unreachable):
        futures[0].result(0)
