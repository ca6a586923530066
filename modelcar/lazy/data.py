"""The bytes of a blob on disk: in one file, but for ranges that have a place of their own.

So a layer whose files somebody wants is written once, straight to where they are to lie: headers and padding go to the
blob's own sparse file, the rest into files that are complete when the blob is.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelcar.errors import StorageError

__all__ = ["BlobData", "Place"]


@dataclass(frozen=True, slots=True)
class Place:
    """Bytes `[start, stop)` of a blob lie in the file at `path`, from `offset` on.

    The file has `size` bytes, by default those alone. Several places may lie in one file.
    """

    start: int
    stop: int
    path: Path
    offset: int = 0
    size: int | None = None

    @property
    def file_size(self) -> int:
        return self.stop - self.start if self.size is None else self.size


class BlobData:
    """Open files, read and written by offsets in the blob; safe to use from several threads until `close`.

    Raises `OSError`, as the kernel does.
    """

    def __init__(self, fd: int, places: Sequence[Place], fds: Mapping[Path, int]) -> None:
        """Use `create` or `open`."""
        self.fd = fd
        """The blob's own file; holes are where places are."""
        self._places, self._fds = places, fds
        self._starts = [place.start for place in places]

    @classmethod
    def create(cls, path: Path, size: int, places: Sequence[Place] = ()) -> BlobData:
        """Empty files of the right sizes. `places` are in order and do not overlap."""
        return cls._opened(path, size, places, os.O_RDWR | os.O_CREAT | os.O_TRUNC)

    @classmethod
    def open(cls, path: Path, size: int, places: Sequence[Place] = ()) -> BlobData:
        """Raises `StorageError` if a file has another size than it was made with."""
        data = cls._opened(path, size, places, os.O_RDWR)
        if data.sizes() != [size, *_sizes(places).values()]:
            data.close()
            raise StorageError(f"{path.parent} is damaged")
        return data

    @classmethod
    def _opened(cls, path: Path, size: int, places: Sequence[Place], flags: int) -> BlobData:
        opened: list[int] = []
        sizes = _sizes(places)
        try:
            opened.append(os.open(path, flags | os.O_CLOEXEC, 0o600))
            for name in sizes:
                name.parent.mkdir(parents=True, exist_ok=True)
                opened.append(os.open(name, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666))
            if flags & os.O_TRUNC:
                for fd, n in zip(opened, (size, *sizes.values()), strict=True):
                    os.ftruncate(fd, n)
        except OSError:
            for fd in opened:
                os.close(fd)
            raise
        return cls(opened[0], places, dict(zip(sizes, opened[1:], strict=True)))

    def sizes(self) -> list[int]:
        """Of the blob's own file, and of each other."""
        return [os.fstat(fd).st_size for fd in (self.fd, *self._fds.values())]

    def write(self, data: bytes | bytearray | memoryview, offset: int) -> None:
        view = memoryview(data)
        for fd, at, size in self._parts(offset, len(view)):
            part, view = view[:size], view[size:]
            while part:
                n = os.pwrite(fd, part, at)
                part, at = part[n:], at + n

    def read_into(self, view: memoryview, offset: int) -> int:
        """How many bytes came: fewer than asked for only where a file ends early."""
        done = 0
        for fd, at, size in self._parts(offset, len(view)):
            while size:
                n = os.preadv(fd, [view[done : done + size]], at)
                if n == 0:
                    return done
                done, at, size = done + n, at + n, size - n
        return done

    def read(self, length: int, offset: int) -> bytes:
        if not self._places:
            return os.pread(self.fd, length, offset)
        buffer = bytearray(length)
        return bytes(memoryview(buffer)[: self.read_into(memoryview(buffer), offset)])

    def sync(self) -> None:
        for fd in (self.fd, *self._fds.values()):
            getattr(os, "fdatasync", os.fsync)(fd)  # macOS has only the latter

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        for one in (fd, *self._fds.values()):
            if one >= 0:
                os.close(one)
        self._fds = {}
        self._places, self._starts = (), []

    def _parts(self, offset: int, length: int) -> Iterator[tuple[int, int, int]]:
        """The files that a range lies in, in order: each with offset and size."""
        stop = offset + length
        while offset < stop:
            number = bisect_right(self._starts, offset) - 1
            if number >= 0 and offset < self._places[number].stop:
                place = self._places[number]
                size = min(stop, place.stop) - offset
                yield self._fds[place.path], place.offset + offset - place.start, size
            else:
                following = self._starts[number + 1] if number + 1 < len(self._starts) else stop
                size = min(stop, following) - offset
                yield self.fd, offset, size
            offset += size


def _sizes(places: Sequence[Place]) -> dict[Path, int]:
    return {place.path: place.file_size for place in places}
