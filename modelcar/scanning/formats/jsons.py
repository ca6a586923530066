"""JSON and JSON Lines: read strictly, then looked through for what makes programs run code."""

from __future__ import annotations

import json
import re
from itertools import chain
from typing import Any, Final

from modelcar.scanning.filescan import FileScan, Format, Malformed, Probe
from modelcar.scanning.findings import Rule, Severity, shown
from modelcar.scanning.formats.templates import report_templates
from modelcar.scanning.limits import LimitExceeded
from modelcar.scanning.references import KEYS, expressions_in, references_in
from modelcar.scanning.secrets import report_secrets
from modelcar.scanning.texts import decoded

__all__ = ["FORMATS", "LONGEST", "RULES", "read_json"]

DUPLICATE: Final = Rule(
    id="json.duplicate-key",
    severity=Severity.UNVERIFIED,
    title="a JSON object has the same key twice",
    why="One program takes the first, another the last: what was checked need not be what is used.",
    fix="Remove one of them.",
)
NOT_A_NUMBER: Final = Rule(
    id="json.not-a-number",
    severity=Severity.NOTE,
    title="JSON with NaN or Infinity",
    why="The format has no such numbers: some programs refuse the file.",
    fix="Replace them by numbers, or by null.",
)
RULES: Final = (DUPLICATE, NOT_A_NUMBER)

LONGEST: Final = 128 << 20  # bytes of a document; the largest tokenizers have some 35 million
_LONGEST_LINE: Final = 16 << 20
_MAX_VALUES: Final = 5_000_000  # of a document; the largest tokenizers have some 2 million
_MAX_REPORTS: Final = 50
_MOST_DIGITS: Final = 4000
_LINES: Final = (".jsonl", ".ndjson")
_ESCAPED: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)++"', re.DOTALL)


class _Objects:
    """Looks at each object of a document as it is built, innermost first."""

    def __init__(self, scan: FileScan) -> None:
        self._scan = scan
        self._reports = 0
        self._steps = 0

    def build(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        self._steps += 1
        if self._steps % 10_000 == 0:
            self._scan.budget.check_time()
        members = dict(pairs)
        if len(members) < len(pairs):
            self._report(DUPLICATE, _repeated(pairs))
        if not KEYS.isdisjoint(members):
            for rule, detail in references_in(members):
                self._report(rule, detail)
        for key, value in pairs:
            if "template" in key and isinstance(value, str | list | dict):
                report_templates(self._scan, key, value)
        return members

    def constant(self, name: str) -> float:
        self._report(NOT_A_NUMBER, name)
        return float(name.replace("Infinity", "inf"))

    def _report(self, rule: Rule, detail: str) -> None:
        if rule.severity is Severity.MALICIOUS or self._reports < _MAX_REPORTS:
            self._reports += 1
            self._scan.found(rule, detail)


def _integer(digits: str) -> int:
    """A number; those of thousands of digits are read by some Pythons and refused by others."""
    if len(digits) > _MOST_DIGITS:
        raise LimitExceeded(f"a number of {len(digits)} digits")
    return int(digits)


def _repeated(pairs: list[tuple[str, Any]]) -> str:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            return shown(key)
        seen.add(key)
    return ""


def read_json(scan: FileScan, data: bytes, offset: int = 0) -> Any:
    """The document that `data` is, which lies at `offset` of the file; reports what is found in it, secrets included.

    Raises:
        Malformed: it is not strict JSON in UTF-8.
        LimitExceeded: it holds too many values.
    """
    # Each value but the first follows one of these, so this bounds what the decoder can allocate.
    if data.count(b",") + data.count(b"[") + data.count(b"{") > _MAX_VALUES:
        raise LimitExceeded(f"it may hold more than {_MAX_VALUES} JSON values")
    text = decoded(data)
    report_secrets(scan, data, offset)
    for rule, detail in expressions_in(data):
        scan.found(rule, detail)
    objects = _Objects(scan)
    try:
        document = json.loads(
            text, object_pairs_hook=objects.build, parse_constant=objects.constant, parse_int=_integer
        )
    except json.JSONDecodeError as e:
        raise Malformed(f"it is not JSON: {e.msg}", offset + len(text[: e.pos].encode(errors="replace"))) from None
    except ValueError as e:
        raise Malformed(f"it is not JSON: {shown(str(e))}") from None
    _report_escaped_secrets(scan, data)
    return document


def _report_escaped_secrets(scan: FileScan, data: bytes) -> None:
    """A secret with a character written as `\\u0068` is none to who looks at the bytes, and one to every program."""
    texts = [json.loads(match[0]) for match in _ESCAPED.finditer(data) if b"\\u" in match[0] or b"\\/" in match[0]]
    if texts:
        report_secrets(scan, "\n".join(texts).encode(errors="replace"), None)


def _matches(probe: Probe) -> bool:
    return probe.name.endswith((".json", *_LINES))


def _scan(scan: FileScan) -> None:
    if scan.name.lower().endswith(_LINES):
        _scan_lines(scan)
    elif scan.size > LONGEST:
        raise LimitExceeded(f"a JSON document of {scan.size} bytes; the limit is {LONGEST}")
    else:
        read_json(scan, scan.read_all())
    scan.account_for_all()


def _scan_lines(scan: FileScan) -> None:
    offset, rest = 0, b""
    for piece in chain(scan.content.pieces(), [b"\n"]):
        *lines, rest = (rest + piece).split(b"\n")
        if len(rest) > _LONGEST_LINE:
            raise LimitExceeded(f"a line of more than {_LONGEST_LINE} bytes")
        for line in lines:
            if line.strip():
                read_json(scan, line, offset)
            offset += len(line) + 1


FORMATS: Final = (Format(name="json", matches=_matches, scan=_scan),)
