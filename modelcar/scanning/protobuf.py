"""Protocol buffers on the wire: fields against a table of the messages that a format has.

```
message: field …        field: varint (number << 3 | wire type) ‖ value
value:   0 varint   1 eight bytes   2 varint length ‖ bytes   5 four bytes
```

A field that a table does not list is skipped by every library and looked at by none: it is a finding.
Source: https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from modelcar.scanning.filescan import FileScan, Malformed
from modelcar.scanning.findings import Rule, Severity
from modelcar.scanning.limits import LimitExceeded

__all__ = ["RULES", "FieldType", "Occurrence", "Schema", "Wire", "fields_of"]

UNKNOWN_FIELD: Final = Rule(
    id="protobuf.unknown-field",
    severity=Severity.UNVERIFIED,
    title="a field that the format does not have",
    why="Libraries carry it along unseen; what is in it is known to whoever put it there.",
    fix="Have the file saved anew by the library that made it; if its format has grown, a newer modelcar may know it.",
)
RULES: Final = (UNKNOWN_FIELD,)

_WINDOW: Final = 1 << 16
_MAX_FIELDS: Final = 30_000_000  # of one file
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIZES: Final = {_FIXED64: 8, _FIXED32: 4}


@dataclass(frozen=True, slots=True)
class FieldType:
    """`name` as the format calls it; `kind` is `int`, `fixed32`, `fixed64`, `bytes` or the name of a message."""

    name: str
    kind: str

    def takes(self, wire_type: int) -> bool:
        if wire_type == _BYTES:
            return True  # numbers may be packed
        return wire_type == {"int": _VARINT, "fixed32": _FIXED32, "fixed64": _FIXED64}.get(self.kind)


Schema = Mapping[str, Mapping[int, FieldType]]


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A field as it stands in a message: its value at `[start, stop)` of the file, `number` where it is one varint."""

    field: FieldType
    start: int
    stop: int
    number: int = 0

    @property
    def size(self) -> int:
        return self.stop - self.start


def fields_of(text: str) -> dict[int, FieldType]:
    """A message's table from `1 name kind, 2 name kind, …`."""
    table = {}
    for entry in text.split(","):
        number, name, kind = entry.split()
        table[int(number)] = FieldType(name, kind)
    return table


class Wire:
    """Reads the messages of one file. Nothing of it is held but a window."""

    def __init__(self, scan: FileScan, schema: Schema) -> None:
        self._scan = scan
        self._schema = schema
        self._window = b""
        self._base = 0
        self._fields = 0

    def fields(self, message: str, start: int, stop: int) -> Iterator[Occurrence]:
        """The known fields of a message that lies at `[start, stop)`; unknown ones are reported.

        Raises:
            Malformed: it is no such message.
        """
        known = self._schema[message]
        position = start
        while position < stop:
            self._count()
            begin = position
            tag, position = self._varint(position, stop)
            wire_type, field = tag & 7, known.get(tag >> 3)
            number = 0
            if wire_type == _VARINT:
                value, (number, position) = position, self._varint(position, stop)
            elif wire_type == _BYTES:
                size, value = self._varint(position, stop)
                position = value + size
            elif wire_type in _SIZES:
                value, position = position, position + _SIZES[wire_type]
            else:
                raise Malformed(f"a field of the unknown wire type {wire_type}", begin)
            if position > stop:
                raise Malformed(f"a field reaches beyond its {message}", begin)
            if field is None:
                self._scan.found(UNKNOWN_FIELD, f"{tag >> 3} of {message}, {position - begin} bytes", offset=begin)
            elif not field.takes(wire_type):
                raise Malformed(f"{field.name} of {message} has the wrong wire type {wire_type}", begin)
            else:
                yield Occurrence(field, value, position, number)

    def text(self, occurrence: Occurrence, limit: int = 1 << 20) -> str:
        """What stands in a field of text.

        Raises:
            Malformed: it is longer than `limit` bytes, or not UTF-8.
        """
        if occurrence.size > limit:
            raise Malformed(f"a {occurrence.field.name} of {occurrence.size} bytes", occurrence.start)
        try:
            return self._scan.read(occurrence.start, occurrence.size).decode()
        except UnicodeDecodeError:
            raise Malformed(f"a {occurrence.field.name} that is not UTF-8", occurrence.start) from None

    def numbers(self, occurrence: Occurrence) -> list[int]:
        """The varints of a field that may be packed."""
        if occurrence.number or occurrence.stop == occurrence.start + 1:
            return [occurrence.number or self._varint(occurrence.start, occurrence.stop)[0]]
        numbers, position = [], occurrence.start
        while position < occurrence.stop:
            self._count()
            number, position = self._varint(position, occurrence.stop)
            numbers.append(number)
        return numbers

    def _count(self) -> None:
        self._fields += 1
        if self._fields % 10_000 == 0:
            self._scan.budget.check_time()
            if self._fields > _MAX_FIELDS:
                raise LimitExceeded(f"more than {_MAX_FIELDS} protobuf fields")

    def _varint(self, position: int, stop: int) -> tuple[int, int]:
        """The number at `position`, and where it ends."""
        at = position - self._base
        if not 0 <= at <= len(self._window) - 10:
            self._base, at = position, 0
            self._window = self._scan.content.read(position, _WINDOW)
        window = self._window
        if at < len(window) and window[at] < 0x80 and position < stop:
            return window[at], position + 1
        number = shift = 0
        for byte in window[at : at + 10]:
            position += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                if position > stop:
                    break
                return number & 0xFFFF_FFFF_FFFF_FFFF, position
            shift += 7
        raise Malformed("a number that does not end", position)
