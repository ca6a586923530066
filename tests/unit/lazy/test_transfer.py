"""Transfers over sources that misbehave."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from modelcar.errors import (
    InvalidContent,
    ModelcarError,
    ProtocolViolation,
    RemoteNotFound,
    StorageError,
    Unauthorized,
    Unreachable,
)
from modelcar.layers.hashing import CHUNK_SIZE
from modelcar.lazy import partial as partial_module
from modelcar.lazy.grid import Grid
from modelcar.lazy.partial import PartialBlob
from modelcar.lazy.scheduler import Scheduler
from modelcar.lazy.settings import FetchSettings
from modelcar.lazy.sources import ChunkSource, Outcome, SourceKind
from modelcar.lazy.transfer import State, Transfer
from modelcar.lazy.upstream import RegistrySource
from modelcar.lazy.window import Window
from modelcar.oci import Reference
from modelcar.registry import ClientSettings, Registry
from tests.support.chunks import Content, Fault, MemorySource, Reports
from tests.support.scripted_registry import Reply, ScriptedRegistry

TIMEOUT = 20
SMALL = 64 << 10
FAST = FetchSettings(backoff=0.01, backoff_limit=0.05, attempts=3, hedge_after=0.1, stall=5.0)


@pytest.fixture(scope="module")
def content() -> Content:
    return Content(40 * SMALL + 1000)


class Bench:
    """A scheduler, a blob, and what its transfer reported."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.schedulers: list[Scheduler] = []
        self.transfers: list[Transfer] = []
        self.ends: list[ModelcarError | None] = []
        self.ended = threading.Event()

    def transfer(
        self, grid: Grid, router: Reports, settings: FetchSettings = FAST, partial: PartialBlob | None = None
    ) -> Transfer:
        scheduler = Scheduler(settings)
        partial = partial or PartialBlob.create(self.folder / f"blob{len(self.transfers)}", grid)
        transfer = Transfer(partial, router, scheduler, finished=self._finished)
        self.schedulers.append(scheduler)
        self.transfers.append(transfer)
        return transfer

    def run(self, transfer: Transfer) -> ModelcarError | None:
        """Start it and wait for its end."""
        self.ended.clear()
        transfer.start()
        assert self.ended.wait(TIMEOUT), transfer.status()
        return self.ends[-1]

    def _finished(self, error: ModelcarError | None) -> None:
        self.ends.append(error)
        self.ended.set()

    def close(self) -> None:
        for transfer in self.transfers:
            transfer.stop()
            transfer.partial.close()
        for scheduler in self.schedulers:
            scheduler.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.005)


def check(transfer: Transfer, content: Content) -> None:
    assert transfer.partial.read(0, len(content.data)) == content.data
    assert transfer.state is State.DONE


def test_all_of_it_once(bench: Bench, content: Content) -> None:
    source = MemorySource(content.data)
    transfer = bench.transfer(content.table(SMALL), Reports(source))
    assert bench.run(transfer) is None
    check(transfer, content)
    assert source.sent == len(content.data)
    assert transfer.status().sources == {"memory": len(content.data)}


def test_windows_are_bounded_and_never_overlap(bench: Bench) -> None:
    content = Content(9 * CHUNK_SIZE + 5)
    source = MemorySource(content.data)
    transfer = bench.transfer(content.plain, Reports(source), replace(FAST, window=2 * CHUNK_SIZE))
    assert bench.run(transfer) is None
    assert max(length for _, length in source.asked) <= 2 * CHUNK_SIZE
    assert sum(length for _, length in source.asked) == len(content.data)
    check(transfer, content)


