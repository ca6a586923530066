"""`modelcar.throttle`."""

from __future__ import annotations

import pytest

from modelcar.throttle import Throttle


def test_a_limit_is_shared_and_may_change() -> None:
    now = [100.0]
    throttle = Throttle(1000.0, clock=lambda: now[0])
    assert throttle.take(250) == 0.0  # what may come at once
    assert throttle.take(500) == pytest.approx(0.5)
    now[0] += 0.5
    assert throttle.take(1000) == pytest.approx(1.0)
    throttle.set_rate(100_000.0)
    assert throttle.take(0) <= 0.25
    throttle.set_rate(None)
    assert throttle.take(10**9) == 0.0
    throttle.set_rate(0)
    assert throttle.held
