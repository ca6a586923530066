"""A door whose other side is a test: blobs in sparse files, and chunks that come when the test says so."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Sequence

from modelcar.mounts.door import Answered

__all__ = ["ScriptedDoor"]


class ScriptedDoor:
    """A `Door` to `contents`, one for each blob.

    With `step` every range that is asked for arrives at once, rounded out to multiples of it; without, nothing does
    before `arrive`. `asked` is what was asked for: blob, offset, length.
    """

    def __init__(self, contents: Sequence[bytes], *, step: int | None = None, folder: str | None = None) -> None:
        """`folder` is where the files lie; not every file system can do all that a mount wants of it."""
        self.asked: list[tuple[int, int, int]] = []
        self._contents = contents
        self._step = step
        self._lock = threading.Lock()
        self._here = [bytearray(len(content)) for content in contents]
        self._waiting: list[tuple[int, int, int, Answered]] = []
        self._lost: dict[int, int] = {}
        self._told: list[Callable[[int], None]] = []
        self._told_whole: list[Callable[[int], None]] = []
        self._files = [tempfile.TemporaryFile(dir=folder) for _ in contents]  # noqa: SIM115  # closed by `close`
        for file, content in zip(self._files, contents, strict=True):
            os.ftruncate(file.fileno(), len(content))

    def arrive(self, blob: int, offset: int = 0, length: int | None = None) -> None:
        """A range is here now; whoever waits for it is told."""
        stop = len(self._contents[blob]) if length is None else offset + length
        os.pwrite(self._files[blob].fileno(), self._contents[blob][offset:stop], offset)
        with self._lock:
            self._here[blob][offset:stop] = b"\1" * (stop - offset)
        self._settle(lambda b, o, n: 0 if self.readable(b, o, n) else None)
        if self._is_whole(blob):
            for told in self._told_whole:
                told(blob)

    def fail(self, errno: int) -> None:
        """Everybody who waits gets this."""
        self._settle(lambda _blob, _offset, _length: errno)

    def revoke(self, blob: int, errno: int) -> None:
        self._lost[blob] = errno
        self._settle(lambda b, _offset, _length: errno if b == blob else None)
        for told in self._told:
            told(blob)

    @property
    def waiting(self) -> int:
        """How many ranges are waited for."""
        return len(self._waiting)

    def fileno(self, blob: int) -> int:
        return self._files[blob].fileno()

    def readable(self, blob: int, offset: int, length: int) -> bool:
        return blob not in self._lost and self._here[blob].find(0, offset, offset + length) < 0

    def ask(self, blob: int, offset: int, length: int, answered: Answered) -> None:
        self.asked.append((blob, offset, length))
        if self.readable(blob, offset, length) or blob in self._lost:
            answered(self.lost(blob))
            return
        with self._lock:
            self._waiting.append((blob, offset, length, answered))
        if self._step is not None:
            start = offset // self._step * self._step
            stop = min(len(self._contents[blob]), -(-(offset + length) // self._step) * self._step)
            self.arrive(blob, start, stop - start)

    def lost(self, blob: int) -> int:
        return self._lost.get(blob, 0)

    def on_whole(self, told: Callable[[int], None]) -> None:
        self._told_whole.append(told)
        for blob in filter(self._is_whole, range(len(self._contents))):
            told(blob)

    def on_lost(self, told: Callable[[int], None]) -> None:
        self._told.append(told)

    def close(self) -> None:
        for file in self._files:
            file.close()

    def _is_whole(self, blob: int) -> bool:
        return self.readable(blob, 0, len(self._contents[blob]))

    def _settle(self, outcome: Callable[[int, int, int], int | None]) -> None:
        with self._lock:
            settled = [(w, result) for w in self._waiting if (result := outcome(*w[:3])) is not None]
            gone = [w for w, _ in settled]
            self._waiting = [w for w in self._waiting if w not in gone]
        for (_, _, _, answered), result in settled:
            answered(result)
