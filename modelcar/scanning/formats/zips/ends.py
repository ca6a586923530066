"""Where a zip ends, and so where its directory lies: all that programs may think of it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["END", "END_SIZE", "TAIL", "End", "find_ends", "parse_end"]

END: Final = b"PK\x05\x06"
_LOCATOR: Final = b"PK\x06\x07"
_END64: Final = b"PK\x06\x06"
_END_FIELDS: Final = struct.Struct("<4xHHHHLLH")
_LOCATOR_FIELDS: Final = struct.Struct("<4xLQL")
_END64_FIELDS: Final = struct.Struct("<4xQ4xLLQQQQ")
END_SIZE: Final = _END_FIELDS.size
_U16, _U32 = 0xFFFF, 0xFFFFFFFF
TAIL: Final = 66_000  # bytes: an end record with the longest comment, and a little more
_MOST_ENDS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """Where a directory should lie, according to the record at `offset` and, if there is one, its large twin.

    Attributes:
        start: where the records of the end begin; the directory should end there.
        entries, size, directory: of the directory: how many, bytes, and where it begins.
        odd: what contradicts another program's reading of the same records, in words.
    """

    offset: int
    start: int
    entries: int
    size: int
    directory: int
    comment: int
    odd: str | None = None


def find_ends(tail: bytes, size: int) -> Iterator[int]:
    """Where in a file of `size` bytes, of which `tail` are the last, end records stand: the last one first."""
    at = len(tail)
    for _ in range(_MOST_ENDS):
        at = tail.rfind(END, 0, at)
        if at < 0:
            return
        if len(tail) - at >= END_SIZE:
            yield size - len(tail) + at


def parse_end(read: Callable[[int, int], bytes], offset: int, size: int) -> list[End]:
    """The readings of the end record at `offset` of a file of `size` bytes: one, unless programs may disagree."""
    fixed = read(offset, END_SIZE)
    if len(fixed) < END_SIZE:
        return []
    disk, first_disk, here, entries, directory_size, directory, comment = _END_FIELDS.unpack(fixed)
    odd = "it is one of several volumes" if disk or first_disk or here != entries else None
    if offset + END_SIZE + comment != size:
        odd = "its comment does not reach to the end of the file"
    plain = End(
        offset=offset,
        start=offset,
        entries=entries,
        size=directory_size,
        directory=directory,
        comment=comment,
        odd=odd,
    )
    locator = read(offset - 20, 20) if offset >= 20 else b""
    if not locator.startswith(_LOCATOR):
        return [plain]
    readings = [
        _end64(read, at, offset, plain) for at in dict.fromkeys((_LOCATOR_FIELDS.unpack(locator)[1], offset - 76))
    ]
    large = [reading for reading in readings if reading]
    if (
        len(large) == 1
        and _agree(plain, large[0])
        and large[0].start == offset - 76 == _LOCATOR_FIELDS.unpack(locator)[1]
    ):
        return large
    return [*large, plain]


def _end64(read: Callable[[int, int], bytes], at: int, offset: int, plain: End) -> End | None:
    """The large end record at `at`, for the plain one at `offset`."""
    fixed = read(at, _END64_FIELDS.size) if 0 <= at < offset else b""
    if len(fixed) < _END64_FIELDS.size or not fixed.startswith(_END64):
        return None
    length, disk, first_disk, here, entries, size, directory = _END64_FIELDS.unpack(fixed)
    odd = (
        "its large end record is not an ordinary one" if length != 44 or disk or first_disk or here != entries else None
    )
    return End(
        offset=offset,
        start=at,
        entries=entries,
        size=size,
        directory=directory,
        comment=plain.comment,
        odd=plain.odd or odd,
    )


def _agree(plain: End, large: End) -> bool:
    """Whether the small record says the same, or that it cannot."""
    return (
        plain.entries in (large.entries, _U16)
        and plain.size in (large.size, _U32)
        and plain.directory in (large.directory, _U32)
    )
