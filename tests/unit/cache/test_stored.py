"""What is looked up on disk, whatever else lies there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelcar.cache.stored import names_in, scan, taken
from modelcar.oci import Digest


@pytest.fixture
def blob(tmp_path: Path) -> Digest:
    digest = Digest.of(b"content")
    path = tmp_path / "blobs" / digest.algorithm / digest.hex
    path.parent.mkdir(parents=True)
    path.write_bytes(b"content")
    return digest


def test_what_is_nobodys_is_passed_over(tmp_path: Path, blob: Digest) -> None:
    other = Digest.of(b"other")
    (tmp_path / "partial").mkdir()
    for folder in (tmp_path / "blobs", tmp_path / "blobs" / "sha256", tmp_path / "partial"):
        (folder / "loop").symlink_to("loop")
        (folder / "nowhere").symlink_to("/nonexistent")
        (folder / "file").write_text("x")
        os.mkfifo(folder / "pipe")
    (tmp_path / "blobs" / "sha256" / other.hex).symlink_to(other.hex)
    assert set(scan(tmp_path)) == {blob}
    assert taken(tmp_path) > 0


@pytest.mark.parametrize("target", ["loop", "/nonexistent"])
def test_a_folder_that_leads_nowhere_is_empty(tmp_path: Path, target: str) -> None:
    (tmp_path / "loop").symlink_to(target)
    assert names_in(tmp_path / "loop") == []
