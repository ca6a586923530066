"""Which pages of blobs are let go of; that they then are is proven in tests/e2e/mounts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelcar.mounts.erofs import copies as module
from modelcar.mounts.erofs.copies import SecondCopies
from modelcar.mounts.erofs.resident import resident
from tests.support.plans import plan_of

WINDOW = 16 << 20
PLAN = plan_of(
    [3 * WINDOW, 512], {"a": (0, 4096, WINDOW), "b": (0, WINDOW + 8192, 2 * WINDOW - 8192), "other": (1, 0, 100)}
)


class Memory:
    """What is in memory, as ranges by file name."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.held: dict[str, list[tuple[int, int]]] = {}
        self.synced: list[int] = []
        self.dropped: list[tuple[int, int]] = []
        for name in ("a", "b", "other", "blob"):
            (folder / name).write_bytes(b"")
        monkeypatch.setattr(module, "resident", self.resident)
        monkeypatch.setattr(module, "private_clone", os.dup)
        monkeypatch.setattr(os, "fdatasync", self.synced.append)
        monkeypatch.setattr(os, "posix_fadvise", self.advise)

    def resident(self, file: int, offset: int, length: int) -> int:
        ranges = self.held.get(Path(f"/proc/self/fd/{file}").readlink().name, [])
        return sum(max(0, min(stop, offset + length) - max(start, offset)) for start, stop in ranges)

    def advise(self, file: int, offset: int, length: int, advice: int) -> None:
        assert file in self.synced
        assert advice == os.POSIX_FADV_DONTNEED
        self.dropped.append((offset, length))


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Memory:
    return Memory(tmp_path, monkeypatch)


def sweep(folder: Path) -> None:
    with open(folder / "blob", "rb") as blob:
        SecondCopies(lambda _: blob.fileno(), PLAN, target=folder).sweep()


def test_what_is_there_as_file_and_as_blob_goes(memory: Memory, tmp_path: Path) -> None:
    memory.held = {"blob": [(0, 3 * WINDOW)], "b": [(WINDOW, 2 * WINDOW - 8192)]}
    sweep(tmp_path)
    assert memory.dropped == [(2 * WINDOW, WINDOW)]


def test_a_window_of_which_most_was_read_goes_even_if_two_files_share_it(memory: Memory, tmp_path: Path) -> None:
    memory.held = {"blob": [(WINDOW, 2 * WINDOW)], "a": [(WINDOW - 4096, WINDOW)], "b": [(0, WINDOW // 2)]}
    sweep(tmp_path)
    assert memory.dropped == [(WINDOW, WINDOW)]


def test_what_nobody_has_read_stays(memory: Memory, tmp_path: Path) -> None:
    memory.held = {"blob": [(0, 3 * WINDOW)], "a": [(0, 100)], "b": [(0, WINDOW // 3)]}
    sweep(tmp_path)
    assert memory.dropped == []


def test_where_nothing_is_in_memory_nothing_is_looked_at(memory: Memory, tmp_path: Path) -> None:
    memory.held = {"a": [(0, WINDOW)]}
    sweep(tmp_path)
    assert (memory.synced, memory.dropped) == ([], [])


def test_a_file_that_is_gone_is_no_problem(tmp_path: Path) -> None:
    asked = []

    def gone(blob: int) -> int:
        asked.append(blob)
        raise OSError(9, "Bad file descriptor")

    SecondCopies(gone, PLAN, target=tmp_path).sweep()
    assert asked == [0]


def test_what_is_in_memory_is_counted_in_pages(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(100_000))
    with open(tmp_path / "file", "rb") as file:
        assert resident(file.fileno(), 0, 100_000) == 25 * 4096
        assert resident(file.fileno(), 0, 4096) == 4096
    with pytest.raises(OSError, match="Bad file"):
        resident(-1, 0, 1)
