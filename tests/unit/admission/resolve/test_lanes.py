"""Threads by registry: a dead one holds up nobody else."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError

import pytest

from modelcar.admission.resolve.lanes import Lanes
from modelcar.errors import WorldError
from modelcar.registry.cancel import current_scope


def wait_to_be_cut_off() -> None:
    scope = current_scope()
    assert scope is not None
    scope.wait(30)


def test_a_lane_that_is_full_leaves_room_for_others() -> None:
    lanes = Lanes(seconds=30, each=2, total=10)
    dead = [lanes.submit("dead", wait_to_be_cut_off) for _ in range(5)]
    assert lanes.submit("alive", lambda: "answer").result(10) == "answer"
    assert not any(future.done() for future in dead)
    lanes.close()


def test_what_waits_comes_in_its_turn() -> None:
    lanes, go, order = Lanes(seconds=30, each=1, total=10), threading.Event(), []
    first = lanes.submit("one", lambda: go.wait(10))
    others = [lanes.submit("one", lambda i=i: order.append(i)) for i in range(20)]  # type: ignore[misc]  # mypy takes no lambda with a default
    go.set()
    for future in others:
        future.result(10)
    assert first.result() is True
    assert order == list(range(20))


def test_never_more_threads_than_allowed() -> None:
    lanes, lock, go, begun = Lanes(seconds=30, each=3, total=5), threading.Lock(), threading.Event(), []
    running: list[str] = []
    most: list[tuple[int, int]] = []
    five = threading.Semaphore(0)

    def work(lane: str) -> None:
        with lock:
            begun.append(lane)
            running.append(lane)
            most.append((len(running), running.count(lane)))
        five.release()
        go.wait(10)
        with lock:
            running.remove(lane)

    futures = [lanes.submit(lane, lambda lane=lane: work(lane)) for lane in "aaaaabbbbbccccc"]  # type: ignore[misc]  # mypy takes no lambda with a default
    assert all(five.acquire(timeout=10) for _ in range(5))
    assert sorted(begun) == ["a", "a", "a", "b", "b"]
    go.set()
    for future in futures:
        future.result(10)
    assert sorted(begun) == sorted("aaaaabbbbbccccc")
    assert max(total for total, _ in most) == 5
    assert max(each for _, each in most) == 3


def test_what_takes_too_long_is_cut_off_and_what_waits_goes_on() -> None:
    lanes = Lanes(seconds=0.05, each=1, total=10)
    stuck = lanes.submit("one", wait_to_be_cut_off)
    after = lanes.submit("one", lambda: 1)
    with pytest.raises(WorldError, match="no answer within"):
        stuck.result(10)
    assert after.result(10) == 1


def test_errors_come_out() -> None:
    with pytest.raises(ZeroDivisionError):
        Lanes(seconds=30).submit("one", lambda: 1 // 0).result(10)


def test_too_much_is_refused_at_once() -> None:
    lanes = Lanes(seconds=30, each=1, total=1, waiting=2)
    for _ in range(3):
        lanes.submit("dead", wait_to_be_cut_off)
    with pytest.raises(WorldError, match="too many"):
        lanes.submit("alive", lambda: 1)
    lanes.close()


def test_closing_cuts_off_and_drops() -> None:
    lanes = Lanes(seconds=30, each=1)
    runs, waits = lanes.submit("one", wait_to_be_cut_off), lanes.submit("one", lambda: 1)
    lanes.close()
    with pytest.raises(WorldError):
        runs.result(10)
    with pytest.raises(CancelledError):
        waits.result(10)
    with pytest.raises(WorldError):
        lanes.submit("one", lambda: 1)
