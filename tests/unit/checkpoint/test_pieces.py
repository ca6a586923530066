"""Files that come in pieces: what is kept, what is not trusted, and who is told."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from modelcar.checkpoint import Provenance, RemoteFile, pieces
from modelcar.checkpoint.pieces import PartialFile, fetch, open_partial
from modelcar.checkpoint.ranges import Write
from modelcar.checkpoint.remote import read_piece
from modelcar.errors import SourceChanged, WorldError

CONTENT = bytes(range(256)) * 40
PIECE = 1000
FILE = RemoteFile(path="model.bin", size=len(CONTENT), version="v1")


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE", PIECE)


@dataclass
class Place:
    """A `RemoteSource` in memory that fails from the offset `fails_from` on, and gives `short` bytes too few."""

    content: bytes = CONTENT
    fails_from: int = 1 << 60
    short: int = 0
    asked: list[tuple[int, int]] = field(default_factory=list)
    at_once: int = 4
    name: str = "place://model"
    root: Path = Path("/nowhere")
    provenance: Provenance = field(default_factory=Provenance)
    files: tuple[RemoteFile, ...] = (FILE,)

    def read(self, file: RemoteFile, start: int, stop: int) -> bytes:
        self.asked.append((start, stop))
        if start >= self.fails_from:
            raise WorldError("the place is closed")
        return self.content[start : stop - self.short]

    def copy(self, file: RemoteFile, start: int, stop: int, write: Write) -> None:
        write(start, memoryview(read_piece(self, file, start, stop)))

    def bring(self, file: RemoteFile) -> Path:
        raise NotImplementedError

    def existing(self, file: RemoteFile) -> Path | None:
        return None

    def place(self, file: RemoteFile) -> Path:
        raise NotImplementedError

    def keep(self, file: RemoteFile, path: Path) -> Path:
        raise NotImplementedError


def bring(place: Place, path: Path, file: RemoteFile = FILE) -> int:
    """How many pieces had to come."""
    with open_partial(path, file) as partial:
        missing = len(partial.missing())
        fetch(place, file, partial, stopped=lambda: False)
        partial.wait(file.size)
        assert partial.received == file.size
    return missing


def test_all_pieces(tmp_path: Path) -> None:
    place = Place()
    assert bring(place, tmp_path / "file") == 11
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert sorted(place.asked) == [(n * PIECE, min((n + 1) * PIECE, len(CONTENT))) for n in range(11)]


def test_what_came_is_kept_when_the_rest_does_not(tmp_path: Path) -> None:
    with open_partial(tmp_path / "file", FILE) as partial:
        with pytest.raises(WorldError, match="closed"):
            fetch(Place(fails_from=5 * PIECE, at_once=1), FILE, partial, stopped=lambda: False)
        partial.wait(5 * PIECE)
        with pytest.raises(WorldError, match="closed"):
            partial.wait(5 * PIECE + 1)
    place = Place()
    assert bring(place, tmp_path / "file") == 6
    assert min(place.asked)[0] == 5 * PIECE
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("other", [replace(FILE, version="v2"), replace(FILE, size=FILE.size - 1)])
def test_pieces_of_another_version_are_not_taken(tmp_path: Path, other: RemoteFile) -> None:
    bring(Place(), tmp_path / "file")
    content = CONTENT[::-1][: other.size]
    assert bring(Place(content), tmp_path / "file", other) == 11
    assert (tmp_path / "file").read_bytes() == content


def test_a_list_without_its_file_promises_nothing(tmp_path: Path) -> None:
    bring(Place(), tmp_path / "file")
    (tmp_path / "file").unlink()
    assert bring(Place(), tmp_path / "file") == 11
    with (tmp_path / "file").open("r+b") as f:
        f.truncate(3 * PIECE + 1)
    assert bring(Place(), tmp_path / "file") == 8
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_pieces_from_before_a_crash_of_the_machine_are_not_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot = tmp_path / "boot"
    boot.write_text("first")
    monkeypatch.setattr(pieces, "_BOOT_ID", boot)
    bring(Place(), tmp_path / "file")
    boot.write_text("second")
    assert bring(Place(), tmp_path / "file") == 11


def test_fewer_bytes_than_asked_for(tmp_path: Path) -> None:
    with open_partial(tmp_path / "file", FILE) as partial, pytest.raises(SourceChanged, match=r"999 bytes .* 1000"):
        fetch(Place(short=1), FILE, partial, stopped=lambda: False)


def test_a_second_one_waits_until_the_first_is_done(tmp_path: Path) -> None:
    began, order = threading.Event(), []

    def second() -> None:
        began.set()
        with open_partial(tmp_path / "file", FILE) as partial:
            order.append(("second", len(partial.missing())))

    thread = threading.Thread(target=second)
    with open_partial(tmp_path / "file", FILE) as partial:
        thread.start()
        began.wait()
        fetch(Place(), FILE, partial, stopped=lambda: False)
        order.append(("first", len(partial.missing())))
    thread.join()
    assert order == [("first", 0), ("second", 0)]


def test_nobody_wants_it_any_more(tmp_path: Path) -> None:
    with open_partial(tmp_path / "file", FILE) as partial:
        with pytest.raises(WorldError, match="not brought to its end"):
            fetch(Place(), FILE, partial, stopped=lambda: True)
        assert_unfinished(partial)


def assert_unfinished(partial: PartialFile) -> None:
    with pytest.raises(WorldError):
        partial.wait(1)


def test_where_boots_have_no_names_bytes_are_on_the_disk_before_they_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "_BOOT_ID", tmp_path / "none")
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", synced.append)
    assert bring(Place(), tmp_path / "file") == 11
    assert len(synced) == 11
    assert bring(Place(), tmp_path / "file") == 0


def test_bytes_count_once_their_piece_is_done(tmp_path: Path) -> None:
    with open_partial(tmp_path / "file", FILE) as partial:
        partial.write(0, memoryview(CONTENT[:PIECE]))
        assert partial.received == 0
        partial.done(0)
        partial.wait(PIECE)
        assert partial.received == PIECE
