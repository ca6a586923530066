"""One blob on its way: who is asked for which chunk, and what happens when that fails."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import islice
from typing import Final

from modelcar.errors import (
    DigestMismatch,
    InvalidContent,
    ModelcarError,
    ProtocolViolation,
    RegistryError,
    StorageError,
)
from modelcar.lazy.backlog import Backlog
from modelcar.lazy.choice import Ask, Chooser, Confirm, Nobody
from modelcar.lazy.demand import Demands
from modelcar.lazy.grid import Grid
from modelcar.lazy.laggards import Laggards
from modelcar.lazy.partial import PartialBlob
from modelcar.lazy.parts import Arrival
from modelcar.lazy.scheduler import Job, Scheduler, Slots, Task
from modelcar.lazy.sources import ChunkSource, Outcome, Router, SourceKind
from modelcar.lazy.standing import Standing
from modelcar.lazy.whole_digest import WholeDigest
from modelcar.lazy.window import Window
from modelcar.oci import Digest

__all__ = ["State", "Transfer", "TransferStatus"]

_CONFIRMED: Final = 8  # claimed chunks that one job reads back from disk
_HEDGED: Final = 8  # chunks that are looked at for having waited too long
_CODES: Final = {SourceKind.UPSTREAM: 2, SourceKind.MIRROR: 3, SourceKind.PEER: 4}
_MEASURE: Final = 1.0  # seconds over which a rate is taken


class State(StrEnum):
    RUNNING = "running"
    FAILED = "failed"
    """Nobody has it at the moment; `revive` tries again."""
    STOPPED = "stopped"
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferStatus:
    """`rate` is bytes a second, `sources` bytes by the name of who sent them, `wasted` bytes that came in vain."""

    state: State
    priority: int
    rate: float
    streams: int
    waiting: int
    sources: dict[str, int]
    wasted: int
    error: ModelcarError | None


class Transfer:
    """Fills a partial blob by a router, whoever reads it. Safe to use from several threads.

    Each chunk is fetched once: a chunk on its way is waited for, unless it takes so long that somebody else is asked
    as well. `finished` is called, in a fetch thread, with `None` once all is here and has the digest of the whole, or
    with the error of which those who wait were told. After one that may pass, `revive` goes on.
    """

    def __init__(
        self,
        blob: PartialBlob,
        router: Router,
        scheduler: Scheduler,
        *,
        priority: int = 0,
        finished: Callable[[ModelcarError | None], None] = lambda _: None,
        in_parts: bool = False,
    ) -> None:
        """`in_parts`: chunks are kept while they come; only where nobody reads the data before all of it is here."""
        self.partial, self.router = blob, router
        self.priority = priority
        self._in_parts = in_parts
        self.background = True
        """Whether more is fetched than what somebody waits for."""
        self._scheduler, self._settings = scheduler, scheduler.settings
        self._finished = finished
        self._whole = WholeDigest(blob)
        self._state = State.STOPPED
        self._error: ModelcarError | None = None
        self._demands = Demands(len(blob.grid))
        self._flight: dict[int, list[Window]] = {}
        self._backlog = Backlog(blob, self._demands, self._flight, read_ahead=self._settings.read_ahead)
        self._windows: set[Window] = set()
        self._jobs = 0
        self._standing = Standing(self._settings)
        self._chooser = Chooser(
            blob,
            router,
            self._settings,
            standing=self._standing,
            demands=self._demands,
            backlog=self._backlog,
            flight=self._flight,
            windows=self._windows,
        )
        self._laggards = Laggards(blob.grid, router, self._standing, scheduler.usual, self._settings)
        self._concluding = False
        self._received: Counter[str] = Counter()
        self._senders: dict[str, ChunkSource] = {}
        self._from = bytearray(len(blob.grid))
        self._rate, self._measured = 0.0, (time.monotonic(), 0)

    @property
    def grid(self) -> Grid:
        return self.partial.grid

    @property
    def state(self) -> State:
        return self._state

    @property
    def urgent(self) -> bool:
        return bool(self._demands)

    @property
    def streams(self) -> int:
        return len(self._windows)

    # What owners do.

    def start(self) -> None:
        """Begin, or go on after `stop` or a failure. What is complete already is checked and done."""
        if self._is_under_way():
            self._scheduler.wake()
            return
        order = list(self.router.background(self.grid))  # without the lock: a router may have to think
        with self._scheduler.lock:
            if self._is_under_way():
                return
            self._state, self._error = State.RUNNING, None
            self._standing.forget(time.monotonic())
            self._backlog.begin(order)
            self.partial.recover()
        self._scheduler.add(self)

    revive = start

    def renew(self) -> None:
        """There is more to ask sources with, fresher credentials or another repository: who has refused what was asked
        with less, or is about to, is asked again."""
        with self._scheduler.lock:
            self._standing.renew(time.monotonic())

    def need(self, offset: int, length: int, who: object = None) -> None:
        """`who` waits for this range and is going to read on after it."""
        with self._scheduler.lock:
            self._demands.add(who, self.grid.numbers(offset, length))
        self._scheduler.wake()

    def suspects(self) -> frozenset[str]:
        """The names of those, other than the upstream, who sent some of a blob that turned out to be wrong."""
        return frozenset(source.name for source in self._suspects())

    def distrust(self, names: Iterable[str]) -> None:
        """Never ask these sources: they may have sent wrong bytes before. Call it before `start`."""
        for name in names:
            self._standing.distrust(name, ProtocolViolation(f"{name} took part in sending another blob"))

    def prefer(self, ranges: Iterable[tuple[int, int]], who: object) -> None:
        """Nobody waits for these `(offset, length)`, but for `who` they come before the rest, and also where the rest
        does not."""
        numbers = [self.grid.numbers(offset, length) for offset, length in ranges]
        with self._scheduler.lock:
            self._backlog.wishes.set(who, numbers)
        self._scheduler.wake()

    def leave(self, who: object) -> None:
        """Nobody waits for what `who` asked for, or prefers it; it goes on arriving, in its turn."""
        with self._scheduler.lock:
            self._demands.drop(who)
            self._backlog.wishes.drop(who)

    def cancel(self) -> None:
        """Give up what runs, without waiting for its end."""
        with self._scheduler.lock:
            if self._state is not State.DONE:
                self._state = State.STOPPED
            windows = list(self._windows)
        self._scheduler.discard(self)
        for window in windows:
            window.cancel()

    def stop(self, error: ModelcarError | None = None) -> None:
        """Give up what runs and wait until nothing does. Those who wait are told `error`, if any."""
        self.cancel()
        with self._scheduler.lock:
            while self._jobs:
                self._scheduler.ended.wait(0.1)
        if error is not None:
            self.partial.fail(error)

    def map(self) -> bytes:
        """One byte a chunk: 0 if it is missing, 2 if it came from an upstream, 3 from a mirror, 4 from a peer; 1 if it
        was here before."""
        return bytes(here and (code or 1) for here, code in zip(self.partial.map(), self._from, strict=True))

    def status(self) -> TransferStatus:
        with self._scheduler.lock:
            return TransferStatus(
                state=self._state,
                priority=self.priority,
                rate=self._rate,
                streams=len(self._windows),
                waiting=self.partial.waiting,
                sources=dict(self._received),
                wasted=self._laggards.wasted,
                error=self._error,
            )

    # What the scheduler asks, its lock held.

    def plan(self, now: float, slots: Slots) -> Job | None:
        if self._state is not State.RUNNING:
            return None
        job = self._next(now, slots)
        if job is not None:
            self._jobs += 1
        return job

    def watch(self, now: float) -> Iterable[Callable[[], None]]:
        moment, received = self._measured
        total = sum(self._received.values()) + sum(w.partial for w in self._windows)
        if now - moment >= _MEASURE:
            self._rate += (max(0, total - received) / (now - moment) - self._rate) / 2
            self._measured = (now, total)
        return [window.abandon for window in self._windows if self._laggards.is_slow(window, now)]

    def awaits(self, name: str) -> bool:
        return any(w.source.name == name and not w.received for w in self._windows)

    def _is_under_way(self) -> bool:
        return self._state in (State.RUNNING, State.DONE)

    def _next(self, now: float, slots: Slots) -> Job | None:
        if self.partial.complete:
            return None if self._jobs else Task(self._conclude, self._done_with)
        streams = min(self._settings.blob_streams, self._scheduler.streams_at(self.priority))
        match self._chooser.next(now, slots, background=self.background, streams=streams):
            case Ask(source, numbers, urgent):
                return self._open(source, numbers, urgent=urgent)
            case Confirm(number):
                return self._confirmation(number)
            case Nobody(error):
                self._state, self._error = State.FAILED, error
                return Task(partial(self._tell, error), self._done_with)
        return self._hedge(now, slots)

    def _open(self, source: ChunkSource, numbers: range, *, urgent: bool) -> Window:
        window = Window(receiver=self, source=source, numbers=numbers, urgent=urgent)
        if urgent:
            self._demands.rotate()
        self._windows.add(window)
        for number in numbers:
            self._flight.setdefault(number, []).append(window)
        return window

    def _hedge(self, now: float, slots: Slots) -> Window | None:
        """A second source for a chunk that somebody waits for longer than is usual."""
        for number in islice(self._demands.urgent(self.partial.next_missing), _HEDGED):
            windows = self._flight.get(number, ())
            if len(windows) != 1 or windows[0].current != number:
                continue
            source = self._laggards.second(windows[0], now)
            if source is not None and self._chooser.may_hedge(source, slots):
                self._scheduler.events.hedged(source.kind)
                return self._open(source, range(number, number + 1), urgent=True)
        return None

    def _confirmation(self, number: int) -> Job:
        """Look at chunks that may be here since before the machine was started again."""
        numbers = [n for n in range(number, min(number + _CONFIRMED, len(self.grid))) if self.partial.claims(n)]
        for n in numbers:
            self._flight.setdefault(n, [])
        return Task(partial(self._confirm, numbers), self._done_with)

    # What fetch threads do, without the lock.

    def pace(self, size: int) -> float:
        return self._scheduler.pace(self.priority, size)

    def began(self, window: Window) -> None:
        if window.kind is SourceKind.PEER:
            self._scheduler.wake()  # it may be asked for what comes next

    def begins(self, window: Window, number: int) -> Arrival | None:
        if not self._in_parts or window.kind is SourceKind.PEER:  # part of whose chunks would be anybody's
            return None
        return self.partial.arrive(number, anew=number > window.numbers.start)

    def resume(self, arrival: Arrival, view: memoryview) -> None:
        self.partial.resume(arrival, view)

    def keep(self, arrival: Arrival, data: memoryview) -> None:
        self.partial.keep(arrival, data)

    def arrived(self, window: Window, number: int, data: memoryview) -> None:
        arrival = window.arrival
        try:
            fresh = self.partial.put(number, data, doubtful=self._may_doubt(window), arrival=arrival)
        except DigestMismatch as e:
            if arrival is not None and arrival.resumed:  # nobody knows whose part is wrong: it comes anew, from one
                raise RegistryError(f"{window.source.name}: {e}, after it came in parts") from None
            window.wrong = Digest.of(data)
            raise
        now = time.monotonic()
        with self._scheduler.lock:
            others = [w for w in self._flight.pop(number, ()) if w is not window]
            self._standing.did_well(window.source, number)
            self._received[window.source.name] += len(data)
            self._senders[window.source.name] = window.source
            self._laggards.wasted += 0 if fresh else len(data)
            size, window.partial, window.arrival = window.partial, 0, None
            if fresh:
                self._from[number] = _CODES[window.kind]
        for other in others:
            if other.numbers[-1] == number:
                other.cancel()
            elif other.current == number:  # it was overtaken: the rest of its window is better asked for again
                other.abandon()
        if fresh:
            waited, flowed = now - window.chunk_began, now - window.first_byte
            self._scheduler.usual.chunk(window.source, size, waited=waited, flowed=flowed, now=now)
            self._scheduler.events.received(window.source.kind, len(data), now - window.chunk_began)
        self._whole.advance()
        if self.partial.complete:
            self._conclude()

    def _may_doubt(self, window: Window) -> bool:
        return window.kind is SourceKind.PEER and not self.grid.verifiable

    def ended(self, window: Window, outcome: Outcome, error: ModelcarError | None) -> None:
        now = time.monotonic()
        fatal = error if outcome is Outcome.DONE else None
        if not window.cancelled:  # first, so that whoever plans next is told of others than this source
            self.router.report(window.source, outcome, window.received, window.flowing(now))
        with self._scheduler.lock:
            self._windows.discard(window)
            self._laggards.wasted += window.losing
            for number in reversed(window.numbers):
                self._leave(number, window)
            if error is not None and fatal is None and not window.cancelled:
                fatal = self._blame(window, outcome, error, now)
            if fatal is not None and self._state is State.RUNNING:
                self._state, self._error = State.FAILED, fatal
            else:
                fatal = None
        if not window.cancelled:
            self._scheduler.events.ended(window.source.kind, outcome, now - window.began)
        if fatal is not None:
            self._tell(fatal)
        self._done_with()

    def _leave(self, number: int, window: Window) -> None:
        windows = self._flight.get(number)
        if windows is not None and window in windows:
            windows.remove(window)
            if not windows:
                del self._flight[number]
                self._backlog.again(number)

    def _blame(self, window: Window, outcome: Outcome, error: ModelcarError, now: float) -> ModelcarError | None:
        """Remember what a source did; returns the error that ends the transfer, if it does."""
        source, number = window.source, window.current
        if outcome is Outcome.WRONG and window.wrong is not None:
            return self._standing.lied(source, number, window.wrong, error, window.began, now)
        if outcome is Outcome.SLOW:
            self._standing.was_slow(source, number)
            if number == window.numbers.start:  # nothing came of it: that is not to go on for ever
                self._standing.broke(source, error, window.began, now)
        elif outcome is Outcome.MISSING:
            self._standing.has_not(source, number, error, window.began, now)
        else:
            self._standing.broke(source, error, window.began, now)
        return None

    def _confirm(self, numbers: list[int]) -> None:
        try:
            for number in numbers:
                self.partial.confirm(number)
                self._whole.advance()
        except StorageError as e:
            self._fail(e)
        with self._scheduler.lock:
            for number in reversed(numbers):
                self._flight.pop(number, None)
                self._backlog.again(number)

    def _conclude(self) -> None:
        """All is here: is it the blob?"""
        with self._scheduler.lock:
            if self._concluding or self._state is not State.RUNNING:
                return
            self._concluding = True
        error: ModelcarError | None = None
        try:
            self._whole.check()
        except DigestMismatch as e:
            wrong = self.partial.recheck() if self.grid.verifiable else []
            if wrong:  # the disk did not keep what was right when it came
                self._whole.restart()
                with self._scheduler.lock:
                    self._backlog.anew(wrong)
                    self._concluding = False
                self._scheduler.wake()
                return
            error = self._mismatch(e)
        except StorageError as e:
            error = e
        with self._scheduler.lock:
            self._concluding = False
            self._state, self._error = State.FAILED if error else State.DONE, error
        self._scheduler.discard(self)
        if error is None:
            self._finished(None)
        else:
            self._whole.restart()
            self._tell(error)

    def _mismatch(self, error: DigestMismatch) -> ModelcarError:
        if not self.grid.verifiable:
            for source in self._suspects():
                self.router.report(source, Outcome.WRONG, 0, 0.0)
            return error
        return InvalidContent(
            f"{error}, though every chunk is what the model index says",
            hint="the model index of this image does not describe its layers: the image was made or altered badly",
        )

    def _suspects(self) -> list[ChunkSource]:
        """Who else than the upstream sent some of it: one of them lies, if it is not what it should be."""
        return [source for source in self._senders.values() if source.kind is not SourceKind.UPSTREAM]

    def _fail(self, error: ModelcarError) -> None:
        with self._scheduler.lock:
            if self._state is not State.RUNNING:
                return
            self._state, self._error = State.FAILED, error
        self._tell(error)

    def _tell(self, error: ModelcarError) -> None:
        with self._scheduler.lock:  # once it is revived, nobody is to be told of what is over
            tell = self.partial.failing(error) if self._error is error else None
        if tell is not None:
            tell()
        self._finished(error)

    def _done_with(self) -> None:
        with self._scheduler.lock:
            self._jobs -= 1
            self._scheduler.ended.notify_all()