@pytest.mark.slow
def test_windows_grow_with_what_led_up_to_them(bench: Bench) -> None:
    """Who waits for the first bytes has them from all streams at once."""
    content = Content(40 * CHUNK_SIZE)
    source = MemorySource(content.data)
    settings = replace(FAST, blob_streams=2, window=4 * CHUNK_SIZE)
    transfer = bench.transfer(content.plain, Reports(source), settings)
    assert bench.run(transfer) is None
    windows = {offset // CHUNK_SIZE: length // CHUNK_SIZE for offset, length in source.asked}
    assert all(windows[number] == 1 for number in range(4))
    assert all(length <= max(1, number // 2) for number, length in windows.items())
    assert max(windows.values()) == 4
    check(transfer, content)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(cut=0),
        Fault(cut=3 * SMALL + 17),
        Fault(short=SMALL),
        Fault(short=5),
        Fault(wrong=True),
        Fault(refuse=Unreachable("down")),
    ],
    ids=str,
)
def test_one_upstream_with_one_fault(bench: Bench, content: Content, fault: Fault) -> None:
    source = MemorySource(content.data, faults=[replace(fault)])
    transfer = bench.transfer(content.table(SMALL), Reports(source))
    assert bench.run(transfer) is None
    check(transfer, content)
    assert source.sent <= len(content.data) + SMALL  # what is lost of a window is one chunk


def test_a_chunk_that_is_complete_is_not_asked_for_again_after_a_cut(bench: Bench, content: Content) -> None:
    source = MemorySource(content.data, faults=[Fault(cut=10 * SMALL)])
    transfer = bench.transfer(content.table(SMALL), Reports(source))
    assert bench.run(transfer) is None
    assert source.sent == len(content.data)
    assert source.asked[1][0] == 10 * SMALL


def test_a_mirror_that_lies_is_not_asked_again(bench: Bench, content: Content) -> None:
    liar = MemorySource(bytes(len(content.data)), name="liar", kind=SourceKind.MIRROR)
    good = MemorySource(content.data)
    router = Reports(liar, good)
    transfer = bench.transfer(content.table(SMALL), router, replace(FAST, upstream_streams=1, urgent_streams=0))
    assert bench.run(transfer) is None
    check(transfer, content)
    assert len(liar.asked) == 1
    assert ("liar", Outcome.WRONG) in router.told


def test_nobody_but_a_liar(bench: Bench, content: Content) -> None:
    liar = MemorySource(bytes(len(content.data)), kind=SourceKind.PEER)
    transfer = bench.transfer(content.table(SMALL), Reports(liar))
    assert isinstance(bench.run(transfer), ProtocolViolation)  # that says nothing of the blob
    assert transfer.partial.present == 0


def test_an_index_that_lies_about_one_chunk(bench: Bench, content: Content) -> None:
    table = content.table(SMALL).table
    assert table is not None
    lie = (*table[:3], replace(table[3], digest=table[4].digest), *table[4:])
    source = MemorySource(content.data)
    transfer = bench.transfer(Grid(content.digest, len(content.data), lie), Reports(source))
    waiting = transfer.partial.when(3 * SMALL, 1)
    error = bench.run(transfer)
    assert isinstance(error, InvalidContent)
    assert "index" in str(error.hint)
    assert waiting.exception(TIMEOUT) is error


def test_an_upstream_that_sends_other_wrong_bytes_every_time_is_broken_and_the_index_is_not(
    bench: Bench, content: Content
) -> None:
    class Noise(MemorySource):
        def fetch(self, grid: Grid, offset: int, length: int):  # type: ignore[no-untyped-def]
            self.data = bytes([len(self.asked)]) * len(content.data)
            return super().fetch(grid, offset, length)

    settings = replace(FAST, upstream_streams=1, urgent_streams=0)
    transfer = bench.transfer(content.table(SMALL), Reports(Noise(content.data)), settings)
    error = bench.run(transfer)
    assert isinstance(error, ProtocolViolation)
    assert transfer.state is State.FAILED


def test_failures_go_to_the_next_source_and_are_told(bench: Bench, content: Content) -> None:
    first = MemorySource(b"", name="first", faults=[Fault(times=999, refuse=Unreachable("down"))])
    second = MemorySource(content.data, name="second")
    router = Reports(first, second)
    transfer = bench.transfer(content.plain, router)
    assert bench.run(transfer) is None
    check(transfer, content)
    assert ("first", Outcome.BROKEN) in router.told


def test_a_peer_without_a_chunk_and_one_with_it(bench: Bench, content: Content) -> None:
    empty = MemorySource(
        b"", name="empty", kind=SourceKind.PEER, faults=[Fault(times=999, refuse=RemoteNotFound("not here"))]
    )
    upstream = MemorySource(content.data)
    transfer = bench.transfer(content.table(SMALL), Reports(empty, upstream))
    assert bench.run(transfer) is None
    check(transfer, content)
    assert upstream.sent == len(content.data)


@pytest.mark.parametrize("error", [RemoteNotFound("gone"), Unauthorized("no"), Unreachable("down")])
def test_when_everyone_fails_those_who_wait_are_told_and_may_try_again(
    bench: Bench, content: Content, error: ModelcarError
) -> None:
    source = MemorySource(content.data, faults=[Fault(times=3, refuse=error)])
    settings = replace(FAST, upstream_streams=1, urgent_streams=0, backoff=0.2, backoff_limit=60.0)
    transfer = bench.transfer(content.table(SMALL), Reports(source), settings)
    waiting = transfer.partial.when(0, 1)
    assert bench.run(transfer) is error
    assert waiting.exception(TIMEOUT) is error
    assert len(source.asked) == (3 if isinstance(error, Unreachable) else 1)
    assert transfer.status().error is error
    source.faults.clear()
    assert bench.run(transfer) is None
    transfer.partial.wait(0, len(content.data), TIMEOUT)
    check(transfer, content)


def test_what_somebody_waits_for_comes_first(bench: Bench, content: Content) -> None:
    source = MemorySource(content.data, gate=threading.Event())
    settings = replace(FAST, upstream_streams=1, blob_streams=1, urgent_streams=1, read_ahead=0)
    transfer = bench.transfer(content.table(SMALL), Reports(source), replace(settings, window=CHUNK_SIZE))
    content_end = 35 * SMALL
    with transfer._scheduler.lock:
        transfer.start()
        transfer.need(content_end, 1, "reader")
    until(lambda: len(source.asked) == 2 or source.asked[:1] == [(content_end, len(content.data) - content_end)])
    assert source.asked[0][0] == content_end
    assert source.gate is not None
    source.gate.set()
    transfer.partial.wait(0, len(content.data), TIMEOUT)
    assert source.sent == len(content.data)


def test_a_fault_does_not_wait_for_streams_that_are_busy(bench: Bench) -> None:
    content = Content(6 * CHUNK_SIZE)
    busy = Fault(times=2, at=0, stall=0)
    source = MemorySource(content.data, faults=[busy])
    settings = replace(FAST, upstream_streams=1, blob_streams=1, urgent_streams=1, window=2 * CHUNK_SIZE)
    transfer = bench.transfer(content.plain, Reports(source), settings)
    transfer.start()
    until(lambda: len(source.asked) == 1)
    transfer.need(5 * CHUNK_SIZE, 1)
    transfer.partial.wait(5 * CHUNK_SIZE, 1, TIMEOUT)
    assert not transfer.partial.has(0)


def test_after_what_was_asked_for_comes_what_follows_it(bench: Bench) -> None:
    content = Content(8 * CHUNK_SIZE)
    source = MemorySource(content.data)
    settings = replace(FAST, upstream_streams=1, urgent_streams=0, window=CHUNK_SIZE, read_ahead=2 * CHUNK_SIZE)
    transfer = bench.transfer(content.plain, Reports(source), settings)
    with transfer._scheduler.lock:
        transfer.start()
        transfer.need(4 * CHUNK_SIZE, 10, "reader")
    transfer.partial.wait(0, len(content.data), TIMEOUT)
    assert [offset // CHUNK_SIZE for offset, _ in source.asked] == [4, 5, 6, 0, 1, 2, 3, 7]


def test_what_is_preferred_comes_after_what_is_waited_for_and_before_the_rest(bench: Bench) -> None:
    content = Content(8 * CHUNK_SIZE)
    source = MemorySource(content.data)
    settings = replace(FAST, upstream_streams=1, urgent_streams=0, window=CHUNK_SIZE, read_ahead=0)
    transfer = bench.transfer(content.table(), Reports(source), settings)
    with transfer._scheduler.lock:
        transfer.start()
        transfer.prefer([(6 * CHUNK_SIZE + 5, 10), (2 * CHUNK_SIZE, CHUNK_SIZE + 1)], "rank")
        transfer.need(4 * CHUNK_SIZE, 10, "reader")
    transfer.partial.wait(0, len(content.data), TIMEOUT)
    assert [offset // CHUNK_SIZE for offset, _ in source.asked] == [4, 6, 2, 3, 0, 1, 5, 7]


def test_what_is_preferred_comes_alone_where_nothing_else_is_fetched(bench: Bench) -> None:
    content = Content(8 * CHUNK_SIZE)
    source = MemorySource(content.data)
    transfer = bench.transfer(content.table(), Reports(source), replace(FAST, read_ahead=0))
    with transfer._scheduler.lock:
        transfer.background = False
        transfer.start()
        transfer.prefer([(2 * CHUNK_SIZE + 5, CHUNK_SIZE), (6 * CHUNK_SIZE, 1)], "rank")
    transfer.partial.wait(2 * CHUNK_SIZE, 2 * CHUNK_SIZE, TIMEOUT)
    transfer.partial.wait(6 * CHUNK_SIZE, 1, TIMEOUT)
    with transfer._scheduler.lock:
        transfer.prefer([(0, 1), (5 * CHUNK_SIZE, 1)], "rank")
        transfer.leave("rank")
        transfer.need(7 * CHUNK_SIZE, 1, "reader")
    transfer.partial.wait(7 * CHUNK_SIZE, 1, TIMEOUT)
    assert [n for n in range(8) if transfer.partial.has(n)] == [2, 3, 6, 7]
    assert source.sent == transfer.partial.present


def test_whoever_has_left_is_not_waited_for(bench: Bench) -> None:
    content = Content(4 * CHUNK_SIZE)
    source = MemorySource(content.data)
    settings = replace(FAST, upstream_streams=1, urgent_streams=0, window=CHUNK_SIZE)
    transfer = bench.transfer(content.plain, Reports(source), settings)
    with transfer._scheduler.lock:
        transfer.start()
        transfer.need(3 * CHUNK_SIZE, 10, "reader")
        transfer.leave("reader")
    transfer.partial.wait(0, len(content.data), TIMEOUT)
    assert [offset // CHUNK_SIZE for offset, _ in source.asked] == [0, 1, 2, 3]


def test_the_order_of_the_router(bench: Bench) -> None:
    content = Content(4 * CHUNK_SIZE)
    source = MemorySource(content.data)
    settings = replace(FAST, upstream_streams=1, urgent_streams=0, window=CHUNK_SIZE)
    transfer = bench.transfer(content.plain, Reports(source, order=[2, 0, 3, 1]), settings)
    assert bench.run(transfer) is None
    assert [offset // CHUNK_SIZE for offset, _ in source.asked] == [2, 0, 3, 1]


def test_a_stream_that_stands_still_is_given_up(bench: Bench, content: Content) -> None:
    source = MemorySource(content.data, faults=[Fault(stall=SMALL + 5)])
    router = Reports(source)
    transfer = bench.transfer(content.table(SMALL), router, replace(FAST, stall=0.2))
    assert bench.run(transfer) is None
    check(transfer, content)
    assert ("memory", Outcome.SLOW) in router.told
    assert source.sent <= len(content.data) + SMALL


def test_a_chunk_that_somebody_waits_for_is_asked_of_a_second_source(bench: Bench, content: Content) -> None:
    slow = MemorySource(content.data, name="slow", kind=SourceKind.PEER, faults=[Fault(stall=0)])
    quick = MemorySource(content.data, name="quick", kind=SourceKind.PEER)
    transfer = bench.transfer(content.table(SMALL), Reports(slow, quick), replace(FAST, stall=60.0))
    with transfer._scheduler.lock:
        transfer.start()
        transfer.need(0, 1)
    transfer.partial.wait(0, 1, TIMEOUT)
    assert quick.asked[0] == (0, SMALL)


@pytest.mark.parametrize("kind", [SourceKind.PEER, SourceKind.MIRROR])
def test_the_upstream_is_not_asked_because_a_neighbour_is_slow(
    bench: Bench, content: Content, kind: SourceKind
) -> None:
    slow = MemorySource(content.data, name="slow", kind=kind, faults=[Fault(times=99, stall=0)])
    upstream = MemorySource(content.data)
    transfer = bench.transfer(content.table(SMALL), Reports(slow, upstream), replace(FAST, stall=60.0, hedge_after=0))
    transfer.start()
    transfer.need(0, 1)
    until(lambda: len(slow.asked) > 0)
    time.sleep(0.8)
    assert upstream.asked == []


def test_stopping_and_going_on(bench: Bench, content: Content) -> None:
    source = MemorySource(content.data, faults=[Fault(stall=3 * SMALL)])
    router = Reports(source)
    transfer = bench.transfer(content.table(SMALL), router, replace(FAST, stall=60.0))
    transfer.start()
    transfer.partial.wait(0, 3 * SMALL, TIMEOUT)
    waiting = transfer.partial.when(4 * SMALL, 1)
    transfer.stop(StorageError("later"))
    assert isinstance(waiting.exception(0), StorageError)
    assert transfer.streams == 0
    assert router.told == []  # nobody is to blame
    assert bench.run(transfer) is None
    assert source.sent == len(content.data)
    check(transfer, content)


def test_what_is_complete_when_it_starts_is_checked(bench: Bench, content: Content) -> None:
    partial = PartialBlob.create(bench.folder / "whole", content.plain)
    partial.put(0, content.data)
    transfer = bench.transfer(content.plain, Reports(MemorySource(b"")), partial=partial)
    assert bench.run(transfer) is None
    check(transfer, content)


def test_after_a_crash_of_the_machine_chunks_are_confirmed_and_not_fetched(
    bench: Bench, content: Content, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    grid = content.table(SMALL)
    partial = PartialBlob.create(bench.folder / "crashed", grid)
    for number in range(20):
        offset, size = grid.bounds(number)
        partial.put(number, content.data[offset : offset + size])
    partial.close()
    data = bench.folder / "crashed" / "data"
    damaged = bytearray(data.read_bytes())
    damaged[7 * SMALL] ^= 1
    data.write_bytes(damaged)
    boot = tmp_path / "boot"
    boot.write_text("another")
    monkeypatch.setattr(partial_module, "_BOOT", boot)
    source = MemorySource(content.data)
    transfer = bench.transfer(grid, Reports(source), partial=PartialBlob.open(bench.folder / "crashed"))
    assert bench.run(transfer) is None
    check(transfer, content)
    assert source.sent == len(content.data) - 19 * SMALL


def test_what_the_disk_has_damaged_meanwhile_is_fetched_anew(bench: Bench, content: Content) -> None:
    """The last chunk but one comes first, and is hashed with the whole once all before it are there."""
    source = MemorySource(content.data, faults=[Fault(times=999, at=0, stall=0)])
    router = Reports(source, order=[39, *range(39), 40])
    transfer = bench.transfer(content.table(SMALL), router, replace(FAST, stall=0.2, attempts=999))
    transfer.start()
    transfer.partial.wait(39 * SMALL, SMALL, TIMEOUT)
    with (transfer.partial.folder / "data").open("r+b") as f:
        f.seek(39 * SMALL)
        f.write(b"rot!")
    source.faults.clear()
    until(lambda: transfer.state is State.DONE)
    check(transfer, content)
    assert source.sent == len(content.data) + SMALL


def test_a_failing_disk_is_our_error_and_not_the_sources(
    bench: Bench, content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    router = Reports(MemorySource(content.data))
    transfer = bench.transfer(content.table(SMALL), router)

    def fail(*_: object, **__: object) -> None:
        raise StorageError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(transfer.partial, "put", fail)
        assert isinstance(bench.run(transfer), StorageError)
    assert all(outcome is Outcome.DONE for _, outcome in router.told)
    assert bench.run(transfer) is None
    check(transfer, content)


def test_a_source_with_a_bug_is_one_that_is_broken(
    bench: Bench, content: Content, caplog: pytest.LogCaptureFixture
) -> None:
    class Buggy(MemorySource):
        def fetch(self, grid: Grid, offset: int, length: int):  # type: ignore[no-untyped-def]
            raise ValueError("oops")

    good = MemorySource(content.data, name="good")
    transfer = bench.transfer(content.plain, Reports(Buggy(b"", name="buggy"), good))
    assert bench.run(transfer) is None
    assert "buggy" in caplog.text


def test_many_readers_of_many_ranges(bench: Bench, content: Content) -> None:
    source = MemorySource(content.data)
    transfer = bench.transfer(content.table(SMALL), Reports(source))
    failures: list[object] = []

    def reader(number: int) -> None:
        offset = number * 13 * 1000 % len(content.data)
        length = min(200_000, len(content.data) - offset)
        transfer.need(offset, length, number)
        try:
            transfer.partial.wait(offset, length, TIMEOUT)
            if transfer.partial.read(offset, length) != content.data[offset : offset + length]:
                failures.append(number)
        except BaseException as e:
            failures.append(e)

    threads = [threading.Thread(target=reader, args=(n,)) for n in range(60)]
    for thread in threads:
        thread.start()
    transfer.start()
    for thread in threads:
        thread.join()
    assert failures == []
    transfer.partial.wait(0, len(content.data), TIMEOUT)
    assert source.sent == len(content.data)


@pytest.mark.slow
def test_a_registry_that_ignores_ranges_is_asked_for_all_of_it_once(bench: Bench) -> None:
    content = Content(5 * CHUNK_SIZE)
    server = ScriptedRegistry()
    server.blobs[str(content.digest)] = content.data
    whole = Reply(200, {"Docker-Content-Digest": str(content.digest)}, content.data)
    server.on("GET", "/blobs/", whole, times=99)
    with Registry(ClientSettings(attempts=1)) as client:
        offers = [(client, Reference.parse(f"{server.name}/org/model"))]
        transfer = bench.transfer(content.plain, Reports(RegistrySource("upstream", lambda _: offers)))
        assert bench.run(transfer) is None
        check(transfer, content)
        asked = [request.headers.get("Range") for request in server.requests("GET", "/blobs/")]
        assert asked.count(None) == 1
        transfer.stop()
    server.close()


def test_what_a_limit_of_ours_slows_down_is_no_straggler(bench: Bench) -> None:
    content = Content(6 * CHUNK_SIZE)
    source = MemorySource(content.data)
    router = Reports(source)
    settings = replace(FAST, rate=20e6, straggler_after=0.0, straggler_share=0.99)
    transfer = bench.transfer(content.plain, router, settings)
    assert bench.run(transfer) is None
    check(transfer, content)
    assert source.sent == len(content.data)
    assert {outcome for _, outcome in router.told} == {Outcome.DONE}


class Homes(Reports):
    """Chunks with one home each, of which `here` are there already."""

    def __init__(self, *homes: MemorySource, here: Sequence[int] = ()) -> None:
        super().__init__(*dict.fromkeys(homes))
        self.homes, self.here = homes, here

    def candidates(self, grid: Grid, number: int) -> Sequence[ChunkSource]:
        return [self.homes[number]]

    def is_at_hand(self, grid: Grid, number: int) -> bool:
        return number in self.here


def peer(content: Content, name: str) -> MemorySource:
    return MemorySource(content.data, name, SourceKind.PEER, gate=threading.Event())


def test_who_fetches_one_chunk_is_asked_for_another_only_if_somebody_waits_for_it(bench: Bench) -> None:
    content = Content(8 * SMALL)
    busy, free = peer(content, "busy"), peer(content, "free")
    transfer = bench.transfer(content.table(SMALL), Homes(*[busy, free] * 4, here=range(1, 8, 2)))
    assert free.gate is not None
    free.gate.set()
    transfer.start()
    until(lambda: transfer.partial.left == 4)
    assert busy.asked == [(0, SMALL)]
    transfer.need(4 * SMALL, SMALL)
    until(lambda: len(busy.asked) == 2)
    assert busy.asked[1] == (4 * SMALL, SMALL)
    assert busy.gate is not None
    busy.gate.set()
    until(lambda: transfer.state is State.DONE)
    check(transfer, content)


def test_streams_are_spread_over_those_who_have_chunks(bench: Bench) -> None:
    content = Content(6 * SMALL)
    one, other = peer(content, "one"), peer(content, "other")
    two_streams = replace(FAST, peer_streams=2, urgent_streams=0, peer_window=CHUNK_SIZE)
    router = Homes(one, one, one, other, one, other, here=range(6))
    transfer = bench.transfer(content.table(SMALL), router, replace(two_streams, blob_streams=2))
    transfer.start()
    until(lambda: transfer.status().streams == 2 and bool(one.asked and other.asked))
    assert (one.asked[0][0], other.asked[0][0]) == (0, 3 * SMALL)
    assert (len(one.asked), len(other.asked)) == (1, 1)
    for source in (one, other):
        assert source.gate is not None
        source.gate.set()
    until(lambda: transfer.state is State.DONE)
    check(transfer, content)


class Counting(Reports):
    """Counts how often somebody is looked for."""

    looked = 0

    def candidates(self, grid: Grid, number: int) -> Sequence[ChunkSource]:
        self.looked += 1
        return super().candidates(grid, number)


class Full:
    """`Slots` of which none is free."""

    def room(self, kind: SourceKind, *, urgent: bool) -> bool:
        return False

    def free(self, source: ChunkSource, *, urgent: bool) -> bool:
        return False

    def streams_of(self, source: ChunkSource) -> int:
        return 9

    def awaited(self, source: ChunkSource) -> bool:
        return True


def test_nobody_is_looked_for_while_no_stream_is_free(bench: Bench) -> None:
    content = Content(40 * SMALL)
    router = Counting(MemorySource(content.data, gate=threading.Event()))
    transfer = bench.transfer(content.table(SMALL), router, replace(FAST, upstream_streams=1, blob_streams=1))
    transfer.start()
    until(lambda: transfer.status().streams == 1)
    transfer.need(0, len(content.data))
    with transfer._scheduler.lock:
        before = router.looked
        assert transfer.plan(time.monotonic(), Full()) is None
        assert router.looked == before


def test_waiting_for_what_a_source_has_to_get_first_is_not_its_slowness() -> None:
    source = MemorySource(b"", kind=SourceKind.PEER)
    window = Window(receiver=None, source=source, numbers=range(2), urgent=False)  # type: ignore[arg-type]
    window.began, window.first_byte, window.flowed = 1.0, 61.0, 0.5
    assert window.flowing(62.0) == 0.5
    window.partial = 10
    assert window.flowing(62.0) == 1.5
