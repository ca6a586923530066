"""Pages are dropped when nothing that was being sent can come behind that."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from modelcar.mounts.fuse import wire
from modelcar.mounts.fuse.revoking import Revoking, Turns
from modelcar.mounts.fuse.tree import Tree
from tests.support.plans import plan_of
from tests.support.waiting import eventually

TREE = Tree(plan_of([10, 10], {"a": (0, 0, 5), "b": (1, 0, 5), "c": (0, 5, 5)}))


@pytest.fixture
def device() -> Iterator[tuple[int, int]]:
    """Where notices are read, and where they are written."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    yield reading, writing
    os.close(reading)
    os.close(writing)


def notices(reading: int) -> bytes:
    try:
        return os.read(reading, 4096)
    except BlockingIOError:
        return b""


def test_the_pages_of_all_files_of_a_blob_are_dropped_after_whatever_was_being_sent(device: tuple[int, int]) -> None:
    reading, writing = device
    turns = Turns(3)
    revoking = Revoking(writing, TREE, turns)
    turns.step(1)  # it is sending
    thread = threading.Thread(target=revoking.run)
    thread.start()
    revoking.lost(0)
    thread.join(0.1)
    assert notices(reading) == b""
    turns.step(1)
    revoking.close()
    thread.join()
    assert notices(reading) == b"".join(wire.drop_pages(node) for node in TREE.files_in(0))


def test_a_kernel_that_knows_no_such_file_changes_nothing(device: tuple[int, int]) -> None:
    reading, writing = device
    closed = os.dup(writing)
    os.close(closed)
    revoking = Revoking(closed, TREE, Turns(1))
    revoking.lost(0)
    revoking.lost(1)
    revoking.close()
    revoking.run()
    assert notices(reading) == b""


def test_nobody_is_waited_for_who_is_not_sending() -> None:
    turns = Turns(2)
    turns.wait_for_all()
    for _ in range(2):
        turns.step(0)
    turns.wait_for_all()


def test_who_is_sending_something_else_by_now_is_not_waited_for() -> None:
    turns = Turns(1)
    turns.step(0)
    waiting = threading.Thread(target=turns.wait_for_all)
    waiting.start()

    def goes_on() -> bool:
        turns.step(0)
        turns.step(0)  # what it sends now was looked up after the loss
        waiting.join(0.01)
        return not waiting.is_alive()

    eventually(goes_on, "it goes on", within=60)
