"""Chunks that are kept while they come: what of them survives, and what must not."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from modelcar.errors import DigestMismatch, InvalidContent, RegistryError, StorageError
from modelcar.lazy import partial as module
from modelcar.lazy.download import Downloads
from modelcar.lazy.grid import Grid
from modelcar.lazy.partial import PartialBlob
from modelcar.lazy.parts import PART, Arrival
from modelcar.lazy.scheduler import Scheduler
from modelcar.lazy.settings import FetchSettings
from modelcar.lazy.sources import SourceKind
from modelcar.lazy.transfer import Transfer
from tests.support.chunks import Content, Fault, MemorySource, Reports

CHUNK = 4 * PART
CONTENT = Content(3 * CHUNK + 5)
TABLE = CONTENT.table(CHUNK)
FAST = FetchSettings(backoff=0.01, backoff_limit=0.05, attempts=3, stall=0.3, blob_streams=1)
GRIDS = pytest.mark.parametrize("grid", [TABLE, CONTENT.plain], ids=["table", "plain"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blob"


@pytest.fixture
def blob(folder: Path) -> Iterator[PartialBlob]:
    blob = PartialBlob.create(folder, TABLE)
    yield blob
    blob.close()


def reopened(blob: PartialBlob) -> PartialBlob:
    blob.close()
    return PartialBlob.open(blob.folder)


def reboot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str = "another boot") -> None:
    (tmp_path / "boot_id").write_text(name)
    monkeypatch.setattr(module, "_BOOT", tmp_path / "boot_id")


def piece(number: int, grid: Grid = TABLE) -> memoryview:
    offset, size = grid.bounds(number)
    return memoryview(CONTENT.data)[offset : offset + size]


def begun(blob: PartialBlob, number: int, *, anew: bool = False) -> Arrival:
    arrival = blob.arrive(number, anew=anew)
    assert arrival is not None
    return arrival


def kept(blob: PartialBlob, number: int, size: int, data: memoryview | None = None) -> Arrival:
    """`size` bytes of a chunk have come."""
    arrival = begun(blob, number)
    blob.keep(arrival, (piece(number) if data is None else data)[:size])
    return arrival


@GRIDS
def test_another_process_goes_on_within_a_chunk(folder: Path, grid: Grid) -> None:
    blob = PartialBlob.create(folder, grid)
    arrival = kept(blob, 0, PART - 1, piece(0, grid))
    assert (arrival.kept, blob.arrived(0)) == (0, 0)
    blob.keep(arrival, piece(0, grid)[: 2 * PART + 1000])
    assert (arrival.kept, blob.arrived(0), blob.present) == (2 * PART, 2 * PART, 0)
    blob = reopened(blob)
    assert (blob.arrived(0), blob.present, list(blob.missing())) == (2 * PART, 0, list(range(len(grid))))
    arrival = begun(blob, 0)
    buffer = memoryview(bytearray(grid.bounds(0)[1]))
    blob.resume(arrival, buffer)
    assert buffer[: 2 * PART] == piece(0, grid)[: 2 * PART]
    buffer[2 * PART :] = piece(0, grid)[2 * PART :]
    assert blob.put(0, buffer, arrival=arrival)
    assert blob.read(0, len(buffer)) == buffer
    assert blob.arrived(0) == 0
    blob = reopened(blob)
    assert blob.has(0)
    assert blob.read(0, len(buffer)) == buffer
    blob.close()


def test_nothing_of_a_part_is_readable(blob: PartialBlob) -> None:
    kept(blob, 0, 3 * PART)
    assert blob.available(0) == 0
    with pytest.raises(StorageError, match="not here yet"):
        blob.read(0, 1)


@GRIDS
def test_after_another_boot_parts_are_void_for_ever(
    folder: Path, grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = PartialBlob.create(folder, grid)
    kept(blob, 0, PART, piece(0, grid))
    blob.close()
    reboot(tmp_path, monkeypatch)
    for _ in range(2):  # in the second, what is written since counts
        blob = PartialBlob.open(folder)
        assert blob.arrived(0) == 0
        blob.close()


def test_parts_of_the_last_boot_do_not_come_back_when_all_claims_are_settled(
    blob: PartialBlob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob.put(1, piece(1))
    kept(blob, 0, PART)
    reboot(tmp_path, monkeypatch)
    blob = reopened(blob)
    kept(blob, 2, 2 * PART)
    assert blob.arrive(1) is None, "a claim is not written over"
    assert blob.confirm(1)
    blob = reopened(blob)
    assert [blob.arrived(n) for n in range(4)] == [0, 0, 2 * PART, 0]
    assert blob.map() == bytes([0, 1, 0, 0])
    blob.close()


def test_the_state_of_a_version_without_parts(blob: PartialBlob) -> None:
    """And that version takes ours, unless there are parts: then it begins anew."""
    blob.put(0, piece(0))
    assert (blob.folder / "have").stat().st_size == 64 + 4
    blob = reopened(blob)
    kept(blob, 1, PART)
    assert (blob.folder / "have").stat().st_size == 64 + 8
    blob = reopened(blob)
    assert (blob.has(0), blob.arrived(1)) == (True, PART)
    blob.close()


@pytest.mark.parametrize(
    "counts",
    [b"\0", bytes(3), bytes(5), b"\1\0\0\0", b"\0\4\0\0", b"\0\xff\0\0", b"\0\0\0\1"],
    ids=["1", "3", "5", "of what is here", "all of it", "more", "of the short one"],
)
def test_counts_that_cannot_be_are_damage(blob: PartialBlob, counts: bytes) -> None:
    blob.put(0, piece(0))
    blob.close()
    with (blob.folder / "have").open("ab") as file:
        file.write(counts)
    with pytest.raises(StorageError, match="damaged"):
        PartialBlob.open(blob.folder)


def test_wrong_bytes_are_dropped(blob: PartialBlob) -> None:
    wrong = memoryview(bytes(CHUNK))
    arrival = kept(blob, 0, 3 * PART, wrong)
    with pytest.raises(DigestMismatch):
        blob.put(0, wrong, arrival=arrival)
    assert (blob.arrived(0), arrival.kept, blob.has(0)) == (0, 0, False)
    blob = reopened(blob)
    assert blob.arrived(0) == 0
    blob.close()


def test_a_chunk_is_one_arrivals_alone(blob: PartialBlob) -> None:
    first = kept(blob, 0, PART)
    second = begun(blob, 0)
    assert second.resumed == PART
    blob.keep(first, memoryview(bytes(CHUNK))[: 3 * PART])
    assert (blob.arrived(0), first.kept) == (PART, PART)
    blob.keep(second, piece(0)[: 2 * PART])
    with pytest.raises(DigestMismatch):
        blob.put(0, bytes(CHUNK), arrival=first)
    assert blob.arrived(0) == 2 * PART, "it was not the other's to drop"
    assert blob.put(0, piece(0), arrival=second)
    assert blob.read(0, CHUNK) == piece(0)


@GRIDS
def test_who_brings_it_whole_writes_it_whole_and_nobody_writes_over_that(folder: Path, grid: Grid) -> None:
    blob = PartialBlob.create(folder, grid)
    wrong = memoryview(bytes(grid.bounds(0)[1]))
    arrival = kept(blob, 0, PART, wrong)
    assert blob.put(0, piece(0, grid))
    blob.keep(arrival, wrong[: 2 * PART])
    assert not blob.put(0, wrong, arrival=arrival)
    assert blob.arrive(0) is None
    blob = reopened(blob)
    assert blob.read(0, len(wrong)) == piece(0, grid)
    assert blob.arrived(0) == 0
    blob.close()


def test_anew(blob: PartialBlob) -> None:
    kept(blob, 0, 3 * PART)
    arrival = begun(blob, 0, anew=True)
    assert (arrival.resumed, blob.arrived(0)) == (0, 0)
    blob = reopened(blob)
    assert blob.arrived(0) == 0
    blob.close()


def test_a_disk_that_takes_no_more(blob: PartialBlob, monkeypatch: pytest.MonkeyPatch) -> None:
    arrival = kept(blob, 0, PART)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(StorageError, match="cannot write"):
            blob.keep(arrival, piece(0)[: 2 * PART])
    assert blob.arrived(0) == PART
    blob.keep(arrival, piece(0)[: 3 * PART])
    assert blob.put(0, piece(0), arrival=arrival)
    assert blob.read(0, CHUNK) == piece(0)


def test_nothing_is_kept_of_a_blob_that_is_closed(blob: PartialBlob) -> None:
    arrival = kept(blob, 0, PART)
    blob.close()
    with pytest.raises(StorageError, match="closed"):
        blob.keep(arrival, piece(0)[: 2 * PART])


# What transfers make of it.


def fill(blob: PartialBlob, source: MemorySource, ranges: Sequence[tuple[int, int]] | None = None) -> None:
    with Downloads(source, FAST) as downloads:
        downloads.fill(blob, ranges)


@pytest.mark.parametrize(
    ("grid", "ranges"),
    [(TABLE, None), (TABLE, [(0, len(CONTENT.data))]), (CONTENT.plain, None)],
    ids=["table", "ranges", "plain"],
)
@pytest.mark.parametrize("fault", [Fault(cut=2 * CHUNK + PART + 100), Fault(stall=2 * CHUNK + PART + 100)])
def test_a_stream_that_ends_loses_less_than_a_part(
    folder: Path, grid: Grid, ranges: list[tuple[int, int]] | None, fault: Fault
) -> None:
    source = MemorySource(CONTENT.data, faults=[Fault(**vars(fault))])
    blob = PartialBlob.create(folder, grid)
    fill(blob, source, ranges)
    assert blob.read(0, blob.size) == CONTENT.data
    assert source.sent < blob.size + PART
    blob.close()


@GRIDS
def test_the_next_process_asks_for_the_rest_of_a_chunk(folder: Path, grid: Grid) -> None:
    source = MemorySource(CONTENT.data, faults=[Fault(cut=PART + 100), Fault(times=99, refuse=RegistryError("no"))])
    blob = PartialBlob.create(folder, grid)
    with pytest.raises(RegistryError):
        fill(blob, source)
    source.faults.clear()
    source.asked.clear()
    blob = reopened(blob)
    fill(blob, source)
    assert min(source.asked)[0] == PART
    assert source.sent == blob.size + 100
    assert blob.read(0, blob.size) == CONTENT.data
    blob.close()


def test_a_chunk_of_two_streams_that_is_wrong_comes_anew_and_nobody_is_to_blame(folder: Path) -> None:
    """Twice the same wrong bytes over one stream each are an index that lies; over several they are nobody's."""
    source = MemorySource(CONTENT.data, faults=[Fault(cut=PART + 100, wrong=True)])
    blob = PartialBlob.create(folder, TABLE)
    fill(blob, source)
    assert blob.read(0, blob.size) == CONTENT.data
    assert [offset for offset, _ in source.asked].count(0) == 2
    blob.close()


