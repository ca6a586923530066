"""The readers of the proof find one wrong byte, and a file that is shorter, by each of their ways."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.e2e.mounts.proof.pages import WAYS, Way, WrongBytes, read_pages

SIZE = 40_000


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A mount that is none, and the truth: the same."""
    truth, mount = tmp_path / "truth", tmp_path / "mount"
    (truth / "sub").mkdir(parents=True)
    (truth / "weights").write_bytes(bytes(range(250)) * (SIZE // 250))
    (truth / "sub" / "empty").write_bytes(b"")
    shutil.copytree(truth, mount)
    return mount, truth


@pytest.mark.parametrize("way", WAYS)
def test_what_is_right_is_read_to_its_end(folders: tuple[Path, Path], way: Way) -> None:
    found = read_pages(*folders, way=way)
    assert (found.right, found.errors, found.is_whole) == (-(-SIZE // 4096), [], True)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("at", [0, 20_000, SIZE - 1])
def test_one_wrong_byte_is_found(folders: tuple[Path, Path], way: Way, at: int) -> None:
    mount, _ = folders
    content = bytearray((mount / "weights").read_bytes())
    content[at] ^= 1
    (mount / "weights").write_bytes(content)
    with pytest.raises(WrongBytes, match=f"page {at // 4096} of weights"):
        read_pages(*folders, way=way)


@pytest.mark.parametrize("way", WAYS)
def test_a_missing_byte_is_found(folders: tuple[Path, Path], way: Way) -> None:
    mount, _ = folders
    (mount / "weights").write_bytes((mount / "weights").read_bytes()[:-1])
    with pytest.raises(WrongBytes, match="size"):
        read_pages(*folders, way=way)


def test_a_file_that_is_not_there_is_an_error(folders: tuple[Path, Path]) -> None:
    mount, _ = folders
    (mount / "weights").unlink()
    found = read_pages(*folders, way="pread")
    assert found.errors == ["ENOENT"] * -(-SIZE // 4096)
