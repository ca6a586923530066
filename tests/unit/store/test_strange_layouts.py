"""Folders that other people made, with something else where a layout has its index."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from modelcar.errors import StorageError
from modelcar.store.layout import MARKER, OciLayout


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(8 << 30)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (os.mkfifo, "is not a file"),
        (Path.mkdir, "Is a directory"),
        (lambda path: path.symlink_to("/dev/zero"), "is not a file"),
        (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
        (huge, "has more than 64 MiB"),
    ],
    ids=["pipe", "folder", "device", "circle", "huge"],
)
def test_an_index_that_is_none_is_not_waited_for(tmp_path: Path, make: Callable[[Path], object], says: str) -> None:
    (tmp_path / "oci-layout").write_bytes(MARKER)
    make(tmp_path / "index.json")
    with pytest.raises(StorageError, match=says):
        OciLayout(tmp_path, create=False).read_index()
