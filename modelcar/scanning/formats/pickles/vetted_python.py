"""Vetted globals of Python itself: containers, scalars, dates and paths."""

from __future__ import annotations

from typing import Final

from modelcar.scanning.formats.pickles import arguments as a
from modelcar.scanning.formats.pickles.values import DATA, Instance, Kind, Plain, Value

__all__ = ["PYTHON"]


def _has_attributes(_: Instance, state: Value) -> bool:
    return a.attributes(state) is not None


def _has_metadata(_: Instance, state: Value) -> bool:
    """What `Module.state_dict` attaches to its result."""
    known = a.attributes(state)
    return known is not None and set(known) <= {"_metadata"}


def _texts(args: tuple[Value, ...]) -> bool:
    return len(args) <= 1024 and all(a.is_text(arg) for arg in args)


def _maybe(*checks: a.Check) -> a.Signature:
    return a.signature(*checks, needed=0)


_PAIRS: Final = a.any_of(a.is_list, a.is_dict)
_LATIN1: Final = a.exactly("latin1", "latin-1", "iso-8859-1")
_TIMEZONE: Final = a.optional(a.made_by("datetime.timezone"))
_DECIMAL: Final = a.matches(r"-?[0-9.]{1,100}(?:E[-+]?[0-9]{1,6})?|-?Infinity|NaN")
_BAGS: Final = ("argparse.Namespace", "types.SimpleNamespace")
_FACTORIES: Final = a.one_of(
    *(f"builtins.{name}" for name in ("list", "dict", "set", "frozenset", "tuple", "int", "float", "bool", "str")),
    "collections.OrderedDict",
    "collections.Counter",
)
_BUILTINS: Final = {
    "list": Plain(call=_maybe(a.is_list), takes=Kind.LIST),
    "dict": Plain(call=_maybe(_PAIRS), takes=Kind.DICT),
    "tuple": Plain(call=_maybe(a.is_list)),
    "set": Plain(call=_maybe(a.is_list), takes=Kind.SET),
    "frozenset": Plain(call=_maybe(a.is_list)),
    "bytes": Plain(call=_maybe(a.is_list)),
    "bytearray": Plain(call=a.either(_maybe(a.is_bytes), a.signature(a.is_text, _LATIN1))),
    "complex": Plain(call=a.signature(a.is_number, a.is_number)),
    "object": Plain(call=a.nothing),
    "slice": Plain(call=a.signature(*[a.optional(a.is_int)] * 3)),
    "range": Plain(call=a.signature(a.is_int, a.is_int, a.is_int)),
    **dict.fromkeys(("int", "float", "bool", "str", "Ellipsis", "NotImplemented"), DATA),
}
_PATHS: Final = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")

PYTHON: Final[dict[tuple[str, str], Plain]] = {
    **{("builtins", name): plain for name, plain in _BUILTINS.items()},
    ("_codecs", "encode"): Plain(call=a.signature(a.is_text, _LATIN1)),
    ("copyreg", "_reconstructor"): Plain(
        call=a.signature(a.one_of("builtins.object", *_BAGS), a.one_of("builtins.object"), a.exactly(None)),
        state=_has_attributes,
    ),
    ("collections", "OrderedDict"): Plain(call=_maybe(_PAIRS), state=_has_metadata, takes=Kind.DICT),
    ("collections", "defaultdict"): Plain(call=_maybe(a.optional(_FACTORIES), _PAIRS), takes=Kind.DICT),
    ("collections", "Counter"): Plain(call=_maybe(_PAIRS), takes=Kind.DICT),
    ("collections", "deque"): Plain(call=_maybe(a.is_list, a.optional(a.is_size)), takes=Kind.LIST),
    ("argparse", "Namespace"): Plain(call=a.nothing, state=_has_attributes),
    ("types", "SimpleNamespace"): Plain(call=a.nothing, state=_has_attributes),
    ("datetime", "date"): Plain(call=a.signature(a.is_bytes)),
    ("datetime", "time"): Plain(call=a.signature(a.is_bytes, _TIMEZONE, needed=1)),
    ("datetime", "datetime"): Plain(call=a.signature(a.is_bytes, _TIMEZONE, needed=1)),
    ("datetime", "timedelta"): Plain(call=a.signature(a.is_int, a.is_int, a.is_int)),
    ("datetime", "timezone"): Plain(call=a.signature(a.made_by("datetime.timedelta"), a.is_text, needed=1)),
    ("decimal", "Decimal"): Plain(call=a.signature(_DECIMAL)),
    **{(module, name): Plain(call=_texts) for module in ("pathlib", "pathlib._local") for name in _PATHS},
}
