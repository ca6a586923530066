"""Blobs whose upstream sends something else are asked for again, but not at once, and whoever is told is told when."""

from __future__ import annotations

import time

import pytest

from modelcar.cache.wrong_content import WrongContent
from modelcar.errors import DigestMismatch
from modelcar.lazy.grid import Grid
from modelcar.oci import Digest

GRID = Grid.plain(Digest.of(b"blob"), 4)
ERROR = DigestMismatch("it hashes to something else", hint="ask whoever runs it")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_second_time_says_when_it_is_tried_again() -> None:
    clock = Clock()
    wrong = WrongContent(300.0, clock=clock, today=lambda: clock.now)
    assert wrong.add(GRID, ERROR) is ERROR
    wrong.check(GRID)  # a second chance
    clock.now = 60.0
    told = wrong.add(GRID, ERROR)
    until = time.strftime("%H:%M:%S", time.localtime(360.0))
    assert str(told) == f"it hashes to something else; its registry is not asked for it again before {until}"
    assert (type(told), told.hint) == (DigestMismatch, ERROR.hint)
    clock.now = 359.0
    with pytest.raises(DigestMismatch, match=f"before {until}"):
        wrong.check(GRID)
    clock.now = 360.0
    wrong.check(GRID)


def test_without_a_pause_there_is_nothing_to_say() -> None:
    wrong = WrongContent(0.0)
    assert [wrong.add(GRID, ERROR), wrong.add(GRID, ERROR)] == [ERROR, ERROR]


def test_what_came_after_all_is_forgotten() -> None:
    wrong = WrongContent(300.0)
    wrong.add(GRID, ERROR)
    wrong.add(GRID, ERROR)
    wrong.forget(GRID.digest)
    wrong.check(GRID)
