from __future__ import annotations

from pathlib import Path

import pytest

from modelcar.errors import StorageError
from modelcar.mounts.erofs import support
from tests.support.plans import plan_of

GOOD = plan_of([1024], {"a": (0, 512, 100)})
UNALIGNED = plan_of([1000], {"a": (0, 0, 1000)})


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    folders: list[Path] = []
    monkeypatch.setattr(support, "try_out", folders.append)
    return folders


def refuse(folder: Path) -> None:
    raise StorageError("the kernel cannot ask before it reads a file: Operation not permitted")


def test_erofs_where_it_works(tried: list[Path], tmp_path: Path) -> None:
    assert support.choose("auto", plan=GOOD, folder=tmp_path) == "erofs"
    assert support.choose("erofs", plan=GOOD, folder=tmp_path) == "erofs"
    assert tried == [tmp_path, tmp_path]


def test_fuse_when_it_is_wanted(tried: list[Path], tmp_path: Path) -> None:
    assert support.choose("fuse", plan=GOOD, folder=tmp_path) == "fuse"
    assert tried == []


def test_fuse_where_erofs_does_not_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(support, "try_out", refuse)
    assert support.choose("auto", plan=GOOD, folder=tmp_path) == "fuse"
    with pytest.raises(StorageError, match=r"EROFS does not work here: .*not permitted") as raised:
        support.choose("erofs", plan=GOOD, folder=tmp_path)
    assert raised.value.hint == "--kernel-mount fuse"


def test_fuse_for_blobs_that_are_not_in_blocks(tried: list[Path], tmp_path: Path) -> None:
    assert support.choose("auto", plan=UNALIGNED, folder=tmp_path) == "fuse"
    with pytest.raises(StorageError, match="512"):
        support.choose("erofs", plan=UNALIGNED, folder=tmp_path)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        support.try_out(tmp_path / "gone")
