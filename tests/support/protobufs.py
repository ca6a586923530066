"""Protocol buffers written from their specification, independently of the reader under test."""

from __future__ import annotations

import struct

__all__ = ["Read", "Value", "message", "read", "varint"]

Value = int | float | bytes | str
Read = dict[int, list[int | bytes]]


def varint(number: int) -> bytes:
    number &= 2**64 - 1
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def message(*fields: tuple[int, Value]) -> bytes:
    """Numbers become varints, floats four bytes, everything else its length and its bytes."""
    out = b""
    for number, value in fields:
        if isinstance(value, float):
            out += varint(number << 3 | 5) + struct.pack("<f", value)
        elif isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(data)) + data
    return out


def read(content: bytes) -> Read:
    """The fields of a message by number, in order: varints as they are, everything else as bytes."""
    fields: Read = {}
    at = 0
    while at < len(content):
        key, at = _varint_at(content, at)
        if key & 7 == 0:
            value, at = _varint_at(content, at)
            fields.setdefault(key >> 3, []).append(value)
            continue
        size, at = _varint_at(content, at) if key & 7 == 2 else ({1: 8, 5: 4}[key & 7], at)
        fields.setdefault(key >> 3, []).append(content[at : at + size])
        at += size
    return fields


def _varint_at(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (content[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if content[at - 1] < 0x80:
            return value, at
