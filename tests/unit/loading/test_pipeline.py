"""Order, window and failures of reads in several threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelcar.errors import StorageError, WorldError
from modelcar.loading.files import DiskFile, Piece
from modelcar.loading.frameworks import Raw
from modelcar.loading.memory import HostMemory
from modelcar.loading.pipeline import Pipeline
from modelcar.loading.plan import plan_reads, want
from tests.support.leaks import no_thread_left
from tests.support.weights import safetensors_bytes

SIZE = 100  # bytes of a tensor
COUNT = 20


class Watched(DiskFile):
    """A file whose reads are seen before they happen."""

    def __init__(self, file: Path) -> None:
        super().__init__(file, "m")
        self.gap = 0  # type: ignore[misc]  # a constant of the class
        self.reads: list[int] = []
        self.before: Callable[[int], None] = lambda _: None

    def read_into(self, offset: int, pieces: Iterator[Piece], size: int) -> None:
        self.reads.append(offset)
        self.before(offset)
        super().read_into(offset, pieces, size)


@pytest.fixture
def file(tmp_path: Path) -> Watched:
    path = tmp_path / "m.safetensors"
    path.write_bytes(safetensors_bytes({f"t{i:02}": ("U8", (SIZE,), bytes([i]) * SIZE) for i in range(COUNT)}))
    return Watched(path)


class Running:
    """A pipeline over one file."""

    def __init__(self, file: Watched, *, read: int = SIZE, workers: int = 3, window: int = 5 * SIZE) -> None:
        wanted = want([file])
        self.memory = HostMemory(wanted, Raw().tensor)
        reads = plan_reads([file], wanted, size=read)
        self.numbers = Pipeline([file], wanted, reads, self.memory, workers=workers, window=window).run()

    def content(self, number: int) -> bytes:
        return bytes(self.memory.take(number).data)


def settles(count: Callable[[], int], expected: int) -> None:
    """It becomes so many, and no more in the time after that."""
    end = time.monotonic() + 30
    while count() < expected:
        assert time.monotonic() < end, f"{count()} and no more"
        time.sleep(0.01)
    time.sleep(0.1)
    assert count() == expected


@pytest.mark.parametrize("read", [7, SIZE, 250, 10_000])
@pytest.mark.parametrize("window", [0, 150, 10_000])
@pytest.mark.parametrize("workers", [1, 4])
def test_all_come_in_order(file: Watched, read: int, window: int, workers: int) -> None:
    running = Running(file, read=read, workers=workers, window=window)
    assert [(number, running.content(number)) for number in running.numbers] == [
        (i, bytes([i]) * SIZE) for i in range(COUNT)
    ]


def test_not_more_is_read_ahead_than_the_window(file: Watched) -> None:
    running = Running(file, window=5 * SIZE)
    assert next(running.numbers) == 0
    settles(lambda: len(file.reads), 6)
    assert next(running.numbers) == 1
    settles(lambda: len(file.reads), 7)
    running.numbers.close()


def test_a_tensor_that_is_larger_than_the_window_is_read_whole(file: Watched) -> None:
    running = Running(file, read=10, window=0)
    assert next(running.numbers) == 0
    settles(lambda: len(file.reads), SIZE // 10)
    running.numbers.close()


def test_a_slow_read_holds_those_after_it_back_and_not_those_before(file: Watched) -> None:
    gate = threading.Event()
    third = file.header.tensors[2].offset

    def wait(offset: int) -> None:
        if offset == third:
            assert gate.wait(30)

    file.before = wait
    running = Running(file, window=10_000, workers=2)
    assert [next(running.numbers), next(running.numbers)] == [0, 1]
    settles(lambda: len(file.reads), COUNT)
    gate.set()
    assert list(running.numbers) == list(range(2, COUNT))


def test_a_failure_is_raised_once_and_ends_all_threads(file: Watched) -> None:
    bad = file.header.tensors[9].offset

    def fail(offset: int) -> None:
        if offset == bad:
            raise StorageError("the disk is gone")

    file.before = fail
    with no_thread_left():
        running = Running(file, window=0)
        with pytest.raises(StorageError, match=r"^the disk is gone$"):
            list(running.numbers)
    assert len(file.reads) < COUNT


def test_closing_it_ends_all_threads(file: Watched) -> None:
    before = set(threading.enumerate())
    with no_thread_left():
        running = Running(file, window=0)
        next(running.numbers)
        assert set(threading.enumerate()) - before
        running.numbers.close()


def test_memory_that_is_not_there_is_one_clear_line(file: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> memoryview:
        raise MemoryError

    monkeypatch.setattr("modelcar.loading.memory.bytearray", refuse, raising=False)
    with pytest.raises(WorldError, match=r"^there is no memory for 't00', which has 100 bytes$"):
        list(Running(file).numbers)
