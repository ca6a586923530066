"""WebP: RIFF chunks. Source: https://developers.google.com/speed/webp/docs/riff_container.

```
"RIFF" ‖ u32 size of the rest ‖ "WEBP" ‖ (type ‖ u32 size ‖ data, padded to an even length) …        all little-endian
```
"""

from __future__ import annotations

import struct
from typing import Final

from modelcar.scanning.filescan import FileScan, Malformed

__all__ = ["begins", "scan"]

_CHUNKS: Final = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"EXIF", b"XMP "})


def begins(data: bytes) -> bool:
    """Whether a file that begins with `data` is one."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def scan(scan: FileScan, data: bytes) -> None:
    """Account for each chunk that is known."""
    end = 8 + struct.unpack_from("<I", data, 4)[0]
    if end > len(data) or end < 20:
        raise Malformed(f"it says that it has {end} bytes and has {len(data)}", 4)
    scan.account(0, 12)
    position = 12
    while position < end:
        scan.budget.check_time()
        if position + 8 > end:
            raise Malformed("it ends within a chunk", position)
        kind, size = struct.unpack_from("<4sI", data, position)
        after = position + 8 + size + size % 2
        if after > end:
            raise Malformed("it ends within a chunk", position)
        if size % 2 and data[after - 1]:
            raise Malformed("padding that is not zero", after - 1)
        if kind in _CHUNKS:
            scan.account(position, after - position)
        position = after
