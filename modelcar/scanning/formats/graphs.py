"""TensorFlow's graphs: programs, never clean; what reaches beyond a graph is found by the names of its operators."""

from __future__ import annotations

import re
from typing import Final

from modelcar.scanning.filescan import FileScan, Format, Probe
from modelcar.scanning.findings import Rule, Severity, shown

__all__ = ["FORMATS", "RULES"]

GRAPH: Final = Rule(
    id="tensorflow.graph",
    severity=Severity.UNVERIFIED,
    title="a graph of TensorFlow",
    why="A graph is a program: whoever loads or calls it runs its operators, of which some read and write files.",
    fix="Ship the weights alone, as safetensors, or run the graph only where it can do no harm.",
)
OPERATOR: Final = Rule(
    id="tensorflow.dangerous-operator",
    severity=Severity.MALICIOUS,
    title="an operator that reads or writes files, or calls Python",
    why="When the graph runs, it reads, lists or writes any file that its process may, or runs code.",
    fix="Do not load this model; a graph for inference needs no such operator.",
)
RULES: Final = (GRAPH, OPERATOR)
_OPERATORS: Final = ("ReadFile", "WriteFile", "MatchingFiles", "PyFunc", "PyFuncStateless", "EagerPyFunc")


def _varint(value: int) -> bytes:
    """A small number as a protocol buffer may write it: also with bytes that add nothing."""
    return rb"(?:%b|%b\x80{0,8}\x00)" % (re.escape(bytes([value])), re.escape(bytes([value | 0x80])))


# `NodeDef.op` is field 2; in the form for people it says so.
_NAMED: Final = re.compile(
    b"|".join(
        rb"%b%b(?P<b%d>%b)|\bop\s{0,20}:\s{0,20}[\"'](?P<t%d>%b)[\"']"
        % (_varint(0x12), _varint(len(name)), i, name.encode(), i, name.encode())
        for i, name in enumerate(_OPERATORS)
    )
)
_OVERLAP: Final = 128  # bytes; longer than any match
_PIECE: Final = 1 << 20


def _matches(probe: Probe) -> bool:
    """A SavedModel by its version and first graph; graphs alone have no signature."""
    return probe.name.endswith((".pb", ".pbtxt")) or re.match(rb"\x08\x01\x12[^\x00]{1,10}\x0a", probe.head) is not None


def _scan(scan: FileScan) -> None:
    scan.account_for_all()
    scan.found(GRAPH)
    found: set[str] = set()
    for start in range(0, scan.size, _PIECE):
        scan.budget.check_time()
        for match in _NAMED.finditer(scan.content.read(start, _PIECE + _OVERLAP)):
            name = match[str(match.lastgroup)].decode()
            if name not in found:
                found.add(name)
                scan.found(OPERATOR, shown(name), offset=start + match.start())


FORMATS: Final = (Format(name="tensorflow", matches=_matches, scan=_scan),)
