"""`modelcar.serving.sockets`."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from modelcar.errors import StorageError
from modelcar.serving.sockets import at, private_listener

pytestmark = pytest.mark.slow


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            at(path, client.connect)
        except OSError:
            return False
    return True


@pytest.mark.parametrize("folder", ["short", "l" * 200])
def test_it_is_its_owners_alone_and_goes_at_the_end(tmp_path: Path, folder: str) -> None:
    path = tmp_path / folder / "s"
    path.parent.mkdir()
    with private_listener(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert connects(path)
        assert list(path.parent.iterdir()) == [path]
    assert not list(path.parent.iterdir())


@pytest.mark.parametrize("name", ["s", ".s.new"])
def test_what_a_dead_process_left_is_replaced(tmp_path: Path, name: str) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / name))
    with private_listener(tmp_path / "s"):
        assert connects(tmp_path / "s")


def test_a_living_process_keeps_its_own(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with private_listener(path):
        with pytest.raises(StorageError, match="another process listens at"), private_listener(path):
            pytest.fail("both have it")
        assert connects(path)


def test_a_file_in_its_place_stays(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(StorageError, match="is in the way: it is no socket"), private_listener(path):
        pytest.fail("it was replaced")
    assert path.read_text() == "precious"


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match=r"cannot listen at .*: No such file or directory"),
        private_listener(tmp_path / "none" / "s"),
    ):
        pytest.fail("it listens")
