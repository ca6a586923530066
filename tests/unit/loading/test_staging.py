"""Tensors on a device that copies when it likes: nothing is overwritten before it was copied."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelcar.errors import WorldError
from modelcar.loading.files import DiskFile
from modelcar.loading.pipeline import Pipeline
from modelcar.loading.plan import plan_reads, want
from modelcar.loading.staging import Staged, StagingBuffer
from tests.support.weights import safetensors_bytes

Tensors = dict[str, tuple[str, tuple[int, ...], bytes]]


class FakeDevice:
    """Begins no copy before somebody waits for it, as the slowest device would."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.queue: list[Callable[[], None]] = []
        self.done = 0
        self.room = 1 << 20

    def staging(self, size: int) -> StagingBuffer:
        return FakeBuffer(self, size)

    def allocate(self, size: int, name: str) -> Any:
        if size > self.room:
            raise WorldError(f"there is no memory for {name!r}")
        self.room -= size
        return bytearray(size)

    def tensor(self, memory: Any, dtype: str, shape: tuple[int, ...]) -> Any:
        self.copy_until(self.done + len(self.queue))
        return dtype, shape, bytes(memory)

    def copy_until(self, number: int) -> None:
        with self.lock:
            while self.done < number:
                self.queue.pop(0)()
                self.done += 1


class FakeBuffer:
    def __init__(self, device: FakeDevice, size: int) -> None:
        self.device = device
        self.memory = memoryview(bytearray(size))
        self.marked = 0

    def copy_to(self, target: Any, offset: int, start: int, stop: int) -> None:
        def copy() -> None:
            target[offset : offset + stop - start] = self.memory[start:stop]

        with self.device.lock:
            self.device.queue.append(copy)

    def mark(self) -> None:
        with self.device.lock:
            self.marked = self.device.done + len(self.device.queue)

    def wait(self) -> None:
        self.device.copy_until(self.marked)


@pytest.fixture
def file(tmp_path: Path) -> DiskFile:
    path = tmp_path / "m.safetensors"
    tensors: dict[str, tuple[str, tuple[int, ...], bytes]] = {
        f"t{i:02}": ("U8", (i * 7,), bytes([i + 1]) * i * 7) for i in range(30)
    }
    path.write_bytes(safetensors_bytes(tensors))
    return DiskFile(path, "m")


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("size", [5, 64, 10_000])
def test_what_arrives_on_the_device_is_what_lies_in_the_file(file: DiskFile, workers: int, size: int) -> None:
    wanted = want([file])
    staged = Staged(wanted, FakeDevice(), buffers=2 * workers, size=size)
    reads = plan_reads([file], wanted, size=size)
    numbers = Pipeline([file], wanted, reads, staged, workers=workers, window=300).run()
    assert [staged.take(number) for number in numbers] == [("U8", (i * 7,), bytes([i + 1]) * i * 7) for i in range(30)]


def test_a_full_device_is_one_clear_line(file: DiskFile) -> None:
    wanted, device = want([file]), FakeDevice()
    device.room = 100
    staged = Staged(wanted, device, buffers=2, size=64)
    numbers = Pipeline([file], wanted, plan_reads([file], wanted, size=64), staged, workers=1, window=0).run()
    with pytest.raises(WorldError, match=r"^there is no memory for 't05'$"):
        deque(map(staged.take, numbers))
