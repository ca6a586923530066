"""How fast a client takes or sends."""

from __future__ import annotations

import pytest

from modelcar.serving.pace import Pace

pytestmark = pytest.mark.slow


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_pace_is_of_the_time_that_a_client_is_waited_for() -> None:
    clock = Clock()
    pace = Pace(clock)
    clock.now += 100
    pace.moved(100)
    assert pace.rate() is None, "it is not its turn"
    with pace.waiting():
        clock.now += 9
        assert pace.rate() is None, "nobody can tell yet"
        clock.now += 1
        assert pace.rate() == 10
    pace.moved(400)
    assert pace.rate() is None
    clock.now += 100
    with pace.waiting():
        clock.now += 5
        assert pace.rate() == 500 / 15


def test_a_pace_forgets() -> None:
    """Who took much an hour ago takes nothing now."""
    clock = Clock()
    pace = Pace(clock)
    pace.moved(1 << 30)
    with pace.waiting():
        rates = []
        for _ in range(4):
            clock.now += 10
            rates.append(pace.rate())
    assert rates == [(1 << 30) / 10, 0, 0, 0]
