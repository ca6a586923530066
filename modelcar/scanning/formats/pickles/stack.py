"""Opcodes that move values about: on the stack, into the memo and back, into containers."""

from __future__ import annotations

import re
import struct
from typing import Final

from modelcar.scanning.formats.pickles.machine import Handler, Machine
from modelcar.scanning.formats.pickles.rules import EXHAUSTS, INDIRECT, NOT_CANONICAL, PATCHES, UNUSUAL_STATE
from modelcar.scanning.formats.pickles.values import OPAQUE, Blob, Box, Global, Instance, Kind, PersistentId, Value

__all__ = ["HANDLERS"]

_U32: Final = struct.Struct("<I")
_INDEX: Final = re.compile(rb"0|[1-9][0-9]{0,9}")


def _mark(m: Machine, data: bytes, pos: int) -> int:
    m.below.append(m.stack)
    m.pending += len(m.stack)
    m.stack = []
    return pos


def _pop(m: Machine, data: bytes, pos: int) -> int:
    if m.stack:
        del m.stack[-1]
    else:
        m.pop_mark()
    return pos


def _pop_mark(m: Machine, data: bytes, pos: int) -> int:
    m.pop_mark()
    return pos


def _dup(m: Machine, data: bytes, pos: int) -> int:
    m.found(NOT_CANONICAL, "it duplicates a value on the stack", m.offset(pos))
    m.stack.append(m.stack[-1])
    return pos


# The memo


def _memoize(m: Machine, data: bytes, pos: int) -> int:
    memo = m.memo
    memo[len(memo)] = m.stack[-1]
    return pos


def _binput(m: Machine, data: bytes, pos: int) -> int:
    index = data[pos]
    if index in m.memo:
        m.found(NOT_CANONICAL, "it uses a number of the memo again", m.offset(pos))
    m.memo[index] = m.stack[-1]
    return pos + 1


def _long_binput(m: Machine, data: bytes, pos: int) -> int:
    index: int = _U32.unpack_from(data, pos)[0]
    if index in m.memo or index > pos:
        _check_index(m, index, pos)
    m.memo[index] = m.stack[-1]
    return pos + 4


def _put(m: Machine, data: bytes, pos: int) -> int:
    index, end = _index(m, data, pos)
    if index is not None:
        _check_index(m, index, pos)
        m.memo[index] = m.stack[-1]
    return end


def _check_index(m: Machine, index: int, pos: int) -> None:
    """There cannot have been more values than bytes; C code makes room for all numbers up to the largest."""
    if index in m.memo:
        m.found(NOT_CANONICAL, "it uses a number of the memo again", m.offset(pos))
    elif index > m.offset(pos):
        m.found(EXHAUSTS, f"it puts a value into the memo under number {index}", m.offset(pos))


def _binget(m: Machine, data: bytes, pos: int) -> int:
    index = data[pos]
    if index not in m.memo:
        return _push_from_memo(m, index, pos, pos)
    m.stack.append(m.memo[index])
    return pos + 1


def _long_binget(m: Machine, data: bytes, pos: int) -> int:
    return _push_from_memo(m, _U32.unpack_from(data, pos)[0], pos, pos + 4)


def _get(m: Machine, data: bytes, pos: int) -> int:
    index, end = _index(m, data, pos)
    if index is None:
        m.stack.append(OPAQUE)
        return end
    return _push_from_memo(m, index, pos, end)


def _push_from_memo(m: Machine, index: int, pos: int, end: int) -> int:
    try:
        m.stack.append(m.memo[index])
    except KeyError:
        raise m.malformed(f"it takes number {index} from the memo, which is not there", pos) from None
    return end


def _index(m: Machine, data: bytes, pos: int) -> tuple[int | None, int]:
    line, end = m.line(data, pos)
    if line is not None and _INDEX.fullmatch(line):
        return int(line), end
    if line is not None and not re.match(rb"\s*[-+0-9\x00]|\s*$", line):
        raise m.malformed("something that is no number stands where a number should", pos)
    m.found(NOT_CANONICAL, "a number is written in an unusual way", m.offset(pos))
    return None, end


# Containers


def _tuple(m: Machine, data: bytes, pos: int) -> int:
    items = m.pop_tuple()
    m.stack.append(items)
    return pos


