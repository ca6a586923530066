"""Walking one stream of opcodes: everything that loading it would import, call and change is judged."""

from __future__ import annotations

from dataclasses import dataclass

from modelcar.scanning.filescan import FileScan, Malformed
from modelcar.scanning.formats.pickles.values import PersistentId, Value

__all__ = ["Walked", "walk"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Walked:
    """One stream, from the first opcode to STOP.

    Attributes:
        start, end: bytes; the stream is `[start, end)`.
        result: what loading it would return, as far as that is known.
        persistent: every persistent id, in the order of the stream.
    """

    start: int
    end: int
    result: Value
    persistent: tuple[PersistentId, ...]


def walk(scan: FileScan, start: int = 0) -> Walked:
    """Walk the stream that begins at `start`: report what is found in it, account for its bytes.

    Raises:
        Malformed: it breaks there; what came before has been reported.
        LimitExceeded: it is larger, or takes longer, than a scan may.
    """
    del scan
    raise Malformed("pickles are not walked yet", start)
