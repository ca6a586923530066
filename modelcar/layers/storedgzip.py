"""Gzip that does not compress: members whose deflate blocks are stored, so that every byte's place is arithmetic.

A member of n bytes is a header, n bytes in blocks of at most 65,535 with five bytes before each, and a trailer; nothing
of it but the checksum in the trailer depends on the content. Sources: RFC 1951, section 3.2.4; RFC 1952.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final

__all__ = [
    "BLOCK",
    "CRC_SIZE",
    "HEADER",
    "block_header",
    "gzip_member",
    "member_size",
    "members_size",
    "pieces",
    "trailer",
]

HEADER: Final = bytes.fromhex("1f8b08000000000000ff")  # deflate; no flags, no time, no word about the system
BLOCK: Final = 65_535  # bytes of content in a block that is full
CRC_SIZE: Final = 4  # bytes
_BLOCK_HEADER: Final = 5  # bytes
_TRAILER: Final = 8  # bytes


def member_size(n: int) -> int:
    """Bytes of the member that holds `n` bytes, which must be at least one."""
    return len(HEADER) + n + _BLOCK_HEADER * -(-n // BLOCK) + _TRAILER


def members_size(n: int, member: int) -> int:
    """Bytes of the members that hold `n` bytes, `member` of them each and the last one the rest."""
    whole, rest = divmod(n, member)
    return whole * member_size(member) + (member_size(rest) if rest else 0)


def block_header(n: int, *, last: bool) -> bytes:
    """What stands before a block of `n` bytes."""
    return struct.pack("<BHH", last, n, n ^ 0xFFFF)


def trailer(crc: int, n: int) -> bytes:
    """What stands at the end of a member of `n` bytes with this CRC-32."""
    return struct.pack("<II", crc, n & 0xFFFFFFFF)


def gzip_member(data: bytes) -> bytes:
    """One member that holds `data`, which must not be empty."""
    result = bytearray(HEADER)
    for start in range(0, len(data), BLOCK):
        block = data[start : start + BLOCK]
        result += block_header(len(block), last=start + BLOCK >= len(data)) + block
    return bytes(result) + trailer(zlib.crc32(data), len(data))


def pieces(n: int, member: int, crcs: bytes, start: int, stop: int) -> Iterator[bytes | range]:
    """What `[start, stop)` of the members that hold `n` bytes is made of, in order: framing, and ranges of content.

    Args:
        member: bytes of content in each member but the last.
        crcs: the CRC-32 of each, four bytes little-endian.
    """
    number, position = divmod(start, member_size(member))
    at = start - position
    while at < stop:
        size = min(member, n - number * member)
        crc = int.from_bytes(crcs[number * CRC_SIZE : (number + 1) * CRC_SIZE], "little")
        yield from _clipped(number * member, size, crc, max(start - at, 0), stop - at)
        at += member_size(size)
        number += 1


def _clipped(content: int, size: int, crc: int, start: int, stop: int) -> Iterator[bytes | range]:
    """`[start, stop)` of one member, as far as it goes; its content begins at `content` of the whole."""
    full = _BLOCK_HEADER + BLOCK
    first = max(0, start - len(HEADER)) // full
    at = len(HEADER) + first * full
    if start < len(HEADER):
        yield HEADER[start:stop]
    for offset in range(first * BLOCK, size, BLOCK):
        if at >= stop:
            return
        n = min(BLOCK, size - offset)
        framing = block_header(n, last=offset + n == size)[max(start - at, 0) : max(stop - at, 0)]
        if framing:
            yield framing
        at += _BLOCK_HEADER
        data = range(max(start - at, 0), min(stop - at, n))
        if data:
            yield range(content + offset + data.start, content + offset + data.stop)
        at += n
    end = trailer(crc, size)[max(start - at, 0) : max(stop - at, 0)]
    if end:
        yield end
