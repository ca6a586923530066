"""Opcodes that import, call and change: where a pickle stops being data."""

from __future__ import annotations

import struct
from typing import Final

from modelcar.scanning.findings import shown
from modelcar.scanning.formats.pickles import rules
from modelcar.scanning.formats.pickles.denied import is_dangerous, is_door
from modelcar.scanning.formats.pickles.joblib_arrays import skip_array
from modelcar.scanning.formats.pickles.judge import JOBLIB_ARRAY, LOOKUPS, judge
from modelcar.scanning.formats.pickles.machine import Handler, Machine
from modelcar.scanning.formats.pickles.values import (
    OPAQUE,
    Blob,
    Box,
    Global,
    Instance,
    Kind,
    PersistentId,
    Value,
    constant,
    items_of,
)
from modelcar.scanning.limits import LimitExceeded

__all__ = ["HANDLERS"]

_MOST_PERSISTENT: Final = 1_000_000


# Imports


def _global(m: Machine, data: bytes, pos: int) -> int:
    found, end = _read_global(m, data, pos)
    m.stack.append(found)
    return end


def _read_global(m: Machine, data: bytes, pos: int) -> tuple[Global, int]:
    module, middle = m.line(data, pos)
    name, end = m.line(data, middle) if middle <= len(data) else (None, middle)
    if module is None or name is None:
        raise m.malformed("a name is longer than names are", pos)
    try:
        return _import(m, module.decode(), name.decode(), pos), end
    except UnicodeDecodeError as e:
        raise m.malformed("a name is not text", pos) from e


def _stack_global(m: Machine, data: bytes, pos: int) -> int:
    name_value = m.stack.pop()
    module_value = m.stack.pop()
    name, module = m.text(name_value), m.text(module_value)
    if name is not None and module is not None:
        m.stack.append(_import(m, module, name, pos))
        return pos
    if any(text is None and _is_other_constant(value) for text, value in ((name, name_value), (module, module_value))):
        raise m.malformed("a name is something else than text", pos)
    m.globals += 1
    m.calls += 1
    known = " and ".join(shown(text) for text in (module, name) if text is not None)
    m.found(rules.HIDDEN, f"only {known} is written out" if known else "", m.offset(pos))
    m.stack.append(OPAQUE)
    return pos


def _is_other_constant(value: Value) -> bool:
    """Whether it is certain that this is no text, for which every unpickler would ask."""
    if isinstance(value, Blob):
        return value.kind is not Kind.TEXT
    return constant(value) is not OPAQUE and not isinstance(value, (Instance, PersistentId))


def _import(m: Machine, module: str, name: str, pos: int) -> Global:
    if module.replace(".", "_").isidentifier():
        m.globals += 1
    found, rule = judge(module, name, renames=m.protocol < 3)
    if rule is not None:
        m.found(rule, shown(f"{module}.{name}"), m.offset(pos))
    return found


def _extension(size: int) -> Handler:
    def handler(m: Machine, data: bytes, pos: int) -> int:
        code = data[pos : pos + size]
        if len(code) < size:
            raise IndexError
        m.calls += 1
        m.found(rules.EXTENSION, f"number {int.from_bytes(code, 'little')}", m.offset(pos))
        m.stack.append(OPAQUE)
        return pos + size

    return handler


# Calls


def _reduce(m: Machine, data: bytes, pos: int) -> int:
    args = m.stack.pop()
    m.stack[-1] = _call(m, m.stack[-1], args, pos)
    return pos


def _newobj(m: Machine, data: bytes, pos: int) -> int:
    args = m.stack.pop()
    m.stack[-1] = _call(m, m.stack[-1], args, pos)
    return pos


def _newobj_ex(m: Machine, data: bytes, pos: int) -> int:
    keywords = m.stack.pop()
    args = m.stack.pop()
    function = m.stack[-1]
    if (
        isinstance(function, Global)
        and function.plain
        and not (isinstance(keywords, Box) and not keywords.items and not keywords.cut)
    ):
        m.found(rules.UNUSUAL_CALL, f"{function} gets arguments by name", m.offset(pos))
    m.stack[-1] = _call(m, function, args, pos)
    return pos


def _inst(m: Machine, data: bytes, pos: int) -> int:
    function, end = _read_global(m, data, pos)  # first, as pickle.py does: an import may be all that is wanted
    args = tuple(m.pop_mark())
    m.stack.append(_call(m, function, args, pos))
    return end


def _obj(m: Machine, data: bytes, pos: int) -> int:
    items = m.pop_mark()
    m.stack.append(_call(m, items[0], tuple(items[1:]), pos))
    return pos


def _call(m: Machine, function: Value, args: Value, pos: int) -> Value:
    m.calls += 1
    if not isinstance(args, tuple):
        m.found(rules.NOT_CANONICAL, "a call gets its arguments in something that is no tuple", m.offset(pos))
        known = items_of(args)
        args = None if known is None else tuple(known)
    if isinstance(function, Global):
        return _call_global(m, function, args, pos)
    if isinstance(function, (Instance, PersistentId)) or function is OPAQUE:
        m.found(rules.INDIRECT, "", m.offset(pos))
        return Instance(function, args)
    raise m.malformed("it calls something that is no function", pos)


