"""Chat templates, in files of their own and wherever another format holds one."""

from __future__ import annotations

from typing import Final

from modelcar.scanning.filescan import FileScan, Format, Probe
from modelcar.scanning.findings import shown
from modelcar.scanning.secrets import report_secrets
from modelcar.scanning.templates import MAX_TEMPLATE
from modelcar.scanning.templates.rules import ATTACK, RULES
from modelcar.scanning.texts import decoded

__all__ = ["FORMATS", "RULES", "report_template"]


def report_template(scan: FileScan, source: str, where: str = "", *, attacks_only: bool = False) -> None:
    """Report what is wrong with a template; `where` says which one of the file it is."""
    from modelcar.scanning.templates.judge import judge_template  # Jinja takes 50 ms to import

    beginning = f"{shown(where)[1:-1]}, " if where else ""
    for remark in judge_template(source, scan.budget.check_time):
        if not attacks_only or remark.rule is ATTACK:
            scan.found(remark.rule, f"{beginning}line {remark.line}: {remark.detail}")


def _matches(probe: Probe) -> bool:
    return probe.name.endswith((".jinja", ".jinja2", ".j2"))


def _scan(scan: FileScan) -> None:
    # one character has at most four bytes, and a mark of the byte order three
    data = scan.read(0, min(scan.size, 4 * MAX_TEMPLATE + 4))
    if len(data) == scan.size:
        text = decoded(data)
        scan.account_for_all()
        report_template(scan, text)
        report_secrets(scan, data)


FORMATS: Final = (Format(name="jinja", matches=_matches, scan=_scan),)
