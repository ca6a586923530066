"""What takes long to find out is not found out for everyone who asks."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from registry_shim.space.recent import Recent


class Costly:
    """A value that takes `seconds` of its own clock to find out."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.now, self.seconds, self.times = 100.0, seconds, 0

    def __call__(self) -> int:
        self.times += 1
        self.now += self.seconds
        return self.times


def test_a_value_is_believed_for_a_while() -> None:
    costly = Costly()
    recent = Recent(costly, clock=lambda: costly.now)
    assert (recent.get(), recent.get()) == (1, 1)
    costly.now += 4.9
    assert recent.get() == 1
    costly.now += 0.2
    assert recent.get() == 2


def test_one_that_took_long_is_believed_for_longer() -> None:
    costly = Costly(seconds=10)
    recent = Recent(costly, clock=lambda: costly.now)
    assert recent.get() == 1
    costly.now += 199
    assert recent.get() == 1
    costly.now += 2
    assert recent.get() == 2


def test_while_one_finds_out_the_others_get_what_was_known() -> None:
    asked, answered = threading.Event(), threading.Event()
    now = [0.0]

    def find_out() -> float:
        if now[0]:
            asked.set()
            answered.wait(10)
        return now[0]

    recent = Recent(find_out, clock=lambda: now[0])
    assert recent.get() == 0.0
    now[0] = 60.0
    with ThreadPoolExecutor(1) as threads:
        finding = threads.submit(recent.get)
        assert asked.wait(10)
        assert recent.get() == 0.0
        answered.set()
        assert finding.result(10) == 60.0
    assert recent.get() == 60.0


def test_who_asks_first_waits_and_only_one_finds_out() -> None:
    costly = Costly()
    begin = threading.Barrier(8)
    recent = Recent(costly, clock=lambda: costly.now)

    def ask() -> int:
        begin.wait(10)
        return recent.get()

    with ThreadPoolExecutor(8) as threads:
        assert {future.result(10) for future in [threads.submit(ask) for _ in range(8)]} == {1}
    assert costly.times == 1


def test_a_failure_is_not_remembered() -> None:
    results: list[OSError | int] = [OSError("slow disk"), 7]

    def find_out() -> int:
        result = results.pop(0)
        if isinstance(result, OSError):
            raise result
        return result

    recent = Recent(find_out)
    with pytest.raises(OSError, match="slow disk"):
        recent.get()
    assert recent.get() == 7
