"""Jupyter notebooks: JSON whose cells are code, and whose outputs may be pages with scripts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from modelcar.scanning.filescan import FileScan, Format, Malformed, Probe
from modelcar.scanning.findings import Rule, Severity
from modelcar.scanning.formats.codes import report_python, report_shells
from modelcar.scanning.formats.jsons import LONGEST, read_json
from modelcar.scanning.limits import LimitExceeded

__all__ = ["FORMATS", "RULES"]

NOTEBOOK: Final = Rule(
    id="code.notebook",
    severity=Severity.UNVERIFIED,
    title="a notebook with code",
    why="Its cells are made to be run, and its outputs can hold scripts that run when it is opened.",
    fix="Leave it out of the image (--exclude '*.ipynb'): serving a model does not need it.",
)
RULES: Final = (NOTEBOOK,)


def _matches(probe: Probe) -> bool:
    return probe.name.endswith(".ipynb")


def _scan(scan: FileScan) -> None:
    if scan.size > LONGEST:
        raise LimitExceeded(f"a notebook of {scan.size} bytes; the limit is {LONGEST}")
    document = read_json(scan, scan.read_all())
    if not isinstance(document, dict):
        raise Malformed("it is no notebook: no JSON object")
    scan.account_for_all()
    cells = list(_cells(document))
    if any(cell.get("cell_type") != "markdown" or cell.get("attachments") for cell in cells):
        scan.found(NOTEBOOK)
    for number, cell in enumerate(cells, start=1):
        scan.budget.check_time()
        if cell.get("cell_type") == "code":
            source = _text(cell.get("source", cell.get("input"))).encode(errors="replace")
            report_shells(scan, source, None)
            report_python(scan, _without_magic(source), f"cell {number}, ")


def _cells(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Of version 4, and of version 3 with its worksheets."""
    sheets = document.get("worksheets")
    for holder in (document, *(sheets if isinstance(sheets, list) else ())):
        cells = holder.get("cells") if isinstance(holder, dict) else None
        yield from (cell for cell in (cells if isinstance(cells, list) else ()) if isinstance(cell, dict))


def _text(source: Any) -> str:
    if isinstance(source, list):
        return "".join(line for line in source if isinstance(line, str))
    return source if isinstance(source, str) else ""


def _without_magic(source: bytes) -> bytes:
    """Python without IPython's own commands, with the same lines."""
    lines = source.split(b"\n")
    return b"\n".join(b"" if line.lstrip().startswith((b"!", b"%", b"?")) else line for line in lines)


FORMATS: Final = (Format(name="notebook", matches=_matches, scan=_scan),)
