"""What the arguments of vetted functions have to look like: as the programs that write pickles make them."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import NoneType
from typing import Final

from modelcar.scanning.formats.pickles.values import (
    Blob,
    Box,
    Global,
    Instance,
    Kind,
    Value,
    constant,
    items_of,
)

Check = Callable[[Value], bool]
Signature = Callable[[tuple[Value, ...]], bool]
_HASHABLE: Final = (str, bytes, int, float, NoneType)
_MOST: Final = 64  # arguments, or dimensions of a tensor


def signature(*checks: Check, needed: int | None = None) -> Signature:
    """Arguments one by one; at least `needed` of them, all by default."""
    least = len(checks) if needed is None else needed

    def check(args: tuple[Value, ...]) -> bool:
        if not least <= len(args) <= len(checks):
            return False
        for accepts, arg in zip(checks, args, strict=False):  # noqa: SIM110  # a generator takes twice as long
            if not accepts(arg):
                return False
        return True

    return check


def nothing(args: tuple[Value, ...]) -> bool:
    return not args


def either(*signatures: Signature) -> Signature:
    return lambda args: any(check(args) for check in signatures)


def any_of(*checks: Check) -> Check:
    return lambda value: any(check(value) for check in checks)


def optional(check: Check) -> Check:
    return lambda value: value is None or check(value)


def one_of(*allowed: str) -> Check:
    """A global out of these, as `module.name`."""
    names = frozenset(name.rpartition(".")[::2] for name in allowed)
    return lambda value: isinstance(value, Global) and value.key in names


def made_by(*allowed: str) -> Check:
    """What one of these globals returned, and nothing was done to it that is not vetted."""
    is_one = one_of(*allowed)
    return lambda value: isinstance(value, Instance) and is_one(value.of)


def exactly(*allowed: object) -> Check:
    """One of these constants."""
    known = frozenset((type(each), each) for each in allowed)

    def check(value: Value) -> bool:
        found = constant(value)
        return isinstance(found, _HASHABLE) and (type(found), found) in known

    return check


def is_int(value: Value) -> bool:
    return type(value) is int


def is_size(value: Value) -> bool:
    return type(value) is int and value >= 0


def is_flag(value: Value) -> bool:
    return isinstance(value, bool) or exactly(0, 1)(value)


def is_number(value: Value) -> bool:
    return type(value) in (int, float)


def is_text(value: Value) -> bool:
    return isinstance(constant(value), str) or (isinstance(value, Blob) and value.kind is Kind.TEXT)


def is_bytes(value: Value) -> bool:
    """Bytes of Python 3, a str of Python 2, or text that `_codecs.encode` makes bytes of, up to protocol 2."""
    if isinstance(value, Blob):
        return value.kind in (Kind.BYTES, Kind.BYTEARRAY, Kind.QUOTED)
    return isinstance(constant(value), (bytes, str)) or made_by("_codecs.encode", "builtins.bytes")(value)


def is_list(value: Value) -> bool:
    """A list, tuple or set that was written out."""
    return isinstance(value, tuple) or (isinstance(value, Box) and value.kind is not Kind.DICT)


def is_dict(value: Value) -> bool:
    return isinstance(value, Box) and value.kind is Kind.DICT


def is_sizes(value: Value) -> bool:
    items = items_of(value)
    if items is None or len(items) > _MOST:
        return False
    for item in items:  # noqa: SIM110  # a generator takes twice as long
        if not is_size(item):
            return False
    return True


def empty_or_none(value: Value) -> bool:
    return value is None or (isinstance(value, Box) and not value.items and not value.cut)


def matches(pattern: str) -> Check:
    """A text that the pattern matches as a whole."""
    compiled = re.compile(pattern)

    def check(value: Value) -> bool:
        known = constant(value)
        return isinstance(known, str) and compiled.fullmatch(known) is not None

    return check


def attributes(value: Value) -> dict[str, Value] | None:
    """The state of an object as `name: value`; `None` unless it is a dict with such keys only, all known."""
    if value is None:
        return {}
    if not isinstance(value, Box) or value.kind is not Kind.DICT or value.cut:
        return None
    keys = [constant(key) for key in value.items[::2]]
    if len(keys) > 1024 or not all(isinstance(key, str) and not key.startswith("__") for key in keys):
        return None
    return {str(key): item for key, item in zip(keys, value.items[1::2], strict=True)}
