"""One blob in several files: every byte in its place, whatever the offsets."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcar.errors import StorageError
from modelcar.lazy.data import BlobData, Place
from modelcar.lazy.grid import Grid
from modelcar.lazy.partial import PartialBlob
from modelcar.oci import Digest

CONTENT = os.urandom(1000)


def places(folder: Path) -> list[Place]:
    return [Place(100, 300, folder / "sub" / "a"), Place(300, 301, folder / "b"), Place(700, 900, folder / "c")]


@given(cuts=st.lists(st.integers(0, 1000), max_size=8), order=st.randoms(use_true_random=False))
def test_what_is_written_in_any_pieces_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], order: object
) -> None:
    folder = tmp_path_factory.mktemp("data")
    data = BlobData.create(folder / "data", 1000, places(folder))
    edges = sorted({0, 1000, *cuts})
    pieces = list(pairwise(edges))
    order.shuffle(pieces)  # type: ignore[attr-defined]  # drawn by Hypothesis
    for start, stop in pieces:
        data.write(CONTENT[start:stop], start)
    for start, stop in pieces:
        assert data.read(stop - start, start) == CONTENT[start:stop]
    data.sync()
    data.close()
    for place in places(folder):
        assert place.path.read_bytes() == CONTENT[place.start : place.stop]
    assert (folder / "data").read_bytes()[100:300] == bytes(200)


def test_a_place_that_lost_its_bytes_is_noticed(tmp_path: Path) -> None:
    BlobData.create(tmp_path / "data", 1000, places(tmp_path)).close()
    BlobData.open(tmp_path / "data", 1000, places(tmp_path)).close()
    (tmp_path / "c").write_bytes(b"short")
    with pytest.raises(StorageError, match="damaged"):
        BlobData.open(tmp_path / "data", 1000, places(tmp_path))


def test_a_place_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"mine")
    (tmp_path / "c").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError):  # noqa: PT011  # whichever the kernel says
        BlobData.create(tmp_path / "data", 1000, places(tmp_path))
    assert (tmp_path / "victim").read_bytes() == b"mine"


def test_a_partial_blob_goes_on_with_its_places(tmp_path: Path) -> None:
    grid = Grid.plain(Digest.of(CONTENT), len(CONTENT))
    blob = PartialBlob.create(tmp_path / "blob", grid, places(tmp_path))
    assert blob.put(0, CONTENT)
    blob.close()
    again = PartialBlob.open(tmp_path / "blob", places(tmp_path))
    assert (again.complete, again.read(250, 200)) == (True, CONTENT[250:450])
    again.close()
    assert (tmp_path / "c").read_bytes() == CONTENT[700:900]
