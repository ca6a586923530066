"""A safetensors file that can be read at any place, into memory of the reader's choice."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from modelcar.checkpoint.formats.header import Header
from modelcar.checkpoint.formats.safetensors import read_safetensors
from modelcar.errors import NotFound, SourceChanged, StorageError
from modelcar.files import FileStamp, reading

__all__ = ["DiskFile", "Piece", "WeightFile"]

Piece = memoryview | int
"""Where the next bytes of a file go; a number: so many are not wanted."""

_VECTORS: Final = 1024  # buffers that one call takes (IOV_MAX)
_SCRATCH: Final = memoryview(bytearray(1 << 20))  # for what is not wanted: all threads write to it, nobody reads


class WeightFile(Protocol):
    """Safe to use from several threads.

    Attributes:
        path: for people, and unique among the files that are loaded together.
        header: what it says about itself, checked against its size.
        proof: bytes that it has to begin with; empty, where `header` was read from the file itself.
        gap: bytes that are rather read and dropped than skipped.
    """

    @property
    def path(self) -> str: ...
    @property
    def header(self) -> Header: ...
    @property
    def proof(self) -> bytes: ...
    @property
    def gap(self) -> int: ...

    def unit(self, offset: int) -> tuple[int, int]:
        """`(start, stop)` of the smallest range around a byte that can be read: a chunk, where chunks are verified."""

    def read_into(self, offset: int, pieces: Iterator[Piece], size: int) -> None:
        """Fill `pieces`, in all `size` bytes, with what is there from `offset` on: whole units, verified.

        Raises:
            InvalidContent: the bytes are not what they should be.
            WorldError: they cannot be had.
        """


class DiskFile:
    """A file on this machine, or in a mount. What is read is as good as its file system."""

    proof: Final = b""
    gap: Final = 256 << 10

    def __init__(self, file: Path, path: str) -> None:
        """
        Raises:
            NotFound: there is no such file.
            MalformedFile: it is no whole, valid safetensors file.
            StorageError: it cannot be read.
        """
        self.path = path
        self._file = file
        with self._opened() as fd:
            self._stamp = FileStamp.from_stat(os.fstat(fd))
            self.header = read_safetensors(reading(fd, path), self._stamp.size, path)

    def unit(self, offset: int) -> tuple[int, int]:
        return offset, offset + 1

    def read_into(self, offset: int, pieces: Iterator[Piece], size: int) -> None:
        with self._opened() as fd:
            self._check(fd)
            if hasattr(os, "posix_fadvise"):  # macOS has none
                os.posix_fadvise(fd, offset, size, os.POSIX_FADV_WILLNEED)  # all of it at once into the disk's queue
            views: list[memoryview] = []
            for piece in pieces:
                views += _skipping(piece) if isinstance(piece, int) else [piece]
                if len(views) >= _VECTORS:
                    offset += self._fill(fd, offset, views[:_VECTORS])
                    del views[:_VECTORS]
            while views:
                offset += self._fill(fd, offset, views[:_VECTORS])
                del views[:_VECTORS]
            self._check(fd)

    def _fill(self, fd: int, offset: int, views: Sequence[memoryview]) -> int:
        """Fill all of `views`; returns how many bytes that are."""
        rest, total = list(views), 0
        while rest:
            try:
                n = os.preadv(fd, rest, offset + total)
            except OSError as e:
                raise StorageError(f"cannot read {self.path}: {e.strerror}") from None
            if n == 0:
                raise self._changed(f"it ends at byte {offset + total}")
            total += n
            while rest and n >= len(rest[0]):
                n -= len(rest.pop(0))
            if n:
                rest[0] = rest[0][n:]
        return total

    def _check(self, fd: int) -> None:
        change = self._stamp.difference(FileStamp.from_stat(os.fstat(fd)))
        if change is not None:
            raise self._changed(change)

    def _changed(self, how: str) -> SourceChanged:
        return SourceChanged(f"{self.path} changed while it was loaded: {how}", hint="load it again")

    @contextmanager
    def _opened(self) -> Iterator[int]:
        try:
            fd = os.open(self._file, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFound(f"there is no {self._file}") from None
        except OSError as e:
            raise StorageError(f"cannot read {self.path}: {e.strerror}") from None
        try:
            yield fd
        finally:
            os.close(fd)


def _skipping(size: int) -> list[memoryview]:
    whole, rest = divmod(size, len(_SCRATCH))
    return [_SCRATCH] * whole + ([_SCRATCH[:rest]] if rest else [])
