"""The table of all opcodes."""

from __future__ import annotations

from typing import Final

from modelcar.scanning.formats.pickles import constants, objects, stack
from modelcar.scanning.formats.pickles.machine import Handler, Machine

__all__ = ["OPCODES"]


def _unknown(m: Machine, data: bytes, pos: int) -> int:
    raise m.malformed(f"byte 0x{data[pos - 1]:02x} is no opcode", pos)


def _table() -> tuple[Handler, ...]:
    known = {**constants.HANDLERS, **stack.HANDLERS, **objects.HANDLERS}
    return tuple(known.get(bytes([code]), _unknown) for code in range(256))


OPCODES: Final = _table()