def test_an_index_that_lies_is_found_out_whatever_was_kept(folder: Path) -> None:
    lying = Grid(CONTENT.digest, TABLE.size, Content(len(CONTENT.data), seed=2).table(CHUNK).table)
    source = MemorySource(CONTENT.data, faults=[Fault(cut=PART + 100)])
    blob = PartialBlob.create(folder, lying)
    with pytest.raises(InvalidContent, match="other ones every time"):
        fill(blob, source)
    blob.close()


@pytest.mark.parametrize("in_parts", [True, False])
def test_parts_of_peers_and_where_somebody_may_read_meanwhile_are_not_kept(folder: Path, in_parts: bool) -> None:
    kind = SourceKind.PEER if in_parts else SourceKind.UPSTREAM
    source = MemorySource(CONTENT.data, kind=kind, faults=[Fault(times=99, cut=3 * PART)])
    blob, scheduler = PartialBlob.create(folder, TABLE), Scheduler(FAST)
    ended: list[object] = []
    transfer = Transfer(blob, Reports(source), scheduler, finished=ended.append, in_parts=in_parts)
    transfer.start()
    with pytest.raises(RegistryError):
        blob.wait(0, 1, 20)
    transfer.stop()
    assert [blob.arrived(n) for n in range(4)] == [0] * 4
    assert not any((folder / "data").read_bytes()), "there are holes where nothing was verified"
    scheduler.close()
    blob.close()


@pytest.mark.slow
def test_no_process_that_is_killed_leaves_a_wrong_byte_or_fetches_one_twice(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.pull_crashes", tmp_path], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    steps = {line.split()[0]: int(line.split()[1]) for line in done.stdout.splitlines()}
    assert len(steps) == 2
    assert min(steps.values()) > 20
