"""What can be found in a template."""

from __future__ import annotations

from typing import Final

from modelcar.scanning.findings import Rule, Severity

__all__ = ["ATTACK", "BEYOND", "CONCEALED", "INVISIBLE", "RULES", "UNREADABLE"]

ATTACK: Final = Rule(
    id="template.attack",
    severity=Severity.MALICIOUS,
    title="a template that reaches into Python",
    why="Programs that render it outside a sandbox run it with the first message (CVE-2024-34359, CVE-2026-5760).",
    fix="Do not use this model with any program; report it to where it came from.",
)
BEYOND: Final = Rule(
    id="template.beyond-subset",
    severity=Severity.UNVERIFIED,
    title="a template uses more of Jinja than conversations need",
    why="Only the part of Jinja that chat templates need is known to do nothing but write text.",
    fix="Read the template; if it is honest, rewrite that place with plain tests, loops and keys.",
)
UNREADABLE: Final = Rule(
    id="template.unreadable",
    severity=Severity.UNVERIFIED,
    title="a template that Jinja cannot parse",
    why="What it does in a program with other ideas of Jinja is not known.",
    fix="Mend the template, or ask its author to.",
)
CONCEALED: Final = Rule(
    id="template.concealed-text",
    severity=Severity.UNVERIFIED,
    title="a template with characters that hide or reorder text",
    why="What a person reads in it is not what a program reads.",
    fix="Remove the characters, and read what was hidden.",
)
INVISIBLE: Final = Rule(
    id="template.invisible-characters",
    severity=Severity.NOTE,
    title="a template with characters of no width",
    why="They cannot be seen, and change what a model is told.",
    fix="Look whether they belong there.",
)
RULES: Final = (ATTACK, BEYOND, UNREADABLE, CONCEALED, INVISIBLE)
