"""Chat templates, in files of their own and wherever another format holds one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from modelcar.scanning.filescan import FileScan, Format, Probe
from modelcar.scanning.findings import shown
from modelcar.scanning.secrets import report_secrets
from modelcar.scanning.templates import MAX_TEMPLATE
from modelcar.scanning.templates.rules import ATTACK, RULES
from modelcar.scanning.texts import decoded

__all__ = ["FORMATS", "RULES", "report_template", "report_templates"]

_MARKS: Final = ("{%", "{{")


def report_template(scan: FileScan, source: str, where: str = "", *, attacks_only: bool = False) -> None:
    """Report what is wrong with a template; `where` says which one of the file it is."""
    from modelcar.scanning.templates.judge import judge_template  # Jinja takes 50 ms to import

    beginning = f"{shown(where)[1:-1]}, " if where else ""
    for remark in judge_template(source, scan.budget.check_time):
        if not attacks_only or remark.rule is ATTACK:
            scan.found(remark.rule, f"{beginning}line {remark.line}: {remark.detail}")


def report_templates(scan: FileScan, key: str, value: Any) -> None:
    """The same for whatever templates a document has under `key`."""
    for name, source in _sources(key, value):
        # under other names it may be for another engine, so only what is an attack in any of them counts
        is_chat = key.endswith(("chat_template", "chat_templates"))
        if is_chat or any(mark in source for mark in _MARKS):
            report_template(scan, source, name, attacks_only=not is_chat)


def _sources(key: str, value: Any) -> Iterator[tuple[str, str]]:
    """Templates are a text, texts by their names, or a list of objects with a name and a template."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        yield from ((f"{key} {name}", source) for name, source in value.items() if isinstance(source, str))
    elif isinstance(value, list):
        named = (each for each in value if isinstance(each, dict))
        yield from (
            (f"{key} {each.get('name')}", source)
            for each in named
            for source in each.values()
            if isinstance(source, str) and any(mark in source for mark in _MARKS)
        )
        yield from ((key, source) for source in value if isinstance(source, str))


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
