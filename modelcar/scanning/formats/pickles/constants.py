"""Opcodes that push a constant. Short ones are kept in the bytes that they are written in, long ones are skipped."""

from __future__ import annotations

import re
import struct
from typing import Final

from modelcar.scanning.formats.pickles.machine import LONGEST_KEPT, Handler, Machine
from modelcar.scanning.formats.pickles.rules import EXHAUSTS, NOT_CANONICAL
from modelcar.scanning.formats.pickles.values import OPAQUE, Blob, Box, Kind, Value

__all__ = ["HANDLERS"]

_PICKLE_STARTS: Final = (b"\x80", b"c", b"(", b"]", b"}")
_I32: Final = struct.Struct("<i")
_F64: Final = struct.Struct(">d")
_U32: Final = struct.Struct("<I")
_U64: Final = struct.Struct("<Q")
_CANONICAL_INT: Final = re.compile(rb"-?(?:0|[1-9][0-9]*)")
_FLOAT: Final = re.compile(rb"-?(?:[0-9]+(?:\.[0-9]*)?(?:e[-+]?[0-9]+)?|inf|nan)")
_MOST_DIGITS: Final = 20  # of a number that is remembered
_MOST_DIGITS_READ: Final = 4000  # reading them takes quadratic time, and newer Pythons refuse more
_ESCAPE: Final = re.compile(rb"\\(?:\n|[\\'\"abfnrtv]|[0-7]{1,3}|x[0-9a-fA-F]{2}|x|.)", re.DOTALL)
_ESCAPES: Final = dict(zip(b"\\'\"abfnrtv", b"\\'\"\a\b\f\n\r\t\v", strict=True))


def _pushes(value: Value) -> Handler:
    def handler(m: Machine, data: bytes, pos: int) -> int:
        m.stack.append(value)
        return pos

    return handler


def _empty(kind: Kind) -> Handler:
    def handler(m: Machine, data: bytes, pos: int) -> int:
        m.stack.append(Box(kind))
        return pos

    return handler


def _binint(m: Machine, data: bytes, pos: int) -> int:
    m.stack.append(_I32.unpack_from(data, pos)[0])
    return pos + 4


def _binint1(m: Machine, data: bytes, pos: int) -> int:
    m.stack.append(data[pos])
    return pos + 1


def _binint2(m: Machine, data: bytes, pos: int) -> int:
    m.stack.append(data[pos] | data[pos + 1] << 8)
    return pos + 2


def _binfloat(m: Machine, data: bytes, pos: int) -> int:
    m.stack.append(_F64.unpack_from(data, pos)[0])
    return pos + 8


def _short(m: Machine, data: bytes, pos: int) -> int:
    """SHORT_BINUNICODE and SHORT_BINSTRING: at most 255 bytes."""
    end = pos + 1 + data[pos]
    if end > len(data):
        raise IndexError
    m.stack.append(data[pos - 1 : end])
    return end


def _short_bytes(m: Machine, data: bytes, pos: int) -> int:
    end = _short(m, data, pos)
    if data.startswith(_PICKLE_STARTS, pos + 1):
        m.nest(m.stack[-1])
    return end


def _counted(counter: struct.Struct, kind: Kind, *, signed: bool = False) -> Handler:
    header = counter.size
    signs = b"\xc2\x80" if kind is Kind.TEXT else _PICKLE_STARTS
    unpack = counter.unpack_from

    def handler(m: Machine, data: bytes, pos: int) -> int:
        size: int = unpack(data, pos)[0]
        start = pos + header
        end = start + size
        if size <= LONGEST_KEPT and end <= len(data):
            value: Value = data[pos - 1 : end]
        else:
            value = _blob(m, kind, pos, start, size)
            if signed and size >> 31:
                m.found(NOT_CANONICAL, "a string has a negative length", m.offset(pos))
        m.stack.append(value)
        if data.startswith(signs, start):
            m.nest(value)
        return end

    return handler


def _blob(m: Machine, kind: Kind, pos: int, start: int, size: int) -> Blob:
    if m.absolute(start + size) > m.size:
        raise m.malformed(f"a constant of {size} bytes is longer than the file", pos)
    return Blob(kind, m.absolute(start), size)


def _long(counter: struct.Struct) -> Handler:
    """LONG1 and LONG4: a number in two's complement."""
    header = counter.size

    def handler(m: Machine, data: bytes, pos: int) -> int:
        size: int = counter.unpack_from(data, pos)[0]
        if size < 0:
            raise m.malformed("a number has a negative length", pos)
        start = pos + header
        end = start + size
        if m.absolute(end) > m.size:
            raise m.malformed(f"a number of {size} bytes is longer than the file", pos)
        m.stack.append(int.from_bytes(data[start:end], "little", signed=True) if size <= _MOST_DIGITS else OPAQUE)
        return end

    return handler


