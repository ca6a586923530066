"""What an unpickler's stack would hold: known where it is a constant, a name or a container, else only its kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

__all__ = [
    "DATA",
    "OPAQUE",
    "Blob",
    "Box",
    "Global",
    "Instance",
    "Kind",
    "Opaque",
    "PersistentId",
    "Plain",
    "Value",
    "constant",
    "items_of",
]

Value = object
"""One value on the stack.

`str`, `int`, `float`, `bool` and `None` stand for themselves, tuples for tuples of values. `bytes` are a *token*:
short text or bytes as they are written, opcode and all, which `constant` reads when somebody asks. All other
values have classes of their own below.
"""


class Kind(Enum):
    """What a `Box` or a `Blob` is in Python."""

    LIST = "list"
    DICT = "dict"
    SET = "set"
    FROZENSET = "frozenset"
    TEXT = "str"
    BYTES = "bytes"
    BYTEARRAY = "bytearray"
    QUOTED = "quoted str"


class Opaque:
    """A value whose kind is all that matters: a huge number, an object from outside the stream."""

    __slots__ = ()


OPAQUE: Final = Opaque()


@dataclass(slots=True, eq=False)
class Global:
    """Something imported.

    Attributes:
        key: the module, and the name in it, which may have dots; as they are called today.
        plain: what may be done with it if it is vetted.
    """

    key: tuple[str, str]
    plain: Plain | None = None

    def __str__(self) -> str:
        return ".".join(self.key)


@dataclass(slots=True, eq=False)
class Blob:
    """A constant that is too long to be kept: it lies at `[start, start + size)` of the file."""

    kind: Kind
    start: int
    size: int


@dataclass(slots=True, eq=False)
class Box:
    """A mutable container. `items` alternates keys and values in a dict; `cut` says that it holds `more` than those."""

    kind: Kind
    items: list[Value] = field(default_factory=list)
    cut: bool = False
    more: int = 0


@dataclass(slots=True, eq=False)
class Instance:
    """What calling `of` with `args` returns.

    Attributes:
        args: `None` where they are unknown.
        state: what was last given to it to restore itself from.
        built: whether that happened.
        filled: whether items were added to it.
    """

    of: Value
    args: tuple[Value, ...] | None
    state: Value = None
    built: bool = False
    filled: bool = False


@dataclass(slots=True, kw_only=True, eq=False)
class PersistentId:
    """An object that the loader looks up by `key`; `offset` is that of the opcode."""

    key: Value
    offset: int


# Length of opcode and counter, and what follows them: by the opcode of a token.
_COUNTED: Final = {
    0x8C: (2, Kind.TEXT),
    0x58: (5, Kind.TEXT),
    0x8D: (9, Kind.TEXT),
    0x43: (2, Kind.BYTES),
    0x42: (5, Kind.BYTES),
    0x8E: (9, Kind.BYTES),
    0x96: (9, Kind.BYTEARRAY),
    0x55: (2, None),  # a str of Python 2: text or bytes, as the caller of the unpickler wishes
    0x54: (5, None),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """What may be done with a global.

    Attributes:
        call: whether it may be called with these arguments; `None`: never.
        state: whether a result may be restored from this state; `None`: never.
        takes: whether items may be added to a result, as to which container.
        nested: its first argument is a pickle itself, which is scanned as such.
    """

    call: Callable[[tuple[Value, ...]], bool] | None = None
    state: Callable[[Instance, Value], bool] | None = None
    takes: Kind | None = None
    nested: bool = False


DATA = Plain()
"""A type or constant that is only mentioned."""


def constant(value: Value) -> Value:
    """What a token stands for; every other value is itself. Bytes come out as `bytes`, strs of Python 2 as `str`.

    Text that no unpickler would take comes out as `OPAQUE`.
    """
    if not isinstance(value, bytes):
        return value
    skip, kind = _COUNTED[value[0]]
    data = value[skip:]
    if kind is None:
        return data.decode("latin-1")
    if kind is not Kind.TEXT:
        return data
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return OPAQUE


def items_of(value: Value) -> Sequence[Value] | None:
    """The items of a tuple or list that is known as a whole; `None` for everything else."""
    if isinstance(value, tuple):
        return value
    if isinstance(value, Box) and value.kind is Kind.LIST and not value.cut:
        return value.items
    return None
