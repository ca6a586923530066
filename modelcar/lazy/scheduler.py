"""The fetch threads of a whole node, and what they do next."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from modelcar.lazy.events import UNHEARD, FetchEvents
from modelcar.lazy.pace import Pace
from modelcar.lazy.settings import FetchSettings
from modelcar.lazy.sources import ChunkSource, SourceKind
from modelcar.throttle import Throttle

__all__ = ["Job", "Scheduler", "Slots", "Task", "Work"]

_TICK: Final = 0.25  # seconds between two looks at what runs
_STREAM_RATE: Final = 4 << 20  # bytes a second that one stream brings easily: a chunk
_OTHERS: Final = 4  # of so many streams, one is left to other sources
_BACKGROUND: Final = 4  # of so many streams, one is left to what nobody waits for yet
_IDLE: Final = 5.0  # seconds until a thread without work ends


class Job(Protocol):
    """Something for a fetch thread to do."""

    @property
    def source(self) -> ChunkSource | None:
        """Whose stream it takes; `None` if it takes none."""

    @property
    def urgent(self) -> bool:
        """Whether somebody waits for it."""

    def run(self) -> None:
        """Without the scheduler's lock. Must not raise."""


class Task:
    """A job that takes no stream: `do`, and then `after`, however that went."""

    source = None
    urgent = False

    def __init__(self, do: Callable[[], None], after: Callable[[], None]) -> None:
        self._do, self._after = do, after

    def run(self) -> None:
        try:
            self._do()
        finally:
            self._after()


class Slots(Protocol):
    """What streams there are, of all transfers."""

    def room(self, kind: SourceKind, *, urgent: bool) -> bool:
        """Whether one more stream may be opened to any source of a kind."""

    def free(self, source: ChunkSource, *, urgent: bool) -> bool:
        """Whether one more stream may be opened."""

    def streams_of(self, source: ChunkSource) -> int:
        """How many streams it has."""

    def awaited(self, source: ChunkSource) -> bool:
        """Whether one of them has not brought anything yet."""


class Work(Protocol):
    """A transfer, as the scheduler sees it. The scheduler's lock is held during all of these."""

    priority: int

    @property
    def streams(self) -> int:
        """How many of its streams run."""

    @property
    def urgent(self) -> bool:
        """Whether somebody waits for some of it."""

    def awaits(self, name: str) -> bool:
        """Whether the source of this name has been asked and has sent nothing yet."""

    def plan(self, now: float, slots: Slots) -> Job | None:
        """What to do next, as begun; `None` if there is nothing to do at the moment."""

    def watch(self, now: float) -> Iterable[Callable[[], None]]:
        """Look at what runs; returns what is to be done about it, quickly, without the lock."""


