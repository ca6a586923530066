"""`modelcar.backoff`."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from modelcar.backoff import Backoff, retry_after


def test_a_rest_doubles_up_to_the_longest() -> None:
    backoff = Backoff(0.5, 3.0, spread=0.0)
    assert [backoff.after(failures) for failures in (1, 2, 3, 4, 5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert backoff.after(10**9) == 3.0


def test_rests_are_spread_around_it() -> None:
    rests = [Backoff(2.0, 2.0, spread=0.5).after(1) for _ in range(200)]
    assert all(1.0 <= rest <= 3.0 for rest in rests)
    assert len(set(rests)) > 100


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), (" 120 ", 120.0), ("0", 0.0), ("9" * 400, 999_999_999.0)],
    ids=["a number", "with space", "none", "a number without end"],
)
def test_seconds_that_are_asked_for(header: str, seconds: float) -> None:
    assert retry_after(header) == seconds


@pytest.mark.parametrize("header", [None, "", "soon", "-1", "1.5", "٣", "Wed, 99 Foo 2024 00:00:00 GMT"])
def test_what_nobody_understands_asks_for_nothing(header: str | None) -> None:
    assert retry_after(header) == 0.0


def test_a_date_that_is_asked_for() -> None:
    assert 3000 < retry_after(formatdate(time.time() + 3600, usegmt=True)) <= 3600
    assert retry_after(formatdate(time.time() - 3600, usegmt=True)) == 0.0
