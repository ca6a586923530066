"""Frames that a read crosses: C's unpickler drops what is left of them where the file cannot be peeked into.

That is so for `io.BytesIO`, from which torch loads. To it the stream is the same without those bytes.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from modelcar.scanning.content import Content
from modelcar.scanning.filescan import Malformed
from modelcar.scanning.formats.pickles.machine import Found, Handler, Machine
from modelcar.scanning.formats.pickles.opcodes import OPCODES
from modelcar.scanning.limits import Budget

__all__ = ["walk_dropping"]

_MOST_CROSSINGS: Final = 4  # one behind the other
_HEADERS: Final = (0, 1, 4, 8)  # bytes that an opcode reads before the rest of its argument


def walk_dropping(content: Content, start: int, budget: Budget, found: Found, *, crossings: int = 0) -> None:
    """Walk the stream as it is without what the first crossing drops, for each place where that may begin."""
    crossing = _first_crossing(content, start, budget)
    if crossing is None or crossings >= _MOST_CROSSINGS:
        return
    opcode, end = crossing
    argument = opcode + 1
    rest = content.read(argument, min(end - argument, 4096)) if end > argument else b""
    behind_line = argument + rest.find(b"\n") + 1
    for cut in sorted({*(argument + header for header in _HEADERS), behind_line}):
        if argument <= cut < end:
            _walk_without(content, start, cut, end, budget, found, crossings)


def _walk_without(
    content: Content, start: int, cut: int, end: int, budget: Budget, found: Found, crossings: int
) -> None:
    dropped = end - cut

    def read_at(offset: int, n: int) -> bytes:
        before = content.read(offset, min(n, cut - offset)) if offset < cut else b""
        return before + content.read(max(offset, cut) + dropped, n - len(before))

    shorter = Content(read_at, content.size - dropped)
    machine = Machine(
        shorter,
        start,
        budget,
        lambda rule, detail, offset: found(rule, detail, offset if offset < cut else offset + dropped),
    )
    with suppress(Malformed):
        machine.run(OPCODES)
    if machine.crossed:
        walk_dropping(shorter, start, budget, machine.found, crossings=crossings + 1)


def _first_crossing(content: Content, start: int, budget: Budget) -> tuple[int, int] | None:
    """The opcode that crosses the end of its frame, and that end."""
    machine = Machine(content, start, budget, lambda *_: None)
    last = [start]

    def traced(handler: Handler) -> Handler:
        def trace(m: Machine, data: bytes, pos: int) -> int:
            if not m.crossed:
                last[0] = m.offset(pos)
            return handler(m, data, pos)

        return trace

    with suppress(Malformed):
        machine.run([traced(handler) for handler in OPCODES], until_crossed=True)
    return (last[0], machine.crossed) if machine.crossed else None
