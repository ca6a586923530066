"""Partial blobs: what is here, who waits, and what survives."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelcar.errors import DigestMismatch, InvalidDocument, ModelcarError, StorageError
from modelcar.layers.hashing import CHUNK_SIZE
from modelcar.lazy import partial as module
from modelcar.lazy.grid import Grid
from modelcar.lazy.partial import PartialBlob
from tests.support.chunks import Content
from tests.support.leaks import no_file_left_open

SMALL = 1000
CONTENT = Content(10 * SMALL + 7)
TABLE = CONTENT.table(SMALL)


def piece(number: int, grid: Grid = TABLE) -> bytes:
    offset, size = grid.bounds(number)
    return CONTENT.data[offset : offset + size]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blob"


@pytest.fixture
def blob(folder: Path) -> Iterator[PartialBlob]:
    blob = PartialBlob.create(folder, TABLE)
    yield blob
    blob.close()


@pytest.fixture
def another_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """As if the machine had been started again."""
    boots = iter(range(100))

    def restart() -> None:
        path = tmp_path / "boot_id"
        path.write_text(f"boot {next(boots)}\n")
        monkeypatch.setattr(module, "_BOOT", path)

    return restart


def reopened(blob: PartialBlob) -> PartialBlob:
    blob.close()
    return PartialBlob.open(blob.folder)


def test_nothing_at_first(blob: PartialBlob) -> None:
    assert blob.present == 0
    assert not blob.complete
    assert list(blob.missing()) == list(range(11))
    assert blob.map() == bytes(11)
    assert blob.available(0) == 0
    with pytest.raises(StorageError, match="not here yet"):
        blob.read(0, 1)


def test_what_is_put_is_here(blob: PartialBlob) -> None:
    for number in (3, 4, 0, 10):
        assert blob.put(number, piece(number))
        assert not blob.put(number, piece(number))
    assert blob.present == 3 * SMALL + 7
    assert list(blob.missing()) == [1, 2, 5, 6, 7, 8, 9]
    assert list(blob.missing(2 * SMALL, 2 * SMALL)) == [2]
    assert blob.read(3 * SMALL + 1, 1500) == CONTENT.data[3001:4501]
    assert [blob.available(n) for n in (0, 999, 1000, 3000, 3500, 10_000, 10_007, 20_000)] == [
        1000, 1, 0, 2000, 1500, 7, 0, 0,
    ]  # fmt: skip


@pytest.mark.parametrize("data", [b"", b"x" * SMALL, bytes(SMALL + 1), piece(2), piece(1)[:-1]])
def test_other_bytes_are_refused(blob: PartialBlob, data: bytes) -> None:
    with pytest.raises(DigestMismatch):
        blob.put(1, data)
    assert not blob.has(1)
    assert blob.put(1, piece(1))


def test_any_kind_of_buffer(blob: PartialBlob) -> None:
    for number, kind in enumerate((bytes, bytearray, memoryview)):
        blob.put(number, kind(piece(number)))
    assert blob.read(0, 3 * SMALL) == CONTENT.data[: 3 * SMALL]


def test_complete(blob: PartialBlob) -> None:
    for number in reversed(range(11)):
        blob.put(number, piece(number))
    assert blob.complete
    assert blob.present == blob.size == len(CONTENT.data)
    assert (blob.folder / "data").read_bytes() == CONTENT.data
    assert os.pread(blob.fileno(), 10, 5) == CONTENT.data[5:15]


def test_waiting(blob: PartialBlob) -> None:
    two = blob.when(SMALL + 5, SMALL)
    nothing = blob.when(0, 0)
    gone = blob.when(SMALL, 1)
    assert gone.cancel()
    assert nothing.done()
    assert blob.waiting == 2
    blob.put(2, piece(2))
    assert not two.done()
    blob.put(1, piece(1))
    assert two.result(0) is None
    assert blob.when(SMALL, 2 * SMALL).done()
    assert blob.waiting == 0


def test_waiting_in_a_thread(blob: PartialBlob) -> None:
    threading.Timer(0.02, lambda: blob.put(0, piece(0))).start()
    blob.wait(0, SMALL, 10)
    with pytest.raises(TimeoutError):
        blob.wait(SMALL, 1, 0.01)


def test_no_range_outside(blob: PartialBlob) -> None:
    for offset, length in ((-1, 1), (0, 10_008), (10_007, 1), (5, -1)):
        with pytest.raises(ValueError, match="not within"):
            blob.when(offset, length)


def test_failing_tells_those_who_wait_and_those_who_come_until_it_recovers(blob: PartialBlob) -> None:
    waiting, cancelled = blob.when(0, 1), blob.when(0, 1)
    cancelled.cancel()
    error = StorageError("no")
    blob.fail(error)
    assert waiting.exception(0) is error
    blob.put(0, piece(0))
    assert blob.when(0, 1).exception(0) is error
    blob.recover()
    assert blob.when(0, 1).exception(0) is None


def test_many_waiters_over_many_chunks(folder: Path) -> None:
    content = Content(1000)
    blob = PartialBlob.create(folder, content.table(1))
    futures = [blob.when(start, 1000 - start) for start in range(0, 1000, 2)]
    for number in reversed(range(900, 1000)):
        blob.put(number, content.data[number : number + 1])
    assert [f.done() for f in futures] == [False] * 450 + [True] * 50
    assert blob.waiting == 450
    blob.close()


def test_two_who_put_the_same_chunk_at_once_write_it_once(blob: PartialBlob, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, go_on = threading.Event(), threading.Event()
    write, written = os.pwrite, []

    def slow(fd: int, data: bytes, offset: int) -> int:
        written.append(offset)
        inside.set()
        go_on.wait(10)
        return write(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", slow)
    results: list[bool] = []
    threads = [threading.Thread(target=lambda: results.append(blob.put(5, piece(5)))) for _ in range(2)]
    threads[0].start()
    assert inside.wait(10)
    threads[1].start()
    assert not blob.when(0, 1).done()  # and nobody else waits for the disk meanwhile
    assert not blob.has(5)
    go_on.set()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False, True]
    assert written.count(5 * SMALL) == 1


@pytest.mark.parametrize("grid", [TABLE, CONTENT.plain], ids=["table", "plain"])
def test_another_process_goes_on(folder: Path, grid: Grid) -> None:
    blob = PartialBlob.create(folder, grid)
    blob.put(len(grid) - 1, piece(len(grid) - 1, grid))
    blob = reopened(blob)
    assert blob.grid == grid
    assert list(blob.missing()) == list(range(len(grid) - 1))
    assert blob.present == grid.bounds(len(grid) - 1)[1]
    blob.close()


def test_after_another_boot_chunks_are_claims_until_they_are_confirmed(
    blob: PartialBlob, another_boot: Callable[[], None]
) -> None:
    for number in (1, 2, 3):
        blob.put(number, piece(number))
    blob.close()
    with (blob.folder / "data").open("r+b") as f:
        f.seek(2 * SMALL)
        f.write(b"lost?")
    another_boot()
    blob = PartialBlob.open(blob.folder)
    assert blob.present == 0
    assert [n for n in range(11) if blob.claims(n)] == [1, 2, 3]
    assert blob.confirm(1)
    assert not blob.confirm(2)
    assert blob.confirm(1)
    assert blob.present == SMALL
    blob.put(7, piece(7))

    blob = reopened(blob)  # killed before all was confirmed: what was is a claim still, and 2 is none any more
    assert [n for n in range(11) if blob.claims(n)] == [1, 3, 7]
    for number in (1, 3, 7):
        assert blob.confirm(number)
    blob = reopened(blob)
    assert blob.map() == bytes([0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0])
    assert blob.read(SMALL, SMALL) == piece(1)
    blob.close()


def test_a_claim_that_is_fetched_instead(blob: PartialBlob, another_boot: Callable[[], None]) -> None:
    blob.put(0, piece(0))
    blob.close()
    another_boot()
    blob = PartialBlob.open(blob.folder)
    assert blob.put(0, piece(0))
    assert not blob.claims(0)
    blob = reopened(blob)
    assert blob.has(0)
    blob.close()


def test_after_another_boot_nothing_is_believed_that_cannot_be_checked(
    folder: Path, another_boot: Callable[[], None]
) -> None:
    content = Content(2 * CHUNK_SIZE)
    blob = PartialBlob.create(folder, content.plain)
    blob.put(0, content.data[:CHUNK_SIZE])
    another_boot()
    blob = reopened(blob)
    assert blob.present == 0
    assert not blob.claims(0)
    blob = reopened(blob)
    assert blob.present == 0
    blob.close()


def test_without_a_boot_id_every_start_is_another_boot(
    blob: PartialBlob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BOOT", tmp_path / "missing")
    blob.put(0, piece(0))
    blob = reopened(blob)
    assert blob.claims(0)
    assert not blob.has(0)
    blob.close()


@pytest.mark.parametrize("name", ["grid.json", "have", "data"])
@pytest.mark.parametrize("damage", ["missing", "empty", "short", "long", "folder"])
def test_damaged_files_are_errors_and_never_content(blob: PartialBlob, name: str, damage: str) -> None:
    blob.put(0, piece(0))
    blob.close()
    path = blob.folder / name
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage != "missing":
        path.write_bytes({"empty": b"", "short": content[:-1], "long": content + b"\n\1"}[damage])
    with pytest.raises((StorageError, InvalidDocument)):
        PartialBlob.open(blob.folder)
    PartialBlob.create(blob.folder, TABLE).close() if damage != "folder" else shutil.rmtree(blob.folder)


def test_no_file_stays_open_after_an_error(blob: PartialBlob) -> None:
    blob.close()
    (blob.folder / "have").write_bytes(b"")
    with no_file_left_open():
        for _ in range(5):
            with pytest.raises(StorageError):
                PartialBlob.open(blob.folder)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_a_disk_that_takes_no_more(blob: PartialBlob, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    write = os.pwrite

    def failing(fd: int, data: bytes, offset: int) -> int:
        if offset >= SMALL + 100:
            raise OSError(code, os.strerror(code))
        return write(fd, memoryview(data)[:100], offset)  # and slowly before

    waiting = blob.when(SMALL, 1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", failing)
        with pytest.raises(StorageError, match="cannot write") as caught:
            blob.put(1, piece(1))
        assert (caught.value.hint is None) == (code == errno.EIO)
    assert not waiting.done()
    assert not blob.has(1)
    blob = reopened(blob)
    assert not blob.has(1)
    assert blob.put(1, piece(1))
    assert blob.read(SMALL, SMALL) == piece(1)
    blob.close()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot write"):
        PartialBlob.create(tmp_path / "file" / "blob", TABLE)


def test_bits_that_rot_are_found_and_forgotten(blob: PartialBlob) -> None:
    for number in range(5):
        blob.put(number, piece(number))
    with (blob.folder / "data").open("r+b") as f:
        f.seek(3 * SMALL + 10)
        f.write(b"rot")
    assert blob.recheck() == [3]
    assert not blob.has(3)
    assert blob.present == 4 * SMALL
    blob = reopened(blob)
    assert not blob.has(3)
    blob.close()


def test_nothing_is_written_to_a_blob_that_is_closed(blob: PartialBlob) -> None:
    blob.close()
    blob.close()
    with pytest.raises(StorageError, match="closed"):
        blob.put(0, piece(0))


def test_removing(blob: PartialBlob) -> None:
    blob.put(0, piece(0))
    fd = os.dup(blob.fileno())
    blob.remove()
    assert not blob.folder.exists()
    assert os.pread(fd, SMALL, 0) == piece(0)
    os.close(fd)


def test_one_error_line(blob: PartialBlob) -> None:
    error: ModelcarError | None = None
    try:
        blob.put(1, piece(2))
    except DigestMismatch as e:
        error = e
    assert str(error) == f"bytes 1000-1999 of {CONTENT.digest} are not what its index says"


def test_doubts_outlive_the_process_and_end_with_the_chunk(tmp_path: Path) -> None:
    content = Content(4 * CHUNK_SIZE)
    chunks = [content.data[n * CHUNK_SIZE : (n + 1) * CHUNK_SIZE] for n in range(4)]
    partial = PartialBlob.create(tmp_path / "blob", content.plain)
    assert partial.before_doubts == 4
    partial.put(0, chunks[0])
    partial.put(2, chunks[2], doubtful=True)
    assert partial.before_doubts == 2
    partial.close()
    partial = PartialBlob.open(tmp_path / "blob")
    assert (partial.before_doubts, partial.map()) == (2, bytes([1, 0, 1, 0]))
    assert not partial.put(2, chunks[2]), "it is here, and as doubtful as before"
    assert partial.before_doubts == 2
    partial.forget(2)
    partial.put(2, chunks[2])
    assert partial.before_doubts == 4
    partial.close()
