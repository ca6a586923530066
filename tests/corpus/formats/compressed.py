"""Containers that the standard library cannot write: 7z and zstd, with their contents stored as they are."""

from __future__ import annotations

import struct
import zlib

__all__ = ["sevenzip", "zstd"]


def sevenzip(name: str, data: bytes) -> bytes:
    """A 7z archive of one file, not compressed (the Copy method).

    Signature header, the data, then the header: one pack stream, one folder of one coder, one named file.
    """
    packed = b"\x06" + _number(0) + _number(1) + b"\x09" + _number(len(data)) + b"\x00"
    copy = b"\x01" + b"\x01\x00"
    folders = b"\x07\x0b" + _number(1) + b"\x00" + copy + b"\x0c" + _number(len(data)) + b"\x00"
    digests = b"\x08\x0a\x01" + struct.pack("<I", zlib.crc32(data)) + b"\x00"
    streams = b"\x04" + packed + folders + digests + b"\x00"
    names = b"\x00" + name.encode("utf-16-le") + b"\x00\x00"
    files = b"\x05" + _number(1) + b"\x11" + _number(len(names)) + names + b"\x00"
    header = b"\x01" + streams + files + b"\x00"
    start = struct.pack("<QQI", len(data), len(header), zlib.crc32(header))
    return b"7z\xbc\xaf\x27\x1c\x00\x04" + struct.pack("<I", zlib.crc32(start)) + start + data + header


def _number(value: int) -> bytes:
    """7z's variable-length integers; up to 2^14 suffices here."""
    return bytes([value]) if value < 0x80 else bytes([0x80 | value >> 8, value & 0xFF])


def zstd(data: bytes) -> bytes:
    """A zstd frame of one raw block, at most 128 KiB, its size in the frame's header."""
    frame = b"\xa0" + struct.pack("<I", len(data))
    return b"\x28\xb5\x2f\xfd" + frame + (len(data) << 3 | 1).to_bytes(3, "little") + data
