"""What a transfer fetches next, and from whom: what is waited for, what follows it, whoever is slow or busy."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from modelcar.layers.hashing import CHUNK_SIZE
from modelcar.lazy.grid import Grid
from modelcar.lazy.sources import ChunkSource, Outcome, SourceKind
from modelcar.lazy.transfer import State
from modelcar.lazy.window import Window
from tests.support.chunks import Content, Fault, MemorySource, Reports
from tests.support.waiting import eventually
from tests.unit.lazy.bench import FAST, SMALL, TIMEOUT, Bench, check


def test_what_somebody_waits_for_comes_first(bench: Bench, content: Content) -> None:
    source = MemorySource(content.data, gate=threading.Event())
    settings = replace(FAST, upstream_streams=1, blob_streams=1, urgent_streams=1, read_ahead=0)
    transfer = bench.transfer(content.table(SMALL), Reports(source), replace(settings, window=CHUNK_SIZE))
    content_end = 35 * SMALL
    with transfer._scheduler.lock:
        transfer.start()
        transfer.need(content_end, 1, "reader")
    eventually(lambda: len(source.asked) == 2 or source.asked[:1] == [(content_end, len(content.data) - content_end)])
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
    eventually(lambda: len(source.asked) == 1)
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
    eventually(lambda: len(slow.asked) > 0)
    time.sleep(0.8)
    assert upstream.asked == []


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
    eventually(lambda: transfer.partial.left == 4)
    assert busy.asked == [(0, SMALL)]
    transfer.need(4 * SMALL, SMALL)
    eventually(lambda: len(busy.asked) == 2)
    assert busy.asked[1] == (4 * SMALL, SMALL)
    assert busy.gate is not None
    busy.gate.set()
    eventually(lambda: transfer.state is State.DONE)
    check(transfer, content)


def test_streams_are_spread_over_those_who_have_chunks(bench: Bench) -> None:
    content = Content(6 * SMALL)
    one, other = peer(content, "one"), peer(content, "other")
    two_streams = replace(FAST, peer_streams=2, urgent_streams=0, peer_window=CHUNK_SIZE)
    router = Homes(one, one, one, other, one, other, here=range(6))
    transfer = bench.transfer(content.table(SMALL), router, replace(two_streams, blob_streams=2))
    transfer.start()
    eventually(lambda: transfer.status().streams == 2 and bool(one.asked and other.asked))
    assert (one.asked[0][0], other.asked[0][0]) == (0, 3 * SMALL)
    assert (len(one.asked), len(other.asked)) == (1, 1)
    for source in (one, other):
        assert source.gate is not None
        source.gate.set()
    eventually(lambda: transfer.state is State.DONE)
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
    eventually(lambda: transfer.status().streams == 1)
    transfer.need(0, len(content.data))
    with transfer._scheduler.lock:
        before = router.looked
        assert transfer.plan(time.monotonic(), Full()) is None
        assert router.looked == before


def test_waiting_for_what_a_source_has_to_get_first_is_not_its_slowness() -> None:
    source = MemorySource(b"", kind=SourceKind.PEER)
    window = Window(receiver=None, source=source, numbers=range(2), urgent=False)  # type: ignore[arg-type]  # nobody receives anything
    window.began, window.first_byte, window.flowed = 1.0, 61.0, 0.5
    assert window.flowing(62.0) == 0.5
    window.partial = 10
    assert window.flowing(62.0) == 1.5
