"""CRC-32C (Castagnoli), which the checksum of an EROFS superblock is."""

from __future__ import annotations

from typing import Final

__all__ = ["crc32c"]

_POLYNOMIAL: Final = 0x82F63B78  # reflected


def crc32c(data: bytes, start: int = 0xFFFFFFFF) -> int:
    """Without the final inversion, as the kernel's function of this name."""
    crc = start
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc


def _entry(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
    return value


_TABLE: Final = tuple(map(_entry, range(256)))