def _tuple1(m: Machine, data: bytes, pos: int) -> int:
    m.stack[-1] = (m.stack[-1],)
    return pos


def _tuple2(m: Machine, data: bytes, pos: int) -> int:
    stack = m.stack
    stack[-2:] = [(stack[-2], stack[-1])]
    return pos


def _tuple3(m: Machine, data: bytes, pos: int) -> int:
    stack = m.stack
    stack[-3:] = [(stack[-3], stack[-2], stack[-1])]
    return pos


def _boxed(kind: Kind) -> Handler:
    """LIST, DICT, FROZENSET: everything above the mark."""

    def handler(m: Machine, data: bytes, pos: int) -> int:
        items = m.pop_mark()
        box = Box(kind)
        _fill(m, box, items, pos)
        m.stack.append(box)
        return pos

    return handler


def _append(m: Machine, data: bytes, pos: int) -> int:
    value = m.stack.pop()
    _add(m, m.stack[-1], [value], Kind.LIST, pos)
    return pos


def _setitem(m: Machine, data: bytes, pos: int) -> int:
    value = m.stack.pop()
    key = m.stack.pop()
    _add(m, m.stack[-1], [key, value], Kind.DICT, pos)
    return pos


def _adds(kind: Kind) -> Handler:
    """APPENDS, SETITEMS, ADDITEMS: everything above the mark goes into what is below it."""

    def handler(m: Machine, data: bytes, pos: int) -> int:
        items = m.pop_mark()
        target = m.stack[-1]
        if type(target) is Box and target.kind is kind:
            _fill(m, target, items, pos)
        else:
            _add(m, target, items, kind, pos)
        return pos

    return handler


def _fill(m: Machine, box: Box, items: list[Value], pos: int) -> None:
    if box.kind is Kind.DICT and len(items) % 2:
        raise m.malformed("a key has no value", pos)
    if not items:
        return
    if not box.cut and m.may_keep(len(items)):
        box.items += items
    else:
        box.cut = True
        box.more += len(items)


def _add(m: Machine, target: Value, items: list[Value], kind: Kind, pos: int) -> None:
    """Items are added by methods of `target`: those of plain containers are known."""
    if isinstance(target, Box) and target.kind is kind:
        _fill(m, target, items, pos)
    elif not items:
        m.found(NOT_CANONICAL, "nothing is put into something that is no container", m.offset(pos))
    elif isinstance(target, Global):
        m.calls += 1
        m.found(PATCHES, f"items are put into {target}", m.offset(pos))
    elif isinstance(target, Instance):
        m.calls += 1
        target.filled = True
        plain = target.of.plain if isinstance(target.of, Global) else None
        if plain is None:
            m.found(INDIRECT, "items are put into an object that is not known", m.offset(pos))
        elif kind is not plain.takes:
            m.found(UNUSUAL_STATE, f"items are put into what {target.of} returned", m.offset(pos))
    elif isinstance(target, PersistentId) or target is OPAQUE:
        m.calls += 1
        m.found(INDIRECT, "items are put into an object from elsewhere", m.offset(pos))
    elif isinstance(target, Box):
        m.found(NOT_CANONICAL, f"a {target.kind.value} is filled like a {kind.value}", m.offset(pos))
        target.cut = True
    elif isinstance(target, (bytes, Blob)):
        m.found(NOT_CANONICAL, f"a constant is filled like a {kind.value}", m.offset(pos))
    else:
        raise m.malformed("items are put into something that takes none", pos)


HANDLERS: Final[dict[bytes, Handler]] = {
    b"(": _mark,
    b"0": _pop,
    b"1": _pop_mark,
    b"2": _dup,
    b"\x94": _memoize,
    b"q": _binput,
    b"r": _long_binput,
    b"p": _put,
    b"h": _binget,
    b"j": _long_binget,
    b"g": _get,
    b"t": _tuple,
    b"\x85": _tuple1,
    b"\x86": _tuple2,
    b"\x87": _tuple3,
    b"l": _boxed(Kind.LIST),
    b"d": _boxed(Kind.DICT),
    b"\x91": _boxed(Kind.FROZENSET),
    b"a": _append,
    b"e": _adds(Kind.LIST),
    b"s": _setitem,
    b"u": _adds(Kind.DICT),
    b"\x90": _adds(Kind.SET),
}
