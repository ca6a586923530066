"""What loading a pickle would return, as far as the scanner's machine can know it without running anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from modelcar.scanning.content import Content
from modelcar.scanning.filescan import Malformed
from modelcar.scanning.formats.pickles.machine import Handler, Machine
from modelcar.scanning.formats.pickles.opcodes import OPCODES
from modelcar.scanning.formats.pickles.values import Blob, Box, Global, Instance, Kind, Value, constant, items_of
from modelcar.scanning.limits import LimitExceeded

__all__ = ["Unpickled", "kind_of"]

_MOST_ITEMS: Final = 2_000_000
_LONGEST_NAME: Final = 64 << 10  # bytes
_SETITEM: Final = ord("s")
_SETITEMS: Final = ord("u")
_DICTS: Final = frozenset({("collections", "OrderedDict"), ("collections", "defaultdict"), ("builtins", "dict")})


@dataclass(slots=True)
class Unpickled:
    """Values of one stream. The machine forgets what is put into an OrderedDict: `handlers` have it remembered here."""

    content: Content
    result: Value = None
    _filled: dict[int, tuple[Instance, list[Value]]] = field(default_factory=dict)
    _kept: int = 0

    @property
    def handlers(self) -> tuple[Handler, ...]:
        """Of all opcodes, for the machine that walks the stream."""
        table = list(OPCODES)
        set_item, set_items = table[_SETITEM], table[_SETITEMS]

        def item(m: Machine, data: bytes, pos: int) -> int:
            self._keep(m.stack[-3], m.stack[-2:])
            return set_item(m, data, pos)

        def items(m: Machine, data: bytes, pos: int) -> int:
            self._keep(m.below[-1][-1], m.stack)
            return set_items(m, data, pos)

        table[_SETITEM], table[_SETITEMS] = item, items
        return tuple(table)

    def _keep(self, target: Value, items: Sequence[Value]) -> None:
        if isinstance(target, Instance):
            self._kept += len(items)
            if self._kept > _MOST_ITEMS:
                raise LimitExceeded(f"its dicts hold more than {_MOST_ITEMS // 2} entries")
            self._filled.setdefault(id(target), (target, []))[1].extend(items)

    def pairs(self, value: Value) -> list[tuple[Value, Value]] | None:
        """Keys and values of a dict of any kind, in order; `None` for what is none.

        Raises:
            Malformed: a key has no value.
            LimitExceeded: it holds more than the machine keeps.
        """
        if isinstance(value, Box) and value.kind is Kind.DICT:
            if value.cut:
                raise LimitExceeded("its dicts hold more than is kept of them")
            return _in_pairs(value.items)
        if not (isinstance(value, Instance) and isinstance(value.of, Global) and value.of.key in _DICTS):
            return None
        first = [pair for argument in value.args or () for pair in self._initial(argument)]
        return first + _in_pairs(self._filled.get(id(value), (value, []))[1])

    def _initial(self, argument: Value) -> list[tuple[Value, Value]]:
        """What a dict was made from: another one, or a list of pairs, as Python 2 wrote it."""
        listed = items_of(argument)
        if listed is None:
            return self.pairs(argument) or [] if isinstance(argument, Box) else []
        pairs = []
        for item in listed:
            pair = items_of(item)
            if pair is None or len(pair) != 2:
                raise Malformed("a dict is made from what are no pairs")
            pairs.append((pair[0], pair[1]))
        return pairs

    def text(self, value: Value) -> str | None:
        """A text of reasonable length; `None` for everything else."""
        if isinstance(value, Blob):
            if value.kind is not Kind.TEXT or value.size > _LONGEST_NAME:
                return None
            return self.content.read(value.start, value.size).decode("utf-8", "surrogatepass")
        known = constant(value)
        return known if isinstance(known, str) else None


def _in_pairs(items: Sequence[Value]) -> list[tuple[Value, Value]]:
    if len(items) % 2:
        raise Malformed("a key has no value")
    return list(zip(items[::2], items[1::2], strict=True))


def kind_of(value: Value) -> str:
    """What a value is, in a word or two, for people."""
    if isinstance(value, Instance):
        return str(value.of) if isinstance(value.of, Global) else "object"
    if isinstance(value, Global):
        return str(value)
    if isinstance(value, (Box, Blob)):
        return value.kind.value
    known = constant(value)
    return "None" if known is None else type(known).__name__.lower()