def _call_global(m: Machine, function: Global, args: tuple[Value, ...] | None, pos: int) -> Value:
    plain = function.plain
    if plain is not None and (args is None or plain.call is None or not plain.call(args)):
        m.found(rules.UNUSUAL_CALL, shown(str(function)), m.offset(pos))
    elif plain is not None and plain.nested and args:
        m.loaded.append(args[0])
    elif function.key in LOOKUPS:
        return _look_up(m, function, args, pos)
    return Instance(function, args)


def _look_up(m: Machine, function: Global, args: tuple[Value, ...] | None, pos: int) -> Value:
    """`getattr`, which honest pickles of whole objects use for members of enumerations and for bound methods."""
    names = [m.text(arg) for arg in (args or ())[1 if function.key[1] == "getattr" else 0 :]]
    parts = [part for name in names if name is not None for part in name.split(".")]
    if not names or None in names or any(is_door(part) for part in parts):
        m.found(rules.REACHES, shown(".".join(parts)), m.offset(pos))
    elif args and isinstance(args[0], Global):
        module, name = args[0].key
        if is_dangerous(module, ".".join([name, *parts])):
            m.found(rules.REACHES, shown(".".join([module, name, *parts])), m.offset(pos))
    return Instance(function, args)


# Changes


def _build(m: Machine, data: bytes, pos: int) -> int:
    state = m.stack.pop()
    target = m.stack[-1]
    m.calls += 1
    if isinstance(target, Global):
        m.found(rules.PATCHES, shown(str(target)), m.offset(pos))
    elif isinstance(target, Instance):
        return _restore(m, target, state, pos)
    elif isinstance(target, PersistentId) or target is OPAQUE:
        m.found(rules.INDIRECT, "it gives an object from elsewhere a new state", m.offset(pos))
    else:
        m.found(rules.NOT_CANONICAL, "it gives a constant or a container a state", m.offset(pos))
    return pos


def _restore(m: Machine, target: Instance, state: Value, pos: int) -> int:
    plain = target.of.plain if isinstance(target.of, Global) else None
    if plain is not None and (plain.state is None or not plain.state(target, state)):
        m.found(rules.UNUSUAL_STATE, shown(str(target.of)), m.offset(pos))
    elif plain is not None and target.built:
        m.found(rules.NOT_CANONICAL, "it gives an object a state twice", m.offset(pos))
    elif not isinstance(target.of, Global):
        m.found(rules.INDIRECT, "it gives a state to what another call returned", m.offset(pos))
    target.state, target.built = state, True
    if isinstance(target.of, Global) and target.of.key == JOBLIB_ARRAY:
        return skip_array(m, state, pos)
    return pos


# Objects from outside the stream


def _persid(m: Machine, data: bytes, pos: int) -> int:
    line, end = m.line(data, pos)
    if line is not None and not line.isascii():
        raise m.malformed("a persistent id is not ASCII", pos)
    _push_persistent(m, OPAQUE if line is None else line.decode("ascii"), pos)
    return end


def _binpersid(m: Machine, data: bytes, pos: int) -> int:
    _push_persistent(m, m.stack.pop(), pos)
    return pos


def _push_persistent(m: Machine, key: Value, pos: int) -> None:
    if len(m.persistent) >= _MOST_PERSISTENT:
        raise LimitExceeded(f"a pickle names more than {_MOST_PERSISTENT} objects that lie elsewhere")
    found = PersistentId(key=key, offset=m.offset(pos))
    m.persistent.append(found)
    m.stack.append(found)


def _next_buffer(m: Machine, data: bytes, pos: int) -> int:
    m.found(rules.OUT_OF_BAND, "", m.offset(pos))
    m.stack.append(OPAQUE)
    return pos


def _readonly_buffer(m: Machine, data: bytes, pos: int) -> int:
    value = m.stack[-1]
    if not (isinstance(value, Blob) or isinstance(constant(value), bytes) or value is OPAQUE):
        raise m.malformed("something that is no buffer should become read-only", pos)
    m.found(rules.OUT_OF_BAND, "", m.offset(pos))
    return pos


# The stream itself


def _proto(m: Machine, data: bytes, pos: int) -> int:
    version = data[pos]
    if version > 5:
        raise m.malformed(f"there is no protocol {version}", pos)
    if m.offset(pos) != m.start:
        m.found(rules.NOT_CANONICAL, "the protocol changes in the middle", m.offset(pos))
    m.protocol = version
    return pos + 1


def _frame(m: Machine, data: bytes, pos: int) -> int:
    (size,) = struct.unpack_from("<Q", data, pos)
    m.open_frame(pos + 8, size)
    return pos + 8


def _stop(m: Machine, data: bytes, pos: int) -> int:
    m.result = m.stack.pop()
    if m.stack or m.below:
        m.found(rules.NOT_CANONICAL, "it leaves values behind", m.offset(pos))
    m.close(pos)
    return -1


HANDLERS: Final[dict[bytes, Handler]] = {
    b"c": _global,
    b"\x93": _stack_global,
    b"\x82": _extension(1),
    b"\x83": _extension(2),
    b"\x84": _extension(4),
    b"R": _reduce,
    b"\x81": _newobj,
    b"\x92": _newobj_ex,
    b"i": _inst,
    b"o": _obj,
    b"b": _build,
    b"P": _persid,
    b"Q": _binpersid,
    b"\x97": _next_buffer,
    b"\x98": _readonly_buffer,
    b"\x80": _proto,
    b"\x95": _frame,
    b".": _stop,
}
