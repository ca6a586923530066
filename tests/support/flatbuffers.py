"""A FlatBuffers reader of the simplest kind, by the format's own description; it checks alignment as it goes."""

from __future__ import annotations

import struct
from dataclasses import dataclass

__all__ = ["Table", "read_root"]

_ALIGNED = {"b": 1, "i": 4, "I": 4, "q": 8, "H": 2}


@dataclass(frozen=True, slots=True)
class Table:
    """A table at `at` of `data`; fields by their number."""

    data: bytes
    at: int

    def scalar(self, number: int, form: str, default: int = 0) -> int:
        place = self._place(number)
        return _read(self.data, place, form) if place else default

    def text(self, number: int) -> str:
        return self.octets(number).decode()

    def octets(self, number: int) -> bytes:
        place = self._follow(number)
        size = _read(self.data, place, "I")
        return self.data[place + 4 : place + 4 + size]

    def texts(self, number: int) -> list[str]:
        return [_string(self.data, place) for place in self._references(number)]

    def table(self, number: int) -> Table:
        return Table(self.data, self._follow(number))

    def tables(self, number: int) -> list[Table]:
        return [Table(self.data, place) for place in self._references(number)]

    def _place(self, number: int) -> int | None:
        layout = self.at - _read(self.data, self.at, "i")
        length, size = _read(self.data, layout, "H"), _read(self.data, layout + 2, "H")
        if 4 + 2 * number >= length:
            return None
        offset = _read(self.data, layout + 4 + 2 * number, "H")
        assert offset < size
        return self.at + offset if offset else None

    def _follow(self, number: int) -> int:
        place = self._place(number)
        assert place is not None, number
        return place + _read(self.data, place, "I")

    def _references(self, number: int) -> list[int]:
        place = self._follow(number)
        places = [place + 4 + 4 * i for i in range(_read(self.data, place, "I"))]
        return [each + _read(self.data, each, "I") for each in places]


def read_root(data: bytes) -> Table:
    return Table(data, _read(data, 0, "I"))


def _read(data: bytes, at: int, form: str) -> int:
    assert at % _ALIGNED[form] == 0, f"{form} at byte {at}"
    (value,) = struct.unpack_from(f"<{form}", data, at)
    assert isinstance(value, int)
    return value


def _string(data: bytes, at: int) -> str:
    size = _read(data, at, "I")
    assert data[at + 4 + size] == 0
    return data[at + 4 : at + 4 + size].decode()
