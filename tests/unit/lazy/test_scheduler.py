"""Whose turn it is: slots, priorities, limits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator

import pytest

from modelcar.lazy.pace import Pace
from modelcar.lazy.scheduler import Job, Scheduler, Slots
from modelcar.lazy.settings import FetchSettings
from modelcar.lazy.sources import ChunkSource, SourceKind
from tests.support.chunks import MemorySource

TIMEOUT = 60


class Item:
    """A job that runs until it is let go."""

    def __init__(self, source: ChunkSource | None, *, urgent: bool = False) -> None:
        self.source, self.urgent = source, urgent
        self.running, self.go = threading.Event(), threading.Event()

    def run(self) -> None:
        self.running.set()
        self.go.wait(TIMEOUT)


class Queue:
    """A `Work` that hands out items in their order."""

    def __init__(self, *items: Item, priority: int = 0, streams: int = 0) -> None:
        self.items = list(items)
        self.priority, self.streams = priority, streams

    @property
    def urgent(self) -> bool:
        return any(item.urgent for item in self.items)

    def awaits(self, name: str) -> bool:
        return False

    def plan(self, now: float, slots: Slots) -> Job | None:
        for item in self.items:
            if item.source is None or slots.free(item.source, urgent=item.urgent):
                self.items.remove(item)
                return item
        return None

    def watch(self, now: float) -> Iterable[Callable[[], None]]:
        return ()


def upstream(name: str = "upstream") -> MemorySource:
    return MemorySource(b"", name=name)


def peer(name: str = "peer") -> MemorySource:
    return MemorySource(b"", name=name, kind=SourceKind.PEER)


@pytest.fixture
def run() -> Iterator[Callable[..., Scheduler]]:
    schedulers: list[Scheduler] = []
    queues: list[tuple[Item, ...]] = []

    def start(*works: Queue, **settings: int) -> Scheduler:
        scheduler = Scheduler(FetchSettings(**settings))
        schedulers.append(scheduler)
        queues.extend(tuple(work.items) for work in works)
        with scheduler.lock:
            for work in works:
                scheduler.add(work)
        return scheduler

    yield start
    for items in queues:
        for item in items:
            item.go.set()
    for scheduler in schedulers:
        scheduler.close()


def begin(items: Iterable[Item], expected: int) -> bool:
    """Whether so many of them run, and no more."""
    items, end = list(items), time.monotonic() + TIMEOUT
    while sum(item.running.is_set() for item in items) < expected and time.monotonic() < end:
        time.sleep(0.005)
    time.sleep(0.05)
    return sum(item.running.is_set() for item in items) == expected


def test_upstreams_and_peers_have_limits_of_their_own(run: Callable[..., Scheduler]) -> None:
    first = [Item(upstream(f"u{n}")) for n in range(5)]
    second = [Item(peer(f"p{n}")) for n in range(5)]
    scheduler = run(Queue(*first), Queue(*second), upstream_streams=2, peer_streams=3, urgent_streams=0)
    assert begin(second, 3)
    assert begin(first, 2)
    assert scheduler.streams() == {"upstream": 2, "peer": 3}
    first[0].go.set()
    assert first[2].running.wait(TIMEOUT)


def test_what_is_waited_for_has_streams_in_reserve_and_leaves_some(run: Callable[..., Scheduler]) -> None:
    urgent = [Item(upstream(f"u{n}"), urgent=True) for n in range(20)]
    rest = [Item(upstream(f"v{n}")) for n in range(20)]
    run(Queue(*urgent), Queue(*rest), upstream_streams=8, urgent_streams=2)
    assert begin(urgent, 10)
    assert begin(rest, 2)


def test_one_source_leaves_a_quarter_to_others(run: Callable[..., Scheduler]) -> None:
    stalled = [Item(upstream("stalled")) for _ in range(8)]
    run(Queue(*stalled), upstream_streams=8, urgent_streams=0)
    assert begin(stalled, 6)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"priority": 1}, {"priority": 0}),
        ({"streams": 3}, {"streams": 0}),
        ({"priority": 0}, {"priority": 3, "urgent": True}),
    ],
)
def test_who_comes_first(run: Callable[..., Scheduler], one: dict[str, int], other: dict[str, int]) -> None:
    later = Item(upstream("later"), urgent=bool(one.pop("urgent", 0)))
    sooner = Item(upstream("sooner"), urgent=bool(other.pop("urgent", 0)))
    run(Queue(later, **one), Queue(sooner, **other), upstream_streams=1, urgent_streams=0)
    assert sooner.running.wait(TIMEOUT)
    assert not later.running.is_set()
    sooner.go.set()
    assert later.running.wait(TIMEOUT)


def test_a_priority_that_is_held_waits_until_it_is_let_go(run: Callable[..., Scheduler]) -> None:
    scheduler = run()
    scheduler.limit(0, priority=3)
    held, free = Item(upstream("a")), Item(upstream("b"))
    scheduler.add(Queue(held, priority=3))
    scheduler.add(Queue(free, priority=0))
    assert free.running.wait(TIMEOUT)
    assert not held.running.is_set()
    scheduler.limit(None, priority=3)
    assert held.running.wait(TIMEOUT)
    free.go.set()
    held.go.set()


def test_the_slower_of_two_limits_counts() -> None:
    scheduler = Scheduler(FetchSettings(rate=1e6))
    scheduler.limit(1000.0, priority=3)
    assert scheduler.pace(0, 1000) == 0.0
    assert scheduler.pace(3, 10_000) > 5
    scheduler.close()


def test_how_long_chunks_usually_take() -> None:
    pace, source = Pace(), peer()
    assert pace.patience(SourceKind.PEER, 1.0) == 3.0
    assert pace.usual("peer", 0.0) is None
    for n in range(100):
        pace.chunk(source, 1000, waited=2.0 if n % 10 else 9.0, flowed=0.5, now=float(n))
    assert 2.0 < pace.patience(SourceKind.PEER, 1.0) <= 9.0
    assert pace.patience(SourceKind.PEER, 20.0) == 20.0
    assert pace.patience(SourceKind.UPSTREAM, 1.0) == 3.0
    assert pace.usual("peer", 100.0) == pytest.approx(2000.0)
    assert pace.usual("peer", 1000.0) is None
