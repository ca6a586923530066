"""What a blob is made of: literal bytes, ranges of files where they already lie, and zeros.

A `ByteMap` is a blob that was never written. It can be read from any offset any number of times, and tells a consumer
that can let the kernel move bytes (`sendfile`, `copy_file_range`, reflink) which file ranges to move.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Self

from modelcar.errors import StorageError
from modelcar.files import FileStamp, check_unchanged, ends_early, open_unchanged

__all__ = ["ByteMap", "ByteReader", "FileRange", "FileSlice", "Literal", "Segment", "Zeros"]

_ZEROS = bytes(1 << 16)


@dataclass(frozen=True, slots=True)
class Literal:
    """Bytes that the map itself holds: tar headers, padding with content, JSON."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def clip(self, start: int, stop: int) -> Literal:
        return Literal(self.data[start:stop])


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRange:
    """`size` bytes of the file at `path`, from `offset`. Without a `stamp` the file is never written to once named."""

    path: Path
    offset: int
    size: int
    stamp: FileStamp | None = None

    def clip(self, start: int, stop: int) -> FileRange:
        return replace(self, offset=self.offset + start, size=stop - start)


@dataclass(frozen=True, slots=True)
class Zeros:
    """`size` zero bytes."""

    size: int

    def clip(self, start: int, stop: int) -> Zeros:
        return Zeros(stop - start)


Segment = Literal | FileRange | Zeros


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSlice:
    """A range of an open file, to be moved by the kernel. The descriptor belongs to the reader that yielded it; `path`
    is for messages."""

    path: Path
    fd: int
    offset: int
    size: int


class ByteMap:
    """An immutable blob of `size` bytes, described by its segments in order (empty ones are dropped)."""

    __slots__ = ("_ends", "_segments", "size")

    def __init__(self, segments: Sequence[Segment]) -> None:
        self._segments: tuple[Segment, ...] = tuple(s for s in segments if s.size)
        self._ends = tuple(accumulate(s.size for s in self._segments))
        self.size = self._ends[-1] if self._ends else 0

    @classmethod
    def of_file(cls, path: Path, size: int) -> ByteMap:
        """A whole file that is never written to again, as in a content store."""
        return cls([FileRange(path=path, offset=0, size=size)])

    def segments(self, offset: int = 0, length: int | None = None) -> Iterator[Segment]:
        """The segments of `[offset, offset + length)`, clipped to it. `ValueError` if that leaves the blob."""
        return self._clipped(offset, self._stop(offset, length))

    def _clipped(self, offset: int, stop: int) -> Iterator[Segment]:
        i = bisect_right(self._ends, offset)
        while offset < stop:
            segment = self._segments[i]
            start = self._ends[i] - segment.size
            end = min(stop, self._ends[i])
            whole = offset == start and end == self._ends[i]
            yield segment if whole else segment.clip(offset - start, end - start)
            offset = end
            i += 1

    def open(self, offset: int = 0, length: int | None = None) -> ByteReader:
        """A reader of `[offset, offset + length)`. Files are opened when they are reached, and checked against their
        stamps; `check` opens them all beforehand."""
        return ByteReader(self.segments(offset, length), self._stop(offset, length) - offset)

    def check(self) -> None:
        """Raise `SourceChanged` if any file underneath is gone or is not in the state that was hashed."""
        for path, stamp in {(s.path, s.stamp) for s in self._segments if isinstance(s, FileRange)}:
            if stamp is not None:
                os.close(open_unchanged(path, stamp))

    def _stop(self, offset: int, length: int | None) -> int:
        stop = self.size if length is None else offset + length
        if not 0 <= offset <= stop <= self.size:
            raise ValueError(f"range {offset}-{stop} is not within {self.size} bytes")
        return stop

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByteMap) and self._segments == other._segments

    def __hash__(self) -> int:
        return hash(self._segments)

    def __repr__(self) -> str:
        return f"ByteMap({len(self._segments)} segments, {self.size} bytes)"


class ByteReader:
    """Sequential reader of a byte map's range; a context manager. Not to be shared between threads.

    `remaining` counts the bytes not yet read. Reading on from a file that changed since it was hashed raises
    `SourceChanged`; each file is checked when it is opened and again when its last byte has been read.
    """

    def __init__(self, segments: Iterator[Segment], size: int) -> None:
        self._segments = segments
        self._current: Segment | None = None
        self._position = 0  # within the current segment
        self._fd = -1
        self._file: FileRange | None = None
        self.remaining = size

    def read(self, n: int = -1) -> bytes:
        """Up to `n` bytes, all that remain if negative; `b""` at the end, and never fewer than asked before it."""
        buffer = bytearray(self.remaining if n < 0 else min(n, self.remaining))
        self.readinto(memoryview(buffer))
        return bytes(buffer)

    def readinto(self, buffer: memoryview | bytearray) -> int:
        """Fill `buffer` as far as bytes remain; returns how many were filled."""
        view = memoryview(buffer)[: self.remaining]
        done = 0
        while done < len(view):
            segment = self._advance()
            n = min(segment.size - self._position, len(view) - done)
            self._fill(segment, view[done : done + n])
            done += n
            self._consumed(n)
        return done

    def slices(self) -> Iterator[bytes | FileSlice]:
        """The rest of the bytes in order, as pieces of memory or ranges of open files.

        A slice's descriptor is valid until the next one is asked for; zeros come in pieces of 64 KiB.
        """
        while self.remaining:
            segment = self._advance()
            n = segment.size - self._position
            piece: bytes | FileSlice
            if isinstance(segment, FileRange):
                piece = FileSlice(path=segment.path, fd=self._fd, offset=segment.offset + self._position, size=n)
            elif isinstance(segment, Literal):
                piece = segment.data[self._position :]
            else:
                n = min(n, len(_ZEROS))
                piece = _ZEROS[:n]
            yield piece
            self._consumed(n)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._file = -1, None

    def _advance(self) -> Segment:
        """The segment at the current position, its file open."""
        while self._current is None or self._position == self._current.size:
            self._current = next(self._segments)
            self._position = 0
        if isinstance(self._current, FileRange):
            self._open(self._current)
        return self._current

    def _open(self, segment: FileRange) -> None:
        if self._file is not None and (self._file.path, self._file.stamp) == (segment.path, segment.stamp):
            return
        self.close()
        if segment.stamp is not None:
            self._fd = open_unchanged(segment.path, segment.stamp)
        else:
            try:
                self._fd = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as e:
                raise StorageError(f"cannot read {segment.path}: {e.strerror}") from None
        self._file = segment

    def _fill(self, segment: Segment, view: memoryview) -> None:
        if isinstance(segment, Literal):
            view[:] = segment.data[self._position : self._position + len(view)]
        elif isinstance(segment, Zeros):
            view[:] = bytes(len(view))
        else:
            self._pread(segment, view)

    def _pread(self, segment: FileRange, view: memoryview) -> None:
        offset = segment.offset + self._position
        while view:
            try:
                n = os.preadv(self._fd, [view], offset)
            except OSError as e:
                raise StorageError(f"cannot read {segment.path}: {e.strerror}") from None
            if n == 0:
                raise ends_early(segment.path, offset)
            view, offset = view[n:], offset + n

    def _consumed(self, n: int) -> None:
        self._position += n
        self.remaining -= n
        segment = self._current
        if isinstance(segment, FileRange) and segment.stamp is not None and self._position == segment.size:
            check_unchanged(self._fd, segment.path, segment.stamp)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