class Scheduler:
    """A bounded pool of threads that fetch for any number of transfers. Close it.

    What somebody waits for comes first, then lower priorities, then whoever has the fewest streams. `lock` guards the
    plans of all transfers.
    """

    def __init__(self, settings: FetchSettings | None = None, events: FetchEvents = UNHEARD) -> None:
        self.settings = settings or FetchSettings()
        self.events = events
        mutex = threading.RLock()
        self.lock = threading.Condition(mutex)
        self.ended = threading.Condition(mutex)
        """A job has ended; told apart, for it is nothing that a thread without one should wake up for."""
        self.usual = Pace()
        self.upstream_share: Callable[[], int] = lambda: sys.maxsize
        """How many streams to upstreams this node may have, urgent ones included, where other nodes have some too."""
        self._work: list[Work] = []
        self._busy: Counter[tuple[str, bool]] = Counter()  # streams by group, urgent ones apart
        self._threads: set[threading.Thread] = set()
        self._streams: Counter[str] = Counter()  # by the name of the source
        self._idle = 0
        self._watcher: threading.Thread | None = None
        self._closing, self._ended = False, threading.Event()
        self._throttles: dict[int | None, Throttle] = {None: Throttle(self.settings.rate)}

    def add(self, work: Work) -> None:
        with self.lock:
            if work not in self._work:
                self._work.append(work)
            if self._watcher is None and not self._closing:
                self._watcher = threading.Thread(target=self._watch, name="fetch-watch", daemon=True)
                self._watcher.start()
        self.wake()

    def discard(self, work: Work) -> None:
        with self.lock:
            if work in self._work:
                self._work.remove(work)

    def wake(self) -> None:
        """There may be something to do."""
        with self.lock:
            most = self.settings.upstream_streams + self.settings.peer_streams + 2 * self.settings.urgent_streams + 2
            if self._work and not self._idle and len(self._threads) < most and not self._closing:
                thread = threading.Thread(target=self._serve, name=f"fetch-{len(self._threads)}", daemon=True)
                self._threads.add(thread)
                thread.start()
            else:
                self.lock.notify()

    def limit(self, rate: float | None, priority: int | None = None) -> None:
        """Bytes a second of all streams, or of those of one priority; 0 holds them, `None` lifts the limit."""
        with self.lock:
            self._throttles.setdefault(priority, Throttle()).set_rate(rate)
            self.lock.notify_all()

    def pace(self, priority: int, size: int) -> float:
        """`size` bytes of this priority have arrived; returns how many seconds to wait before more are read."""
        throttles = [t for t in (self._throttles[None], self._throttles.get(priority)) if t is not None]
        return max(t.take(size) for t in throttles)

    def streams_at(self, priority: int) -> int:
        """How many streams make sense under the limits of a priority: more would only wait for each other."""
        limits = (self._throttles[None].rate, self._throttles[priority].rate if priority in self._throttles else None)
        rates = [rate for rate in limits if rate is not None]
        return max(1, int(min(rates) / _STREAM_RATE)) if rates else sys.maxsize

    def room(self, kind: SourceKind, *, urgent: bool) -> bool:
        """`Slots`: upstreams and mirrors share theirs. What is waited for never takes all of them: a home that serves
        others must get on with its own chunks."""
        group, most = _group(kind), self._most(kind)
        pressing, others = self._busy[group, True], self._busy[group, False]
        if group == "upstream" and pressing + others >= self.upstream_share():
            return False
        if urgent:
            return pressing + others < most + self.settings.urgent_streams
        return others + min(pressing, most - most // _BACKGROUND) < most

    def free(self, source: ChunkSource, *, urgent: bool) -> bool:
        """`Slots`: one source never takes all: it may be one that stalls."""
        room = self._most(source.kind) + (self.settings.urgent_streams if urgent else 0)
        return self._streams.get(source.name, 0) < room - room // _OTHERS and self.room(source.kind, urgent=urgent)

    def _most(self, kind: SourceKind) -> int:
        return self.settings.peer_streams if kind is SourceKind.PEER else self.settings.upstream_streams

    def streams_of(self, source: ChunkSource) -> int:
        return self._streams.get(source.name, 0)

    def awaited(self, source: ChunkSource) -> bool:
        return source.name in self._streams and any(work.awaits(source.name) for work in self._work)

    def streams(self) -> dict[str, int]:
        """How many streams run, to upstreams (mirrors included) and to peers."""
        with self.lock:
            return {group: self._busy[group, True] + self._busy[group, False] for group in ("upstream", "peer")}

    def close(self) -> None:
        """End the threads; transfers must have been stopped."""
        with self.lock:
            self._closing = True
            self._ended.set()
            threads = [*self._threads, *([self._watcher] if self._watcher else [])]
            self.lock.notify_all()
        for thread in threads:
            thread.join()

    def _serve(self) -> None:
        me = threading.current_thread()
        while True:
            with self.lock:
                job = self._next()
                if job is None:
                    if not self._wait():
                        self._threads.discard(me)
                        return
                    continue
                slot = (_group(job.source.kind if job.source else None), job.urgent)
                self._busy[slot] += 1
                self._streams[job.source.name if job.source else ""] += 1
            self.wake()  # there may be more to do, for another thread
            try:
                job.run()
            finally:
                with self.lock:
                    self._busy[slot] -= 1
                    self._release(job.source.name if job.source else "")

    def _release(self, name: str) -> None:
        self._streams[name] -= 1
        if not self._streams[name]:
            del self._streams[name]

    def _wait(self) -> bool:
        """Until there may be something to do; False if there is not, for long, or we are closing."""
        if self._closing:
            return False
        self._idle += 1
        called = self.lock.wait(_IDLE)
        self._idle -= 1
        return called and not self._closing

    def _next(self) -> Job | None:
        if self._closing or self._throttles[None].held:
            return None
        now = time.monotonic()
        for work in sorted(self._work, key=lambda w: (not w.urgent, w.priority, w.streams)):
            throttle = self._throttles.get(work.priority)
            if throttle is None or not throttle.held:
                job = work.plan(now, self)
                if job is not None:
                    return job
        return None

    def _watch(self) -> None:
        """Look at what runs, every now and then, while anything does."""
        while True:
            with self.lock:
                if self._closing or not self._work:
                    self._watcher = None
                    return
                now = time.monotonic()
                doing = [action for work in self._work for action in work.watch(now)]
            for action in doing:
                action()
            self.wake()  # a rest may be over
            self._ended.wait(_TICK)


def _group(kind: SourceKind | None) -> str:
    if kind is None:
        return "own"
    return "peer" if kind is SourceKind.PEER else "upstream"
