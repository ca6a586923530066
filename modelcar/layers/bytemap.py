"""A blob as what it is made of: literal bytes, ranges of files where they already lie, those as gzip, and zeros.

A `ByteMap` is a blob that was never written. It can be read from any offset any number of times, and tells a consumer
that can let the kernel move bytes (`sendfile`, `copy_file_range`, reflink) which file ranges to move.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Self

from modelcar.errors import StorageError
from modelcar.files import check_unchanged, ends_early, open_unchanged
from modelcar.layers.segments import FileRange, GzippedRange, Literal, Segment, Zeros, file_under

__all__ = ["ByteMap", "ByteReader", "FileRange", "FileSlice", "GzippedRange", "Literal", "Segment", "Zeros"]

_ZEROS = bytes(1 << 16)
_FRAMED = 1 << 20  # bytes of gzip that are put together at once; the kernel takes a thousand pieces


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
        files = filter(None, map(file_under, self._segments))
        for path, stamp in {(file.path, file.stamp) for file in files}:
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

        A slice's descriptor is valid until the next one is asked for; zeros come in pieces of 64 KiB, gzip of 1 MiB.
        """
        while self.remaining:
            segment = self._advance()
            n = segment.size - self._position
            piece: bytes | FileSlice
            if isinstance(segment, FileRange):
                piece = FileSlice(path=segment.path, fd=self._fd, offset=segment.offset + self._position, size=n)
            elif isinstance(segment, Literal):
                piece = segment.data[self._position :]
            elif isinstance(segment, GzippedRange):
                n = min(n, _FRAMED)
                buffer = bytearray(n)
                self._frame(segment, memoryview(buffer))
                piece = bytes(buffer)
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
        if (file := file_under(self._current)) is not None:
            self._open(file)
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
        elif isinstance(segment, FileRange):
            self._pread(segment.path, segment.offset + self._position, [view])
        else:
            self._frame(segment, view)

    def _frame(self, segment: GzippedRange, view: memoryview) -> None:
        """Content and framing, the content straight to its place between the framing."""
        for start in range(0, len(view), _FRAMED):
            targets: list[memoryview] = []
            offset, at = 0, start
            stop = min(start + _FRAMED, len(view))
            for piece in segment.pieces(self._position + start, self._position + stop):
                target = view[at : at + len(piece)]
                if isinstance(piece, range):
                    offset = offset if targets else piece.start
                    targets.append(target)
                else:
                    target[:] = piece
                at += len(piece)
            self._pread(segment.content.path, offset, targets)

    def _pread(self, path: Path, offset: int, targets: list[memoryview]) -> None:
        """Fill `targets` one after the other with what lies at `offset` of the open file."""
        while targets:
            try:
                n = os.preadv(self._fd, targets, offset)
            except OSError as e:
                raise StorageError(f"cannot read {path}: {e.strerror}") from None
            if n == 0:
                raise ends_early(path, offset)
            offset += n
            while targets and n >= len(targets[0]):
                n -= len(targets.pop(0))
            if n:
                targets[0] = targets[0][n:]

    def _consumed(self, n: int) -> None:
        self._position += n
        self.remaining -= n
        segment = self._current
        file = file_under(segment) if segment is not None else None
        if segment is not None and file is not None and file.stamp is not None and self._position == segment.size:
            check_unchanged(self._fd, file.path, file.stamp)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
