"""Bodies on their way: blocks that are counted, shaped, and spoilt where a fault is due."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from io import BufferedIOBase
from typing import Final

from modelcar.testing.registry.counters import Counters, Fate
from modelcar.testing.registry.faults import IN_BODIES, Fault, FaultPlan, Wrong
from modelcar.testing.registry.messages import HangUp, Lost, Part, Refused, Told, error

__all__ = ["RequestBody", "Shaper", "Wire", "answer_blocks", "status_of"]

_BLOCK: Final = 64 << 10
_HERE: Final = IN_BODIES | {Wrong.STATUS, Wrong.LOST_SESSION}
_SLACK: Final = 0.1  # seconds of the line that are not lost to a clock that wakes up late
_LINGER: Final = 1.0  # seconds in which a client may still send what nobody wants, to hear why


class Shaper:
    """All bodies together move at `rate` bytes a second, in each direction; what a late wake-up has cost is made up."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._free = {True: 0.0, False: 0.0}

    def wait(self, size: int, *, upload: bool) -> None:
        if self._rate is None:
            return
        with self._lock:
            now = time.monotonic()
            self._free[upload] = max(now - _SLACK, self._free[upload]) + size / self._rate
            delay = self._free[upload] - now
        time.sleep(max(0.0, delay))


class Wire:
    """The blob bytes of one request or its answer. `fault` is what went wrong with it, the last one if several did."""

    def __init__(self, plan: FaultPlan, counters: Counters, shaper: Shaper, method: str) -> None:
        self.moved = 0
        self.fault: Fault | None = None
        self._plan, self._counters, self._shaper = plan, counters, shaper
        self._method = method
        self._due: Fault | None = None
        self._rate: float | None = None
        self._flip = False

    def arm(self, fault: Fault, *, now: bool) -> None:
        """Note a fault; with `now` it happens here, once `fault.after` bytes have moved."""
        self.fault = fault
        self._counters.went_wrong(fault.wrong)
        if now and fault.wrong in _HERE:
            self._due = fault

    def room(self, left: int) -> int:
        """How many of the `left` bytes may move before something is to happen."""
        room = min(left, _BLOCK)
        return min(room, self._due.after - self.moved) if self._due is not None else room

    def step(self) -> None:
        """Before the next bytes move: raises what ends the request here."""
        if self._due is not None and self.moved >= self._due.after:
            fault, self._due = self._due, None
            self._happen(fault)

    def passed(self, size: int) -> None:
        """`size` bytes have moved; raises what ends the request behind them."""
        self.moved += size
        self._counters.moves(size)
        self._shaper.wait(size, upload=self._method != "GET")
        if self._rate is not None:
            time.sleep(size / self._rate)
        fault = self._plan.moved(size, self._method)
        if fault is not None:
            self.fault = fault
            self._counters.went_wrong(fault.wrong)
            self._happen(fault)

    def spoilt(self, block: bytes) -> bytes:
        """The block, with a byte changed if that is due."""
        if not self._flip or not block:
            return block
        self._flip = False
        return bytes([block[0] ^ 0xFF]) + block[1:]

    def unread(self, size: int) -> None:
        """`size` bytes moved that nobody takes."""
        self.moved += size
        self._counters.ended_as(Fate.UNREAD, size)

    def _happen(self, fault: Fault) -> None:
        match fault.wrong:
            case Wrong.CUT:
                raise HangUp
            case Wrong.STATUS:
                raise Refused(status_of(fault))
            case Wrong.LOST_SESSION:
                raise Lost
            case Wrong.WRONG_DIGEST:
                self._flip = True
            case Wrong.DRIP:
                self._rate = fault.rate
            case Wrong.STALL:
                time.sleep(fault.seconds)


class RequestBody:
    """A request's body from the socket: as long as it says, or chunked. `wire` is `None` where it is no blob."""

    def __init__(self, stream: BufferedIOBase, headers: Mapping[str, str], wire: Wire | None) -> None:
        self._stream, self._wire = stream, wire
        chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        self.length = None if chunked else int(headers.get("content-length", 0))
        self.ended = self.length == 0

    def blocks(self) -> Iterator[bytes]:
        wire = self._wire
        if wire is None:
            yield from self._raw()
            return
        if not self.ended:
            wire.step()
        for block in self._raw():
            yield wire.spoilt(block)
            wire.passed(len(block))
            if not self.ended:
                wire.step()

    def drain(self) -> None:
        """Read on for a moment, as servers do, so that the client hears the answer. What comes counts."""
        until = time.monotonic() + _LINGER
        with suppress(OSError, HangUp):
            for block in self._raw():
                if self._wire is not None:
                    self._wire.unread(len(block))
                if time.monotonic() > until:
                    return

    def _raw(self) -> Iterator[bytes]:
        if self.ended:
            return
        if self.length is None:
            yield from self._chunks()
        else:
            while self.length:  # the attribute itself, so that `drain` goes on where the reader stopped
                block = self._read(self.length)
                self.length -= len(block)
                self.ended = not self.length
                yield block

    def _chunks(self) -> Iterator[bytes]:
        while True:
            line = self._stream.readline(64)
            if not line:
                raise HangUp
            left = int(line.split(b";")[0], 16)
            while left:
                block = self._read(left)
                left -= len(block)
                yield block
            self._stream.readline(8)
            if line.strip() == b"0":
                self.ended = True
                return

    def _read(self, left: int) -> bytes:
        size = max(1, self._wire.room(left)) if self._wire is not None else min(left, _BLOCK)
        block = self._stream.read1(size)
        if not block:
            raise HangUp
        return block


def status_of(fault: Fault) -> Told:
    headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
    return error(fault.status, "TOOMANYREQUESTS" if fault.status == 429 else "UNKNOWN", headers)


def answer_blocks(part: Part, wire: Wire) -> Iterator[bytes]:
    """The bytes of a file, until a fault ends them."""
    with part.file.open("rb", buffering=0) as file:
        file.seek(part.offset)
        left = part.size
        wire.step()
        while left:
            block = file.read(wire.room(left))
            if not block:
                raise HangUp
            left -= len(block)
            yield wire.spoilt(block)
            wire.passed(len(block))
            if left:
                wire.step()
