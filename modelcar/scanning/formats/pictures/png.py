"""PNG: chunks with checksums. Source: https://www.w3.org/TR/png-3.

```
signature ‖ chunk …        chunk: u32 length ‖ type ‖ data ‖ u32 CRC-32 of type and data        all big-endian
```
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

from modelcar.scanning.filescan import FileScan, Malformed

__all__ = ["begins", "scan"]

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_CHUNKS: Final = frozenset(
    {
        b"IHDR", b"PLTE", b"IDAT", b"IEND", b"acTL", b"bKGD", b"cHRM", b"cICP", b"cLLI", b"cLLi", b"eXIf", b"fcTL",
        b"fdAT", b"gAMA", b"gIFg", b"gIFt", b"gIFx", b"hIST", b"iCCP", b"iDOT", b"iTXt", b"mDCV", b"mDCv", b"oFFs",
        b"orNT", b"pCAL", b"pHYs", b"sBIT", b"sCAL", b"sPLT", b"sRGB", b"sTER", b"tEXt", b"tIME", b"tRNS", b"vpAg",
        b"zTXt",
    }
)  # fmt: skip


def begins(data: bytes) -> bool:
    """Whether a file that begins with `data` is one."""
    return data.startswith(_SIGNATURE)


def scan(scan: FileScan, data: bytes) -> None:
    """Account for each chunk that is known, up to the last one."""
    scan.account(0, len(_SIGNATURE))
    position, number = len(_SIGNATURE), 0
    while True:
        scan.budget.check_time()
        if position + 12 > len(data):
            raise Malformed("it ends within a chunk", position)
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise Malformed("it ends within a chunk", position)
        if zlib.crc32(data[position + 4 : end - 4]) != struct.unpack_from(">I", data, end - 4)[0]:
            raise Malformed("a chunk with a wrong checksum", position)
        if (number == 0) != (kind == b"IHDR") or (kind == b"IHDR" and length != 13):
            raise Malformed("its first chunk is no header", position)
        if kind in _CHUNKS:
            scan.account(position, end - position)
        if kind == b"IEND":
            if length:
                raise Malformed("data in its last chunk", position)
            return
        position, number = end, number + 1