def _int(m: Machine, data: bytes, pos: int) -> int:
    line, end = m.line(data, pos)
    value: Value = {b"00": False, b"01": True}.get(line or b"", OPAQUE)
    m.stack.append(_number(m, line, pos) if value is OPAQUE else value)
    return end


def _long_line(m: Machine, data: bytes, pos: int) -> int:
    line, end = m.line(data, pos)
    m.stack.append(_number(m, line and line.removesuffix(b"L"), pos))
    return end


def _number(m: Machine, line: bytes | None, pos: int) -> Value:
    """A decimal number; what else unpicklers take for one they read in different ways."""
    if line is None or len(line) > _MOST_DIGITS_READ:
        m.found(EXHAUSTS, "it holds a number of thousands of digits", m.offset(pos))
        return OPAQUE
    if _CANONICAL_INT.fullmatch(line):
        return int(line) if len(line) <= _MOST_DIGITS else OPAQUE
    if not re.match(rb"\s*[-+0-9\x00]|\s*$", line):
        raise m.malformed("something that is no number stands where a number should", pos)
    m.found(NOT_CANONICAL, "a number is written in an unusual way", m.offset(pos))
    return OPAQUE


def _float(m: Machine, data: bytes, pos: int) -> int:
    line, end = m.line(data, pos)
    if line is not None and not _FLOAT.fullmatch(line):
        if not re.match(rb"\s*[-+.0-9iInN\x00]", line):
            raise m.malformed("something that is no number stands where a number should", pos)
        m.found(NOT_CANONICAL, "a number is written in an unusual way", m.offset(pos))
    m.stack.append(0.0)
    return end


def _string(m: Machine, data: bytes, pos: int) -> int:
    """STRING: between quotes, with escapes; its end may be out of view."""
    line, end = m.line(data, pos)
    if line is None:
        start, size = m.absolute(pos), m.absolute(end) - m.absolute(pos) - 1
        m.stack.append(Blob(Kind.QUOTED, start, size))
        return end
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise m.malformed("a string is not in quotes", pos)
    m.stack.append(_ESCAPE.sub(lambda match: _unescaped(m, match, pos), line[1:-1]).decode("latin-1"))
    return end


def _unescaped(m: Machine, match: re.Match[bytes], pos: int) -> bytes:
    code = match[0][1:]
    if code == b"\n":
        return b""
    if code[0] in _ESCAPES:
        return bytes([_ESCAPES[code[0]]])
    if code == b"x":
        raise m.malformed("a string has a broken escape", pos)
    if code[:1] == b"x":
        return bytes([int(code[1:], 16)])
    if code[:1].isdigit() and code[0] < ord("8"):
        return bytes([int(code, 8) & 0xFF])
    return match[0]


def _unicode(m: Machine, data: bytes, pos: int) -> int:
    line, end = m.line(data, pos)
    if line is None:
        m.stack.append(Blob(Kind.TEXT, m.absolute(pos), m.absolute(end) - m.absolute(pos) - 1))
        return end
    try:
        m.stack.append(line.decode("raw-unicode-escape"))
    except UnicodeDecodeError as e:
        raise m.malformed("a text has a broken escape", pos) from e
    return end


HANDLERS: Final[dict[bytes, Handler]] = {
    b"N": _pushes(None),
    b"\x88": _pushes(True),
    b"\x89": _pushes(False),
    b")": _pushes(()),
    b"]": _empty(Kind.LIST),
    b"}": _empty(Kind.DICT),
    b"\x8f": _empty(Kind.SET),
    b"J": _binint,
    b"K": _binint1,
    b"M": _binint2,
    b"G": _binfloat,
    b"I": _int,
    b"L": _long_line,
    b"F": _float,
    b"\x8a": _long(struct.Struct("<B")),
    b"\x8b": _long(struct.Struct("<i")),
    b"S": _string,
    b"U": _short,
    b"T": _counted(_U32, Kind.BYTES, signed=True),
    b"V": _unicode,
    b"\x8c": _short,
    b"X": _counted(_U32, Kind.TEXT),
    b"\x8d": _counted(_U64, Kind.TEXT),
    b"C": _short_bytes,
    b"B": _counted(_U32, Kind.BYTES),
    b"\x8e": _counted(_U64, Kind.BYTES),
    b"\x96": _counted(_U64, Kind.BYTEARRAY),
}
