"""Walking one stream of opcodes: everything that loading it would import, call and change is judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from modelcar.scanning.filescan import FileScan, Malformed
from modelcar.scanning.findings import Rule, Severity
from modelcar.scanning.formats.pickles.frames import walk_dropping
from modelcar.scanning.formats.pickles.machine import Handler, Machine
from modelcar.scanning.formats.pickles.nested import scan_nested
from modelcar.scanning.formats.pickles.opcodes import OPCODES
from modelcar.scanning.formats.pickles.rules import DANGEROUS, EXHAUSTS, HIDDEN, NOT_CANONICAL, UNKNOWN
from modelcar.scanning.formats.pickles.sharing import excess
from modelcar.scanning.formats.pickles.values import PersistentId, Value

__all__ = ["Walked", "walk"]

_MOST_RESUMED: Final = 16
_MOST_FINDINGS: Final = 100  # of one severity in one stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Walked:
    """One stream, from the first opcode to STOP.

    Attributes:
        start, end: bytes; the stream is `[start, end)`.
        result: what loading it would return, as far as that is known.
        persistent: every persistent id, in the order of the stream.
        memo: what an unpickler remembers that goes on to the next stream.
    """

    start: int
    end: int
    result: Value
    persistent: tuple[PersistentId, ...]
    memo: dict[int, Value]


@dataclass(slots=True)
class _Reporter:
    """Passes findings on, each once, and not without end.

    `otherwise`: the stream is read in another way than most programs do, so that only what it imports matters.
    """

    scan: FileScan
    otherwise: bool = False
    seen: set[tuple[str, str]] = field(default_factory=set)
    counts: Counter[Severity] = field(default_factory=Counter)

    def __call__(self, rule: Rule, detail: str, offset: int) -> None:
        if self.otherwise:
            if rule in (UNKNOWN, HIDDEN):
                rule, detail = NOT_CANONICAL, f"another unpickler would import something else: {detail}"
            elif rule is not DANGEROUS:
                return
        if self.counts[rule.severity] >= _MOST_FINDINGS or (rule.id, detail) in self.seen:
            return
        self.seen.add((rule.id, detail))
        self.counts[rule.severity] += 1
        self.scan.found(rule, detail, offset=offset)


def walk(
    scan: FileScan,
    start: int = 0,
    *,
    memo: dict[int, Value] | None = None,
    handlers: Sequence[Handler] = OPCODES,
) -> Walked:
    """Walk the stream that begins at `start`: report what is found in it, account for its bytes.

    Args:
        memo: what an unpickler remembers that has loaded the streams before it. It is reported, too, what the stream
            would import if read with that.
        handlers: of the opcodes, for who wants to know more than what is found.

    Raises:
        Malformed: it breaks there; what came before has been reported.
        LimitExceeded: it is larger, or takes longer, than a scan may.
    """
    machine = Machine(scan.content, start, scan.budget, _Reporter(scan))
    try:
        machine.run(handlers)
    finally:
        scan_nested(scan, machine)
        if too_much := excess([machine.result, *machine.memo.values()]):
            scan.found(EXHAUSTS, too_much, offset=start)
        if machine.crossed:
            walk_dropping(scan.content, start, scan.budget, _Reporter(scan, otherwise=True))
        if machine.resumes:
            _walk_on(scan, machine.resumes)
        if machine.arrays:
            _walk_otherwise(scan, start, None)
    if memo:
        _walk_otherwise(scan, start, memo)
    scan.account(start, machine.end - start)
    return Walked(
        start=start,
        end=machine.end,
        result=machine.result,
        persistent=tuple(machine.persistent),
        memo=machine.memo,
    )


def _walk_otherwise(scan: FileScan, start: int, memo: dict[int, Value] | None) -> None:
    """As an unpickler does that keeps its memo, or knows nothing of arrays. Where it fails it does no more harm."""
    machine = Machine(scan.content, start, scan.budget, _Reporter(scan, otherwise=True), memo=memo, reads_arrays=False)
    with suppress(Malformed):
        machine.run(OPCODES)


def _walk_on(scan: FileScan, start: int) -> None:
    """The streams from there on, as unpicklers come upon them that read whole frames."""
    found = _Reporter(scan, otherwise=True)
    for _ in range(_MOST_RESUMED):
        machine = Machine(scan.content, start, scan.budget, found)
        try:
            machine.run(OPCODES)
        except Malformed:
            return
        start = machine.resumes or machine.end
