"""Source files: every way in which one can stop being what was hashed is noticed when it is opened."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from modelcar.errors import SourceChanged, StorageError, UsageError
from modelcar.files import FileStamp, is_there, open_unchanged, read_bounded, read_own
from tests.support.changes import CHANGES
from tests.support.trees import Source, open_files

SECOND = 10**9


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path / "model.safetensors", b"x" * 1000).settled()


def test_an_unchanged_file_opens(source: Source) -> None:
    fd = open_unchanged(source.path, source.stamp)
    assert os.pread(fd, 2000, 0) == source.content
    assert not os.get_inheritable(fd)
    os.close(fd)


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_file_does_not_and_is_named(source: Source, change: Callable[[Path], object]) -> None:
    descriptors = open_files()
    change(source.path)
    with pytest.raises(SourceChanged, match=r"model\.safetensors"):
        open_unchanged(source.path, source.stamp)
    assert open_files() == descriptors


def test_the_folder_above_became_a_file(source: Source) -> None:
    source.path.unlink()
    source.path.parent.rmdir()
    source.path.parent.write_text("")
    with pytest.raises(SourceChanged):
        open_unchanged(source.path, source.stamp)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"size": 11}, "it had 10 bytes and now has 11"),
        ({"mtime_ns": 11}, "written"),
        ({"ctime_ns": 11}, "replaced"),
        ({"inode": 11}, "replaced"),
        ({"device": 11}, None),
        ({}, None),
    ],
)
def test_what_differs_in_words(changed: dict[str, int], words: str | None) -> None:
    stamp = FileStamp(device=10, inode=10, size=10, mtime_ns=10, ctime_ns=10)
    difference = stamp.difference(replace(stamp, **changed))
    assert difference is None if words is None else words in str(difference)


@pytest.mark.parametrize(
    ("mtime_ns", "ctime_ns", "now_ns", "settled"),
    [
        (SECOND + 1, SECOND + 1, 2 * SECOND, True),
        (SECOND + 1, SECOND + 1, SECOND + 1, False),
        (SECOND + 1, SECOND + 1, SECOND + 50 * 10**6, False),
        (1, SECOND + 1, SECOND + 2, False),
        (SECOND + 1, 1, SECOND + 2, False),
        (9 * SECOND + 1, 1, 2 * SECOND, False),  # from the future
        (SECOND, SECOND, 2 * SECOND, False),  # a file system that keeps whole seconds
        (SECOND, SECOND, 3 * SECOND, False),
        (SECOND, SECOND, 3 * SECOND + 1, True),
    ],
)
def test_when_a_later_write_is_sure_to_show(mtime_ns: int, ctime_ns: int, now_ns: int, settled: bool) -> None:
    stamp = FileStamp(device=1, inode=1, size=1, mtime_ns=mtime_ns, ctime_ns=ctime_ns)
    assert stamp.is_settled(now_ns) is settled


def test_a_file_that_is_named_by_mistake_is_not_read_to_its_end(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.write_bytes(b"12345")
    assert read_bounded(small, 5, "a policy") == b"12345"
    with pytest.raises(UsageError, match=r"small has more than 4 bytes: it is not a policy$"):
        read_bounded(small, 4, "a policy")
    with pytest.raises(UsageError, match="/dev/zero has more than 100 bytes"):
        read_bounded(Path("/dev/zero"), 100, "a policy")


@pytest.mark.parametrize("name", ["missing", ".", "small/x", "a\0b"])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "small").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot read"):
        read_bounded(tmp_path / name, 100, "a policy")


@pytest.mark.parametrize(
    ("name", "there"), [("small", True), (".", True), ("none", False), ("small/x", False), ("a\0b", False)]
)
def test_whether_something_is_there(tmp_path: Path, name: str, there: bool) -> None:
    (tmp_path / "small").touch()
    assert is_there(tmp_path / name) == there


@pytest.mark.parametrize("name", ["loop", "a" * 300])
def test_where_nobody_can_tell(tmp_path: Path, name: str) -> None:
    """`Path.exists` says no to some on one Python, to all on another."""
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match=r"links|too long"):
        is_there(tmp_path / name)


def test_a_small_file_of_our_own(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(b"{}")
    assert read_own(path, 2) == b"{}"
    with pytest.raises(OSError, match="more than 1 bytes"):
        read_own(path, 1)
    with pytest.raises(FileNotFoundError):
        read_own(tmp_path / "none", 1)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "loop"])
def test_what_has_taken_its_name_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "state.json"
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "folder":
            path.mkdir()
        case _:
            path.symlink_to(path.name)
    with pytest.raises(OSError, match=r"ordinary file|directory|links"):
        read_own(path, 10)
