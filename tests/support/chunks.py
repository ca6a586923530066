"""Blobs with chunk tables, and sources of chunks that misbehave on demand."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from modelcar.errors import ModelcarError, RemoteNotFound, Unauthorized, Unreachable
from modelcar.layers.hashing import CHUNK_SIZE, Chunk
from modelcar.lazy.grid import Grid
from modelcar.lazy.sources import ByteStream, ChunkSource, Outcome, SourceKind
from modelcar.oci import Descriptor, Digest
from tests.support.waiting import eventually

__all__ = ["Content", "Fault", "Guarded", "MemorySource", "Reports"]


class Content:
    """Random bytes from a seed, and how they may be cut."""

    def __init__(self, size: int = 5 * CHUNK_SIZE + 1000, seed: int = 1) -> None:
        self.data = random.Random(seed).randbytes(size)
        self.digest = Digest.of(self.data)
        self.descriptor = Descriptor(
            media_type="application/vnd.oci.image.layer.v1.tar", digest=self.digest, size=len(self.data)
        )
        self.plain = Grid.plain(self.digest, size)

    def table(self, chunk: int = CHUNK_SIZE, *, first: int | None = None) -> Grid:
        """A grid with a digest for every chunk of `chunk` bytes; the first one may have another size."""
        cuts = [0, *range(first or chunk, len(self.data), chunk), len(self.data)]
        pieces = itertools.pairwise(cuts)
        chunks = (Chunk(offset=a, size=b - a, digest=Digest.of(self.data[a:b])) for a, b in pieces)
        return Grid(self.digest, len(self.data), tuple(chunks))


@dataclass(kw_only=True)
class Fault:
    """How the next `times` fetches that touch byte `at` go (any, if that is `None`).

    `refuse` is raised instead of an answer; `cut` ends the stream with an error after so many bytes; `short` ends it
    as if that were all; `wrong` changes its first byte; `stall` waits until it is closed, after so many bytes.
    """

    times: int = 1
    at: int | None = None
    refuse: ModelcarError | None = None
    cut: int | None = None
    short: int | None = None
    wrong: bool = False
    stall: int | None = None


@dataclass(eq=False)
class MemorySource:
    """A `ChunkSource` over bytes in memory. `asked` has every range that was asked for."""

    data: bytes
    name: str = "memory"
    kind: SourceKind = SourceKind.UPSTREAM
    faults: list[Fault] = field(default_factory=list)
    asked: list[tuple[int, int]] = field(default_factory=list)
    sent: int = 0
    gate: threading.Event | None = None
    """Nothing is sent before it is set."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    @contextmanager
    def fetch(self, grid: Grid, offset: int, length: int) -> Iterator[ByteStream]:
        with self._lock:
            self.asked.append((offset, length))
            fault = next((f for f in self.faults if f.times > 0 and _touches(f, offset, length)), Fault())
            fault.times -= 1
        if fault.refuse is not None:
            raise fault.refuse
        if offset + length > len(self.data):
            raise RemoteNotFound(f"{self.name}: that is more than there is")
        stream = _Stream(self, offset, length, fault)
        try:
            yield stream
        finally:
            stream.close()


class Guarded(MemorySource):
    """Refuses what is asked for before it is `open`, but only as many as it `may_refuse` by now."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.open = False
        self.may_refuse = self.held = 0

    @contextmanager
    def fetch(self, grid: Grid, offset: int, length: int) -> Iterator[ByteStream]:
        if not self.open:
            with self._lock:
                self.held = turn = self.held + 1
            eventually(lambda: turn <= self.may_refuse)
            raise Unauthorized("who are you?")
        with super().fetch(grid, offset, length) as stream:
            yield stream


class _Stream:
    def __init__(self, source: MemorySource, offset: int, length: int, fault: Fault) -> None:
        self._source, self._offset, self._left, self._fault = source, offset, length, fault
        self._done = 0
        self._closed = threading.Event()

    def read(self, n: int, /) -> bytes:
        fault, gate = self._fault, self._source.gate
        while gate is not None and not gate.wait(0.01) and not self._closed.is_set():
            pass
        if fault.stall is not None and self._done >= fault.stall:
            self._closed.wait(30)
        if self._closed.is_set():
            raise Unreachable(f"{self._source.name}: closed")
        if fault.cut is not None and self._done >= fault.cut:
            raise Unreachable(f"{self._source.name}: the connection was cut")
        limits = [m - self._done for m in (fault.cut, fault.short, fault.stall) if m is not None]
        n = max(0, min(n, self._left, *limits))
        data = self._source.data[self._offset : self._offset + n]
        if fault.wrong and data and self._done == 0:
            data = bytes([data[0] ^ 1]) + data[1:]
        self._offset, self._left, self._done = self._offset + n, self._left - n, self._done + n
        with self._source._lock:
            self._source.sent += n
        return data

    def close(self) -> None:
        self._closed.set()


def _touches(fault: Fault, offset: int, length: int) -> bool:
    return fault.at is None or offset <= fault.at < offset + length


class Reports:
    """A `Router` over fixed candidates that remembers what it was told."""

    def __init__(self, *sources: ChunkSource, order: Sequence[int] | None = None) -> None:
        self.sources = sources
        self.order = order
        self.told: list[tuple[str, Outcome]] = []

    def background(self, grid: Grid) -> Iterable[int]:
        return range(len(grid)) if self.order is None else self.order

    def candidates(self, grid: Grid, number: int) -> Sequence[ChunkSource]:
        return self.sources

    def is_at_hand(self, grid: Grid, number: int) -> bool:
        return True

    def report(self, source: ChunkSource, outcome: Outcome, size: int, seconds: float) -> None:
        self.told.append((source.name, outcome))
