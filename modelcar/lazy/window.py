"""One stream: successive chunks from one source."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

from modelcar.errors import DigestMismatch, ModelcarError, RemoteNotFound, StorageError, Unreachable, WorldError
from modelcar.lazy.buffers import chunk_buffers
from modelcar.lazy.grid import Grid
from modelcar.lazy.parts import Arrival
from modelcar.lazy.sources import ByteStream, ChunkSource, Outcome, SourceKind
from modelcar.oci import Digest
from modelcar.registry.cancel import Cancelled, CancelScope

__all__ = ["Receiver", "Window"]

_LOG = logging.getLogger(__name__)
_LEAST: Final = 64 << 10  # bytes to ask a stream for at once
_MOST: Final = 256 << 10  # more than this is not in the core's cache any more when it is copied
_QUICK, _SLOW = 0.05, 0.25  # seconds that a read takes; outside of these, the next one asks for more or less


class Receiver(Protocol):
    """Takes what windows bring."""

    @property
    def grid(self) -> Grid: ...

    def began(self, window: Window) -> None:
        """Its first bytes are here."""

    def begins(self, window: Window, number: int) -> Arrival | None:
        """A chunk is about to come; how it is kept while it does, if it is. Raises `StorageError`."""

    def resume(self, arrival: Arrival, view: memoryview) -> None:
        """Fill the beginning of `view` with what was kept before. Raises `StorageError`."""

    def keep(self, arrival: Arrival, data: memoryview) -> None:
        """All that has come of a chunk until now. Raises `StorageError`."""

    def arrived(self, window: Window, number: int, data: memoryview) -> None:
        """A chunk. Raises `DigestMismatch` if it is not right, `StorageError` if it cannot be kept."""

    def pace(self, size: int) -> float:
        """`size` bytes have arrived; returns how many seconds to wait before more are read."""

    def ended(self, window: Window, outcome: Outcome, error: ModelcarError | None) -> None:
        """That was all. An error of the disk comes with the outcome DONE: the source did its part."""


@dataclass(slots=True, eq=False, kw_only=True)
class Window:
    """Fetches `numbers` from `source`. Its fields are written by the thread that runs it and read by others."""

    receiver: Receiver
    source: ChunkSource
    numbers: range
    urgent: bool
    scope: CancelScope = field(default_factory=CancelScope)
    began: float = 0.0
    current: int = -1
    chunk_began: float = 0.0
    first_byte: float = 0.0
    """When the current chunk began to flow: a peer may have to fetch it before it sends it."""
    last_byte: float = 0.0
    flowed: float = 0.0
    """Seconds during which earlier chunks flowed."""
    received: int = 0
    partial: int = 0
    """Bytes of the current chunk that have arrived over this stream."""
    arrival: Arrival | None = None
    """How the current chunk is kept."""
    held_up: bool = False
    """Whether a limit of ours has slowed it down."""
    wrong: Digest | None = None
    """What the bytes hash to that were not right."""
    abandoned: bool = False
    cancelled: bool = False
    _stream: ByteStream | None = None

    @property
    def kind(self) -> SourceKind:
        return self.source.kind

    def flowing(self, now: float) -> float:
        """Seconds during which bytes came, without the wait for those that the source had to get first."""
        return self.flowed + (now - self.first_byte if self.partial else 0.0)

    @property
    def losing(self) -> int:
        """Bytes that have arrived and would be lost if the stream ended now."""
        arrival = self.arrival
        return self.partial - (arrival.kept - arrival.resumed if arrival is not None else 0)

    def run(self) -> None:
        """Fetch; every way in which that can end is told to the receiver."""
        self.began = self.chunk_began = self.last_byte = time.monotonic()
        self.current = self.numbers.start
        outcome = Outcome.DONE
        error: ModelcarError | None = None
        try:
            self._fetch()
        except _DiskError as e:
            error = e.error
        except DigestMismatch as e:
            outcome, error = Outcome.WRONG, e
        except RemoteNotFound as e:
            outcome, error = Outcome.MISSING, e
        except Cancelled:
            outcome, error = Outcome.BROKEN, Unreachable(f"{self.source.name}: the connection was given up")
        except ModelcarError as e:
            outcome, error = Outcome.BROKEN, e
        except Exception as e:
            _LOG.exception("%s: fetching failed in a way that nobody foresaw", self.source.name)
            outcome, error = Outcome.BROKEN, WorldError(f"{self.source.name}: {type(e).__name__} while fetching")
        if self.abandoned and outcome is Outcome.BROKEN:
            outcome = Outcome.SLOW
        self.receiver.ended(self, outcome, error)

    def abandon(self) -> None:
        """Give it up, from any thread: others do better."""
        self.abandoned = True
        self._end()

    def cancel(self) -> None:
        """End it soon, from any thread: nobody needs it, and its source is not to blame."""
        self.cancelled = True
        self._end()

    def _end(self) -> None:
        self.scope.cancel()
        stream = self._stream
        if stream is not None:
            with suppress(Exception):  # what a source does wrong here must not end who cancels
                stream.close()

    def _fetch(self) -> None:
        grid = self.receiver.grid
        start, _ = grid.bounds(self.numbers.start)
        last, size = grid.bounds(self.numbers[-1])
        with chunk_buffers.lend() as buffer, self.scope.active():
            start += (resumed := self._begin(self.numbers.start, buffer))
            with self.source.fetch(grid, start, last + size - start) as stream:
                self._stream = stream
                want = _LEAST
                for number in self.numbers:
                    self.scope.check()
                    if number > self.numbers.start:
                        resumed = self._begin(number, buffer)
                    view = buffer[: grid.bounds(number)[1]]
                    want = self._fill(stream, view, resumed, want)
                    self._keep(number, view)
                self._stream = None

    def _begin(self, number: int, buffer: memoryview) -> int:
        """Returns how much of a chunk is in the buffer already."""
        self.current, self.chunk_began, self.partial = number, time.monotonic(), 0
        try:
            self.arrival = self.receiver.begins(self, number)
            if self.arrival is None or not self.arrival.resumed:
                return 0
            self.receiver.resume(self.arrival, buffer)
        except StorageError as e:
            raise _DiskError(e) from None
        return self.arrival.resumed

    def _fill(self, stream: ByteStream, view: memoryview, here: int, want: int) -> int:
        """Read a chunk of which so much is here; returns how much to ask for at once so that one sees often enough that
        something moves."""
        while here < len(view):
            asked = time.monotonic()
            data = stream.read(min(want, len(view) - here))
            if not data:
                raise Unreachable(f"{self.source.name}: it sent less than was asked for")
            if len(data) > len(view) - here:
                raise Unreachable(f"{self.source.name}: it sent more than was asked for")
            view[here : here + len(data)] = data
            now = time.monotonic()
            if self.partial == 0:
                self.first_byte = now
            here += len(data)
            self.partial += len(data)
            self.received += len(data)
            if self.received == len(data):
                self.receiver.began(self)
            if self.arrival is not None and here < len(view):
                self._keep_part(self.arrival, view[:here])
            if now - asked < _QUICK:
                want = min(_MOST, 2 * want)
            elif now - asked > _SLOW:
                want = max(_LEAST, want // 2)
            delay = self.receiver.pace(len(data))
            self.last_byte = now + delay  # a pause of our own is no stall
            if delay > 0:
                self.held_up = True
                self.scope.wait(delay)
        self.flowed += time.monotonic() - self.first_byte
        return want

    def _keep_part(self, arrival: Arrival, data: memoryview) -> None:
        try:
            self.receiver.keep(arrival, data)
        except StorageError as e:
            raise _DiskError(e) from None

    def _keep(self, number: int, view: memoryview) -> None:
        try:
            self.receiver.arrived(self, number, view)
        except StorageError as e:
            raise _DiskError(e) from None


class _DiskError(Exception):
    """Our own disk's error, not the source's."""

    def __init__(self, error: StorageError) -> None:
        super().__init__(str(error))
        self.error = error
