"""The door of the process before the kernel: a `Door` to a host on this machine."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelcar.backoff import Backoff
from modelcar.errors import ModelcarError, StorageError
from modelcar.mounts.door import Answered, Door
from modelcar.mounts.link.blobs import KnownBlobs
from modelcar.mounts.link.channel import Channel, Closed, connect
from modelcar.mounts.link.packets import (
    Attach,
    Done,
    Failed,
    Files,
    Gone,
    Leave,
    Need,
    Packet,
    Ready,
    Refused,
    Whole,
)
from modelcar.mounts.link.waking import waker

__all__ = ["LIMIT", "open_door"]

LIMIT: Final = 120.0  # seconds that somebody waits for a range
_OPENING: Final = 30.0  # seconds that the host has for the files of all blobs
_BACKOFF: Final = Backoff(0.05, 1.0, spread=0.0)


def open_door(socket: Path, mount: str, *, limit: float = LIMIT) -> Door:
    """A door to the mount that a host calls `mount`; returns when the files of all its blobs are here.

    Args:
        limit: seconds after which who waits gets EIO.

    Raises:
        StorageError: nobody answers there, or has no such mount.
    """
    door = _LinkDoor(socket, mount, limit)
    try:
        door.opened.wait(_OPENING)
        if door.refusal is not None:
            raise StorageError(
                f"the mount {mount} cannot be served: {door.refusal}", hint="mend that, and mount it again"
            )
        if not door.opened.is_set():
            raise StorageError(
                f"the process at {socket} did not hand over the files of mount {mount} in {_OPENING:.0f} s",
                hint="see in its log why, or end it so that it is started anew, and mount again",
            )
    except BaseException:
        door.close()
        raise
    return door


@dataclass(slots=True)
class _Waiting:
    blob: int
    offset: int
    length: int
    answered: Answered
    until: float


class _LinkDoor:
    """One thread speaks with the host; whoever asks only leaves a note."""

    def __init__(self, socket: Path, mount: str, limit: float) -> None:
        self._socket, self._mount, self._limit = socket, mount, limit
        self._wake = waker(socket)
        self.opened = threading.Event()
        """There are files, or there is a `refusal`."""
        self.refusal: str | None = None
        self._blobs = KnownBlobs()
        self._lock = threading.Lock()
        self._waiting: dict[int, _Waiting] = {}
        self._last = 0
        self._channel: Channel | None = None
        self._attached = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="door", daemon=True)
        self._thread.start()

    # `Door`.

    def fileno(self, blob: int) -> int:
        return self._blobs.fileno(blob)

    def readable(self, blob: int, offset: int, length: int) -> bool:
        return self._blobs.readable(blob, offset, length)

    def ask(self, blob: int, offset: int, length: int, answered: Answered) -> None:
        if (error := self.lost(blob)) or self.readable(blob, offset, length):
            answered(error)
            return
        with self._lock:
            closed = self._closing.is_set()
            if not closed:
                self._last = number = self._last + 1
                self._waiting[number] = _Waiting(blob, offset, length, answered, time.monotonic() + self._limit)
                if self._channel is not None and self._attached:
                    self._channel.post(Need(number, blob, offset, length))
        if closed:
            answered(errno.EIO)

    def lost(self, blob: int) -> int:
        return self._blobs.lost(blob)

    def on_lost(self, told: Callable[[int], None]) -> None:
        self._blobs.on_lost(told)

    def on_whole(self, told: Callable[[int], None]) -> None:
        self._blobs.on_whole(told)

    def close(self) -> None:
        self._closing.set()
        with self._lock:
            channel = self._channel
        if channel is not None:
            channel.close()
        if threading.current_thread() is not self._thread:
            self._thread.join()
        self._answer(lambda _: True, errno.EIO)
        self._blobs.close()

    # The thread.

    def _serve(self) -> None:
        failures = 0
        while not self._closing.is_set():
            try:
                channel = connect(self._socket)
            except ModelcarError:
                self._wake()
                self._expire()
                failures += 1
                self._closing.wait(_BACKOFF.after(failures))
                continue
            began = time.monotonic()
            self._speak(channel)
            if time.monotonic() - began > _BACKOFF.longest:
                failures = 0
            else:  # it hangs up at once: it is just ending, or not ready
                failures += 1
                self._closing.wait(_BACKOFF.after(failures))

    def _speak(self, channel: Channel) -> None:
        """Until the connection ends."""
        with self._lock:
            self._channel = channel
            self._attached = False
        channel.post(Attach(self._mount))
        try:
            while not self._closing.is_set():
                channel.wait(self._expire())
                while (got := channel.receive()) is not None:
                    self._take(channel, *got)
        except (Closed, ModelcarError):
            pass
        finally:
            with self._lock:
                self._channel, self._attached = None, False
            channel.close()

    def _take(self, channel: Channel, packet: Packet, files: list[int]) -> None:
        match packet:
            case Files(first, count) if count == len(files):
                files = self._blobs.take(first, files)
            case Ready(blobs):
                self._begin(channel, blobs)
            case Done(_, blob, offset, stop):
                self._blobs.add(blob, offset, stop)
                self._satisfy(blob)
            case Whole(blob, size):
                self._blobs.complete(blob, size)
                self._satisfy(blob)
            case Failed(number, error, _):
                self._answer_one(number, error or errno.EIO)
            case Gone(blob, error, _):
                self._blobs.lose(blob, error or errno.EIO)
                self._answer(lambda w: w.blob == blob, error or errno.EIO)
            case Refused(text):
                self._refuse(text)
        for fd in files:
            os.close(fd)

    def _begin(self, channel: Channel, blobs: int) -> None:
        """All files are here. What waits is asked for, again if it was before."""
        if len(self._blobs) != blobs:
            raise StorageError(f"the host has {blobs} blobs, and has sent the files of {len(self._blobs)}")
        for blob in range(blobs):
            if error := self.lost(blob):
                self._answer(lambda w, blob=blob: w.blob == blob, error)  # type: ignore[misc]  # mypy takes no lambda with a default
        with self._lock:
            self._attached = True
            for number, w in self._waiting.items():
                channel.post(Need(number, w.blob, w.offset, w.length))
        self.opened.set()

    def _refuse(self, text: str) -> None:
        """Before the door was open, that is the end; later the host may yet find the mount again."""
        if not self.opened.is_set():
            self.refusal = text
            self._closing.set()
            self.opened.set()

    def _expire(self) -> float:
        """Answer those who have waited for too long; returns the seconds until the next one has."""
        now = time.monotonic()
        with self._lock:
            channel = self._channel if self._attached else None
            late = [number for number, w in self._waiting.items() if w.until <= now]
            soonest = min((w.until for w in self._waiting.values()), default=now + self._limit)
        for number in late:
            if channel is not None:
                channel.post(Leave(number))
            self._answer_one(number, errno.EIO)
        return max(0.01, min(soonest - now, 5.0))

    def _satisfy(self, blob: int) -> None:
        """Answer those who have what they wait for."""
        self._answer(lambda w: w.blob == blob and self.readable(blob, w.offset, w.length), 0)

    def _answer_one(self, number: int, error: int) -> None:
        with self._lock:
            waiting = self._waiting.pop(number, None)
        if waiting is not None:
            with suppress(Exception):  # whoever asked has to look after itself
                waiting.answered(error)

    def _answer(self, which: Callable[[_Waiting], bool], error: int) -> None:
        with self._lock:
            numbers = [number for number, w in self._waiting.items() if which(w)]
        for number in numbers:
            self._answer_one(number, error)
