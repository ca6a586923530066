"""Small blobs, read whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from modelcar.cache.reading import content
from modelcar.errors import NotFound
from modelcar.layers.bytemap import FileSlice
from modelcar.lazy.grid import Grid
from modelcar.oci import Digest


class OnDisk:
    """As much of a lease as a reader of what is here needs."""

    def __init__(self, path: Path, size: int) -> None:
        self.grid = Grid.plain(Digest.of(b""), size)
        self._path, self._fd = path, os.open(path, os.O_RDONLY)

    def slice(self, offset: int, length: int) -> FileSlice:
        return FileSlice(path=self._path, fd=self._fd, offset=offset, size=min(length, 3))

    def close(self) -> None:
        os.close(self._fd)


def read(path: Path, size: int) -> bytes:
    lease: Any = OnDisk(path, size)
    try:
        return content(lease)
    finally:
        lease.close()


def test_a_blob_comes_whole_however_its_slices_are_cut(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"0123456789")
    assert read(tmp_path / "blob", 10) == b"0123456789"


def test_a_file_that_ends_early_is_said_to_and_not_read_for_ever(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"01234")
    with pytest.raises(NotFound, match="cut short"):
        read(tmp_path / "blob", 10)
