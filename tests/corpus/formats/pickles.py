"""A pickle assembler: opcodes as bytes, to be joined in any order. Nothing is checked, broken streams are wanted too.

stream(2, call(glob("os", "system"), text("true")))
"""

from __future__ import annotations

import struct
from typing import Final

__all__ = [
    "APPENDS", "BINPERSID", "BUILD", "DICT", "DUP", "EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "FALSE", "LIST", "MARK",
    "MEMOIZE", "NEWOBJ", "NEWOBJ_EX", "NONE", "OBJ", "POP", "POP_MARK", "REDUCE", "SETITEM", "SETITEMS",
    "STACK_GLOBAL", "STOP", "TRUE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "binary", "binget", "binput", "bytearray8",
    "call", "chars", "dictionary", "ext1", "ext2", "ext4", "frame", "get", "glob", "inst", "integer", "line_call",
    "line_text", "list_of", "long_binget", "long_binput", "persid", "proto", "put", "stack_glob", "stream", "text",
    "tuple_of", "wide_text",
]  # fmt: skip

MARK: Final = b"("
STOP: Final = b"."
POP: Final = b"0"
POP_MARK: Final = b"1"
DUP: Final = b"2"
NONE: Final = b"N"
FALSE: Final = b"\x89"
TRUE: Final = b"\x88"
REDUCE: Final = b"R"
BUILD: Final = b"b"
OBJ: Final = b"o"
NEWOBJ: Final = b"\x81"
NEWOBJ_EX: Final = b"\x92"
STACK_GLOBAL: Final = b"\x93"
MEMOIZE: Final = b"\x94"
BINPERSID: Final = b"Q"
EMPTY_TUPLE: Final = b")"
EMPTY_LIST: Final = b"]"
EMPTY_DICT: Final = b"}"
TUPLE: Final = b"t"
TUPLE1: Final = b"\x85"
TUPLE2: Final = b"\x86"
TUPLE3: Final = b"\x87"
LIST: Final = b"l"
DICT: Final = b"d"
APPENDS: Final = b"e"
SETITEM: Final = b"s"
SETITEMS: Final = b"u"


def proto(version: int) -> bytes:
    return b"\x80" + bytes([version])


def stream(version: int | None, *parts: bytes) -> bytes:
    """A whole pickle: the protocol's opcode unless `version` is None, the parts, STOP."""
    return (b"" if version is None else proto(version)) + b"".join(parts) + STOP


def frame(content: bytes, length: int | None = None) -> bytes:
    """A frame; `length` is what it claims to hold where that is not the truth."""
    return b"\x95" + struct.pack("<Q", len(content) if length is None else length) + content


# Names and calls


def glob(module: str, name: str) -> bytes:
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


def stack_glob(module: str, name: str) -> bytes:
    return text(module) + text(name) + STACK_GLOBAL


def inst(module: str, name: str, *arguments: bytes) -> bytes:
    return MARK + b"".join(arguments) + b"i" + module.encode() + b"\n" + name.encode() + b"\n"


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + tuple_of(*arguments) + REDUCE


def line_call(module: str, name: str, argument: str) -> bytes:
    """A call with one string in protocol 0: printable text from end to end."""
    return glob(module, name) + MARK + line_text(argument) + TUPLE + REDUCE


def ext1(code: int) -> bytes:
    return b"\x82" + struct.pack("<B", code)


def ext2(code: int) -> bytes:
    return b"\x83" + struct.pack("<H", code)


def ext4(code: int) -> bytes:
    return b"\x84" + struct.pack("<i", code)


def persid(identifier: str) -> bytes:
    return b"P" + identifier.encode() + b"\n"


# Values


def text(value: str) -> bytes:
    raw = value.encode()
    return b"\x8c" + bytes([len(raw)]) + raw if len(raw) < 256 else wide_text(value)


def wide_text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def line_text(value: str) -> bytes:
    return b"V" + value.encode("raw-unicode-escape") + b"\n"


def chars(value: bytes) -> bytes:
    """A string of Python 2's kind, at most 255 bytes."""
    return b"U" + bytes([len(value)]) + value


def binary(value: bytes) -> bytes:
    if len(value) < 256:
        return b"C" + bytes([len(value)]) + value
    return b"B" + struct.pack("<I", len(value)) + value


def bytearray8(value: bytes) -> bytes:
    return b"\x96" + struct.pack("<Q", len(value)) + value


def integer(value: int) -> bytes:
    if 0 <= value < 256:
        return b"K" + bytes([value])
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def tuple_of(*items: bytes) -> bytes:
    return EMPTY_TUPLE if not items else MARK + b"".join(items) + TUPLE


def list_of(*items: bytes) -> bytes:
    return EMPTY_LIST + MARK + b"".join(items) + APPENDS


def dictionary(items: dict[str, bytes]) -> bytes:
    return EMPTY_DICT + MARK + b"".join(text(key) + value for key, value in items.items()) + SETITEMS


# The memo


def put(index: int) -> bytes:
    return b"p%d\n" % index


def get(index: int) -> bytes:
    return b"g%d\n" % index


def binput(index: int) -> bytes:
    return b"q" + bytes([index])


def binget(index: int) -> bytes:
    return b"h" + bytes([index])


def long_binput(index: int) -> bytes:
    return b"r" + struct.pack("<I", index)


def long_binget(index: int) -> bytes:
    return b"j" + struct.pack("<I", index)
