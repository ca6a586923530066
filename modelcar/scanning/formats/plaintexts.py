"""Texts that nothing executes: cards, licences, vocabularies, tables, settings."""

from __future__ import annotations

import re
from typing import Final

from modelcar.scanning.filescan import FileScan, Format, Probe
from modelcar.scanning.findings import Rule, Severity
from modelcar.scanning.references import logging_in
from modelcar.scanning.secrets import report_secrets_in_pieces
from modelcar.scanning.texts import ESCAPES, inspected

__all__ = ["FORMATS", "RULES"]

FOREIGN_PACKAGES: Final = Rule(
    id="text.foreign-packages",
    severity=Severity.NOTE,
    title="a list of packages names other sources than the usual index",
    why="What is installed from there is code that nobody has looked at, under a name that may be somebody else's.",
    fix="Look at the source, or install the packages from the usual index.",
)
_ENDINGS: Final = (
    ".bib", ".cff", ".cfg", ".conf", ".csv", ".dict", ".ini", ".license", ".log", ".markdown", ".md", ".merges",
    ".properties", ".rst", ".text", ".toml", ".tsv", ".txt", ".vocab",
)  # fmt: skip
_NAMES: Final = frozenset(
    {
        ".editorconfig", ".gitattributes", ".gitignore", ".gitkeep", ".hfignore", ".npmrc", ".dockerignore", ".netrc",
        ".pypirc", ".env", "authors", "changelog", "citation", "codeowners", "contributors", "copying", "copyright",
        "credits", "licence", "license", "merges", "notice", "notices", "patents", "readme", "vocab", "vocabulary",
        "use_policy",
    }
)  # fmt: skip
_LICENCE: Final = re.compile(r"(?:licen[cs]e|notice|copying)[-_.][a-z0-9._-]{1,60}|[a-z0-9._-]{1,60}[-_]licen[cs]e")
_CODE: Final = (".py", ".sh", ".js", ".exe", ".dll", ".so", ".bat", ".ps1", ".html", ".htm", ".json", ".yaml", ".yml")
_FOREIGN: Final = re.compile(
    rb"(?mi)^[ \t]{0,8}(?:(?:--extra-index-url|--index-url|--find-links|--trusted-host|-[if])[ \t=]\S|-e[ \t]{1,4}\S"
    rb"|(?:git|hg|svn)\+\S|https?://|[a-z0-9._\[\],-]{1,80}[ \t]{0,4}@[ \t]{0,4}(?:git\+|https?:|file:))"
)
_PACKAGES: Final = re.compile(r"(?:.*requirements.*|constraints.*)\.txt|pyproject\.toml|setup\.cfg")
_SETTINGS: Final = (".cfg", ".conf", ".ini", ".properties")
_LONGEST_SETTINGS: Final = 1 << 20  # bytes
_KEPT: Final = 512  # bytes of a piece that the next one is looked at together with


def _matches(probe: Probe) -> bool:
    name = probe.name
    if name.endswith(_CODE) or name == "cmakelists.txt":
        return False
    return name.endswith(_ENDINGS) or name in _NAMES or _LICENCE.fullmatch(name) is not None


def _scan(scan: FileScan) -> None:
    if scan.name.lower().endswith(_SETTINGS):
        for rule, detail in logging_in(scan.content.read(0, _LONGEST_SETTINGS)):
            scan.found(rule, detail)
    lists_packages = _PACKAGES.fullmatch(scan.name.rpartition("/")[2].lower()) is not None
    reported, kept, offset = False, b"", 0

    def looked_through(piece: bytes) -> bytes:
        nonlocal reported, kept, offset
        match = None if reported or not lists_packages else _FOREIGN.search(kept + piece)
        if match is not None:
            reported = True
            scan.found(FOREIGN_PACKAGES, offset=offset - len(kept) + match.start())
        kept, offset = piece[-_KEPT:], offset + len(piece)
        return piece

    report_secrets_in_pieces(scan, map(looked_through, inspected(scan)))
    scan.account_for_all()


FORMATS: Final = (Format(name="text", matches=_matches, scan=_scan),)
RULES: Final = (FOREIGN_PACKAGES, ESCAPES)
