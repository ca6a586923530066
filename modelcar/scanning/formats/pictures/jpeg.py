"""JPEG: segments, and compressed data that ends where the next marker stands. Source: ITU-T T.81, annex B.

```
FF D8 ‖ (FF marker ‖ u16 length of itself and the data ‖ data) … ‖ FF DA … ‖ compressed data ‖ FF D9
```
"""

from __future__ import annotations

import re
import struct
from typing import Final

from modelcar.scanning.filescan import FileScan, Malformed

__all__ = ["begins", "scan"]

_START: Final = b"\xff\xd8\xff"
_EOI, _SOS = 0xD9, 0xDA
_FIRST_WITH_DATA: Final = 0xC0
_WITHOUT_DATA: Final = frozenset({0xC8, 0xD8, *range(0xD0, 0xD8), *range(0xF0, 0xFE)})  # reserved, or never alone
_MARKER: Final = re.compile(rb"\xff++[^\0\xd0-\xd7\xff]", re.DOTALL)


def begins(data: bytes) -> bool:
    """Whether a file that begins with `data` is one."""
    return data.startswith(_START)


def scan(scan: FileScan, data: bytes) -> None:
    """Account for the picture, and for those that follow right behind it, as cameras put previews there."""
    position = 0
    while data.startswith(_START, position):
        end = _end_of(scan, data, position)
        scan.account(position, end - position)
        position = end


def _end_of(scan: FileScan, data: bytes, start: int) -> int:
    position = start + 2
    frames = 0
    while True:
        scan.budget.check_time()
        marker, position = _marker(data, position)
        if marker == _EOI:
            if not frames:
                raise Malformed("a JPEG without a picture", position)
            return position
        if marker < _FIRST_WITH_DATA or marker in _WITHOUT_DATA:
            raise Malformed(f"a segment of the unknown kind {marker:#x}", position)
        if position + 2 > len(data):
            raise Malformed("it ends within a segment", position)
        (length,) = struct.unpack_from(">H", data, position)
        if length < 2 or position + length > len(data):
            raise Malformed("it ends within a segment", position)
        position += length
        if marker == _SOS:
            frames += 1
            match = _MARKER.search(data, position)
            if match is None:
                raise Malformed("it ends within its compressed data", position)
            position = match.start()


def _marker(data: bytes, position: int) -> tuple[int, int]:
    """The marker at `position`, where any number of FF may stand before it, and where it ends."""
    match = _MARKER.match(data, position)
    if match is None:
        raise Malformed("no segment begins where one has to", position)
    return match[0][-1], match.end()
