"""Bytes under scan: of any size, at any offset, wherever they lie."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from modelcar.disk import check_room
from modelcar.errors import StorageError
from modelcar.files import ReadAt

__all__ = ["Content", "literal", "need_room", "on_disk", "spooled"]

_IN_MEMORY: Final = 8 << 20  # bytes of a spooled content that need no file
_PIECE: Final = 1 << 20
_STEP: Final = 64 << 20  # bytes between two looks at how full the disk is
_RESERVE: Final = 512 << 20  # bytes that are left to others
_ELSEWHERE: Final = "what is scanned is kept there meanwhile; free some space, or name another place with MODELCAR_HOME"


@dataclass(frozen=True, slots=True)
class Content:
    """`size` bytes that `read_at` reads."""

    read_at: ReadAt
    size: int

    def read(self, offset: int, n: int) -> bytes:
        """Up to `n` bytes from `offset`, fewer only at the end."""
        n = min(n, self.size - offset)
        return self.read_at(offset, n) if n > 0 else b""

    def part(self, offset: int, size: int) -> Content:
        """`[offset, offset + size)`, which must lie inside.

        Raises:
            ValueError: it does not.
        """
        if offset < 0 or size < 0 or offset + size > self.size:
            raise ValueError(f"[{offset}, {offset + size}) of {self.size} bytes")
        read_at = self.read_at
        return Content(lambda at, n: read_at(offset + at, min(n, size - at)), size)

    def pieces(self, offset: int = 0, size: int | None = None) -> Iterator[bytes]:
        """The bytes of a range one after the other, at most 1 MiB at a time."""
        end = self.size if size is None else min(self.size, offset + size)
        while offset < end and (piece := self.read(offset, min(_PIECE, end - offset))):
            yield piece
            offset += len(piece)

    def stream(self) -> BinaryIO:
        """All of it as a file that can be read and sought in."""
        return cast("BinaryIO", BufferedReader(_Raw(self), _PIECE))


class _Raw(RawIOBase):
    """A content as an unbuffered stream."""

    def __init__(self, content: Content) -> None:
        super().__init__()
        self._content = content
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._content.size}[whence]
        if base + offset < 0:
            raise ValueError(f"cannot seek to {base + offset}")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self._content.read(self._position, len(view))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)


def literal(data: bytes) -> Content:
    """`data` itself."""
    return Content(lambda offset, n: data[offset : offset + n], len(data))


@contextmanager
def spooled(pieces: Iterable[bytes], folder: Path | None = None) -> Iterator[Content]:
    """What `pieces` yields, kept in memory or in a nameless file in `folder` as long as the block lasts.

    Raises:
        StorageError: the disk is full, or nearly.
    """
    with tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(folder) if folder else None) as file:
        size, checked = 0, _IN_MEMORY
        for piece in pieces:
            if size + len(piece) > checked:
                need_room(folder, _STEP)
                checked = size + _STEP
            with on_disk(folder):
                file.write(piece)
            size += len(piece)

        def read_at(offset: int, n: int) -> bytes:
            with on_disk(folder):
                file.seek(offset)
                return file.read(n)

        yield Content(read_at, size)


@contextmanager
def on_disk(folder: Path | None) -> Iterator[None]:
    """What the disk refuses is no verdict on the file that was to be kept there."""
    try:
        yield
    except OSError as e:
        raise StorageError(f"cannot write to {_place(folder)}: {e.strerror}", hint=_ELSEWHERE) from None


def need_room(folder: Path | None, size: int) -> None:
    """Before `size` bytes are kept in `folder`: others need the disk, too.

    Raises:
        StorageError: hardly anything would be left.
    """
    check_room(Path(_place(folder)), size, "what is scanned takes", spare=_RESERVE, hint=_ELSEWHERE)


def _place(folder: Path | None) -> str:
    return str(folder or tempfile.gettempdir())
