"""GIF: a table of colours, blocks, a trailer. Source: the GIF89a specification of CompuServe.

```
"GIF89a" ‖ screen (7 bytes) ‖ [colours] ‖ block … ‖ 3B
block:   21 label ‖ parts        2C position (9 bytes) ‖ [colours] ‖ code size ‖ parts
parts:   (u8 length ‖ bytes) … ‖ 00
```
"""

from __future__ import annotations

from typing import Final

from modelcar.scanning.filescan import FileScan, Malformed

__all__ = ["begins", "scan"]

_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B
_LABELS: Final = frozenset({0x01, 0xF9, 0xFE, 0xFF})  # text, control, comment, application


def begins(data: bytes) -> bool:
    """Whether a file that begins with `data` is one."""
    return data.startswith((b"GIF87a", b"GIF89a"))


def scan(scan: FileScan, data: bytes) -> None:
    """Account for everything up to the trailer."""
    position = 13 + _colours(_byte(data, 10))
    while (kind := _byte(data, position)) != _TRAILER:
        scan.budget.check_time()
        if kind == _EXTENSION:
            if _byte(data, position + 1) not in _LABELS:
                raise Malformed("an extension of an unknown kind", position)
            position = _after_parts(data, position + 2)
        elif kind == _IMAGE:
            position = _after_parts(data, position + 11 + _colours(_byte(data, position + 9)))
        else:
            raise Malformed("a block of an unknown kind", position)
    scan.account(0, position + 1)


def _colours(flags: int) -> int:
    """Bytes of a table of colours that follows flags."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_parts(data: bytes, position: int) -> int:
    while size := _byte(data, position):
        position += size + 1
    return position + 1


def _byte(data: bytes, position: int) -> int:
    if position >= len(data):
        raise Malformed("it ends within a block", len(data))
    return data[position]
