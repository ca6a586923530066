"""What is remembered, for how long, and what is not."""

from __future__ import annotations

import pytest

from modelcar.admission.resolve.memory import Look, Memory, NotAtHand, Problem
from modelcar.errors import InvalidContent, Unreachable


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def broken() -> int:
    raise Unreachable("the registry is away")


def damaged() -> int:
    raise InvalidContent("no passwd")


def test_a_value_holds_for_its_time() -> None:
    clock = Clock()
    memory: Memory[str, int] = Memory(10, seconds=60, clock=clock)
    assert memory.look("a", lambda: 1, Look.ASK) == 1
    clock.now += 59.9
    assert memory.look("a", lambda: 2, Look.ASK) == 1
    clock.now += 0.2
    assert memory.get("a") is None
    assert memory.look("a", lambda: 2, Look.ASK) == 2


def test_what_cannot_change_holds_for_ever() -> None:
    clock = Clock()
    memory: Memory[str, int] = Memory(10, clock=clock)
    memory.put("a", 1)
    clock.now += 1e9
    assert memory.get("a") == 1


def test_a_value_may_say_how_long_it_holds() -> None:
    clock = Clock()
    memory: Memory[str, int] = Memory(10, seconds=60, clock=clock)
    memory.look("a", lambda: 1, Look.ASK, seconds=lambda value: value)
    clock.now += 1.5
    assert memory.get("a") is None


def test_a_failure_that_may_pass_is_remembered_shortly_and_one_of_the_image_longer() -> None:
    clock = Clock()
    memory: Memory[str, int] = Memory(10, clock=clock)
    assert memory.look("a", broken, Look.ASK) == Problem("the registry is away")
    assert memory.look("a", lambda: 1, Look.ASK) == Problem("the registry is away")
    assert memory.look("b", damaged, Look.ASK) == Problem("no passwd", is_settled=True)
    clock.now += 6
    assert memory.look("a", lambda: 1, Look.ASK) == 1
    assert memory.look("b", lambda: 1, Look.ASK) == Problem("no passwd", is_settled=True)
    clock.now += 300
    assert memory.look("b", lambda: 1, Look.ASK) == 1


def test_nobody_is_asked_where_that_takes_too_long() -> None:
    memory: Memory[str, int] = Memory(10)
    with pytest.raises(NotAtHand):
        memory.look("a", broken, Look.AT_HAND)
    assert isinstance(memory.look("a", broken, Look.LATE), Problem)
    assert memory.get("a") is None  # that it was late is no fact about it


def test_an_error_that_is_none_of_ours_is_not_remembered() -> None:
    def bug() -> int:
        raise ZeroDivisionError

    memory: Memory[str, int] = Memory(10)
    with pytest.raises(ZeroDivisionError):
        memory.look("a", bug, Look.ASK)
    assert memory.get("a") is None


def test_what_was_used_longest_ago_is_forgotten_first() -> None:
    memory: Memory[int, int] = Memory(3)
    for i in range(3):
        memory.put(i, i)
    assert memory.get(0) == 0
    memory.put(3, 3)
    assert [memory.get(i) for i in range(4)] == [0, None, 2, 3]


def test_what_was_settled_first_stays() -> None:
    clock = Clock()
    memory: Memory[str, int] = Memory(10, seconds=60, clock=clock)
    assert memory.settle("a", 1) == 1
    assert memory.settle("a", 2) == 1
    clock.now += 61
    assert memory.settle("a", 2) == 2
