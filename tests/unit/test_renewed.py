"""What follows files: a change counts soon, what cannot be used changes nothing and is tried again."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from modelcar.errors import StorageError, UsageError
from modelcar.renewed import Renewed


class Numbers:
    """A file with a number in it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.reads = 0
        self.broken = False

    def write(self, text: str) -> None:
        self.file.write_text(text)

    def read(self) -> int:
        self.reads += 1
        if self.broken:
            raise StorageError("cannot read it: Too many open files")
        try:
            return int(self.file.read_text())
        except OSError:
            raise StorageError(f"cannot read {self.file}") from None
        except ValueError:
            raise UsageError(f"{self.file} holds no number") from None


@pytest.fixture
def numbers(tmp_path: Path) -> Numbers:
    made = Numbers(tmp_path / "number")
    made.write("100")
    return made


def following(numbers: Numbers, look_seconds: float = 0) -> Renewed[int]:
    return Renewed("the number", numbers.read, [numbers.file], look_seconds=look_seconds)


def test_files_are_read_when_they_change_and_only_then(numbers: Numbers) -> None:
    renewed = following(numbers)
    assert [renewed.current() for _ in range(3)] == [100] * 3
    assert numbers.reads == 1
    numbers.write("101")
    assert [renewed.current() for _ in range(3)] == [101] * 3
    assert numbers.reads == 2


def test_a_file_of_the_same_size_and_time_is_another_all_the_same(numbers: Numbers) -> None:
    """As `cp -p` and `rsync` leave it."""
    renewed = following(numbers)
    before = numbers.file.stat()
    numbers.write("102")
    os.utime(numbers.file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert renewed.current() == 102


def test_links_are_followed(numbers: Numbers, tmp_path: Path) -> None:
    """As Kubernetes swaps what is mounted from a secret."""
    link = tmp_path / "link"
    link.symlink_to(numbers.file)
    other = tmp_path / "other"
    other.write_text("103")
    renewed = Renewed("the number", lambda: int(link.read_text()), [link], look_seconds=0)
    assert renewed.current() == 100
    (tmp_path / "new").symlink_to(other)
    (tmp_path / "new").rename(link)
    assert renewed.current() == 103


@pytest.mark.parametrize("broken", ["half of", None])
def test_what_cannot_be_used_changes_nothing_and_is_logged_once(
    numbers: Numbers, broken: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    renewed = following(numbers)
    if broken is None:
        numbers.file.unlink()
    else:
        numbers.write(broken)
    assert [renewed.current() for _ in range(3)] == [100] * 3
    assert caplog.text.count("the number not renewed, and counts as it was") == 1
    numbers.write("104")
    assert renewed.current() == 104


def test_what_could_not_be_read_for_a_moment_is_tried_again(numbers: Numbers) -> None:
    """The file does not change once more only because we had no file descriptor left."""
    renewed = following(numbers)
    numbers.write("105")
    numbers.broken = True
    assert renewed.current() == 100
    numbers.broken = False
    assert renewed.current() == 105


def test_a_change_while_it_is_read_is_not_overlooked(numbers: Numbers) -> None:
    def read() -> int:
        value = numbers.read()
        if numbers.reads in (2, 3):
            numbers.write(str(value + 1))
        return value

    renewed = Renewed("the number", numbers.read, [numbers.file], look_seconds=0)
    renewed.adopt(read, [numbers.file])
    assert [renewed.current() for _ in range(3)] == [101, 102, 102]


def test_other_files_count_at_once_and_bad_ones_do_not(numbers: Numbers, tmp_path: Path) -> None:
    renewed = following(numbers, look_seconds=3600)
    other = Numbers(tmp_path / "other")
    with pytest.raises(StorageError):
        renewed.adopt(other.read, [other.file])
    assert renewed.current() == 100
    other.write("106")
    renewed.adopt(other.read, [other.file])
    assert renewed.current() == 106


def test_between_two_looks_nothing_is_looked_at(numbers: Numbers) -> None:
    renewed = following(numbers, look_seconds=3600)
    numbers.write("107")
    assert renewed.current() == 100


def test_while_one_reads_nobody_waits(numbers: Numbers) -> None:
    reading, go_on = threading.Event(), threading.Event()

    def read() -> int:
        value = numbers.read()
        if numbers.reads > 1:
            reading.set()
            assert go_on.wait(10)
        return value

    renewed = Renewed("the number", read, [numbers.file], look_seconds=0)
    numbers.write("108")
    thread = threading.Thread(target=renewed.current)
    thread.start()
    assert reading.wait(10)
    assert renewed.current() == 100
    go_on.set()
    thread.join()
    assert renewed.current() == 108
    assert numbers.reads == 2
