"""The loop between a kernel that is the test and a door that is the test."""

from __future__ import annotations

import errno
import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelcar.mounts.erofs import filler as module
from modelcar.mounts.erofs.filler import Filler
from modelcar.mounts.process.journal import Journal, create_journal
from modelcar.mounts.testing import ScriptedDoor
from tests.support.erofs_group import ScriptedGroup
from tests.support.plans import plan_of

CONTENTS = [random.Random(n).randbytes(100_000) for n in range(2)]
PLAN = plan_of([100_000, 100_000], {"a": (0, 0, 100_000), "b": (1, 512, 5000)})


class Running:
    def __init__(self, folder: Path, *, patience: float = 60, door: ScriptedDoor | None = None) -> None:
        self.group = ScriptedGroup()
        self.door = door or ScriptedDoor(CONTENTS)
        self._memory = create_journal()
        self._filler = Filler(self.group, Journal(self._memory), PLAN, self.door, target=folder, patience=patience)
        self._thread = threading.Thread(target=self._filler.run, daemon=True)
        self._thread.start()

    def ask(self, blob: int, offset: int, count: int) -> int:
        return self.group.ask(self.door.fileno(blob), offset, count)

    def settled(self, count: int, do: Callable[[], object]) -> None:
        """Do it again and again until so many questions are answered."""
        while len(self.group.answers) < count:
            do()
            self._thread.join(0.01)

    def end(self) -> list[tuple[int, int]]:
        """What was answered before the end."""
        self.group.end()
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.group.answers

    def close(self) -> None:
        self.door.close()
        for descriptor in (self._memory, *self._filler._questions._floor):  # a worker's end closes them
            os.close(descriptor)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path)
    yield running
    running.close()


def test_what_is_here_is_read_at_once_and_without_asking(running: Running) -> None:
    running.door.arrive(0, 4096, 8192)
    number = running.ask(0, 8192, 4096)
    assert running.end() == [(number, 0)]
    assert running.door.asked == []


def test_what_is_not_here_waits_until_it_is(running: Running) -> None:
    running.ask(0, 0, 4096)
    here = running.ask(0, 65536, 4096)
    running.door.arrive(0, 65536, 4096)
    running.group.end()
    running._thread.join(30)
    assert running.group.answers == [(here, 0)]  # the first one did not hold up the second
    running.door.arrive(0, 0, 4096)
    assert [error for _, error in running.group.answers] == [0, 0]
    assert running.door.asked[0] == (0, 0, 4096)


def test_a_block_that_reaches_beyond_the_blob_asks_for_what_there_is(running: Running) -> None:
    running.door.arrive(0)
    running.ask(0, 98304, 4096)
    running.ask(1, 98304, 4096)
    running.end()
    assert running.group.answers[0][1] == 0
    assert running.door.asked == [(1, 98304, 100_000 - 98304)]
    running.door.fail(errno.EIO)


def test_a_question_without_a_count_is_about_everything(running: Running) -> None:
    running.ask(1, 0, 0)
    running.end()
    assert running.door.asked == [(1, 0, 100_000)]
    running.door.fail(errno.EIO)


def test_a_failure_of_the_door_is_the_readers(running: Running) -> None:
    first = running.ask(0, 0, 4096)
    running.end()
    running.door.fail(errno.ENOSPC)
    assert running.group.answers == [(first, errno.ENOSPC)]


def test_a_revoked_blob_gives_errors_even_for_what_was_here(running: Running) -> None:
    running.door.arrive(0)
    running.door.arrive(1)
    running.door.revoke(0, errno.EIO)
    lost, other = running.ask(0, 0, 4096), running.ask(1, 0, 4096)
    assert running.end() == [(lost, errno.EIO), (other, 0)]


def test_a_file_that_the_door_has_replaced_is_never_read(running: Running, tmp_path: Path) -> None:
    """The mount keeps to the old one, in which what the door calls readable is not."""
    running.door.arrive(0)
    with open(tmp_path / "old", "wb+") as old:
        number = running.group.ask(old.fileno(), 0, 4096)
        assert running.end() == [(number, errno.EIO)]


def test_patience_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TICK", 0.01)
    running = Running(tmp_path, patience=0.0)
    number = running.ask(0, 0, 4096)
    while not running.group.answers:
        running._thread.join(0.01)
    assert running.end() == [(number, errno.EIO)]
    running.door.arrive(0)  # too late, and no second answer
    assert running.group.answers == [(number, errno.EIO)]
    running.close()


def test_nobody_waits_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel asks again for a page of a read-ahead that was denied."""
    monkeypatch.setattr(module, "_TICK", 0.01)
    monkeypatch.setattr(module, "_AT_ONCE", 3600.0)
    running = Running(tmp_path, patience=0.0)
    running.ask(0, 0, 8192)
    while not running.group.answers:
        running._thread.join(0.01)
    running.door.asked.clear()
    again = running.ask(0, 4096, 4096)
    running.end()
    assert running.group.answers[1:] == [(again, errno.EIO)]
    assert running.door.asked == []
    running.close()


@pytest.mark.parametrize(("beside", "waits"), [(65536, False), (65536 + 4096, True)])
def test_a_read_ahead_in_pieces_waits_for_one_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beside: int, waits: bool
) -> None:
    """The kernel asks for the next piece when it has the answer for the one before."""
    monkeypatch.setattr(module, "_AT_ONCE", 3600.0)
    monkeypatch.setattr(module, "_NEAR", 65536 - 4096 + 1)
    running = Running(tmp_path, patience=0.0)
    running.ask(0, 0, 4096)
    running.settled(1, lambda: running.door.fail(errno.EIO))
    running.door.asked.clear()
    running.ask(0, beside, 4096)
    running.end()
    assert running.door.asked == ([(0, beside, 4096)] if waits else [])
    running.door.fail(errno.EIO)
    running.close()


def test_a_failure_that_nobody_waited_for_is_of_its_place_alone(running: Running) -> None:
    """A chunk that is wrong, beside one that is right and on its way."""
    running.ask(0, 0, 4096)
    running.settled(1, lambda: running.door.fail(errno.EIO))
    running.door.asked.clear()
    running.ask(0, 65536, 4096)
    running.end()
    assert running.door.asked == [(0, 65536, 4096)]
    running.door.fail(errno.EIO)


def test_a_whole_blob_asks_no_more_and_a_revoked_one_asks_again(running: Running) -> None:
    inode = os.fstat(running.door.fileno(1)).st_ino
    running.door.arrive(0, 0, 4096)
    running.door.arrive(1)
    running.ask(0, 0, 4096)
    running.end()
    assert running.group.ignored == [inode]
    running.door.revoke(1, errno.EIO)
    assert running.group.heeded == [inode]


def test_a_blob_that_was_revoked_before_we_came_is_asked_about(tmp_path: Path) -> None:
    door = ScriptedDoor(CONTENTS)
    door.revoke(0, errno.EIO)
    running = Running(tmp_path, door=door)
    running.end()
    assert running.group.heeded == [os.fstat(door.fileno(0)).st_ino]
    running.close()
