"""Atomic writes, durable folders and locks."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from modelcar.errors import StorageError
from modelcar.store.disk import atomic_write, explain, lock, make_dirs


@pytest.mark.parametrize("call", ["fsync", "rename", "open"])
def test_a_failed_write_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "file"
    atomic_write(path, b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(StorageError, match=r"cannot write .*/file: No space left"):
            atomic_write(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"
    atomic_write(path, b"new", mode=0o600)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600


def test_folders_reach_the_disk_with_their_parents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def spy(fd: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{fd}").readlink().relative_to(tmp_path)))
        real(fd)

    monkeypatch.setattr(os, "fsync", spy)
    make_dirs(tmp_path / "a" / "b" / "c")
    make_dirs(tmp_path / "a" / "b" / "c")
    assert synced == [".", "a", "a/b"]


def test_locks(tmp_path: Path) -> None:
    with (
        lock(tmp_path, exclusive=False),
        lock(tmp_path, exclusive=False, blocking=False),
        pytest.raises(StorageError, match="in use"),
        lock(tmp_path, exclusive=True, blocking=False),
    ):
        pass
    with lock(tmp_path, exclusive=True, blocking=False):
        pass
    with pytest.raises(StorageError, match="cannot open"), lock(tmp_path / "none", exclusive=True):
        pass


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS])
def test_disk_errors_say_what_to_do(number: int) -> None:
    error = explain(OSError(number, os.strerror(number)), "cannot write F")
    assert str(error) == f"cannot write F: {os.strerror(number)}"
    assert error.hint
