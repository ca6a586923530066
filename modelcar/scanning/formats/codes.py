"""Program text: Python, scripts, sources of other languages, and pages that hold scripts."""

from __future__ import annotations

import re
from typing import Final

from modelcar.scanning.filescan import FileScan, Format, Probe
from modelcar.scanning.findings import Rule, Severity
from modelcar.scanning.secrets import report_secrets_in_pieces
from modelcar.scanning.sources.python import MAX_SOURCE, sightings
from modelcar.scanning.sources.shells import attack_in

__all__ = ["FORMATS", "RULES", "report_python", "report_shells"]

CUSTOM: Final = Rule(
    id="code.custom",
    severity=Severity.UNVERIFIED,
    title="Python code",
    why="With trust_remote_code it has all rights of the program that loads the model; no scan can vouch for code.",
    fix="Read it, or leave it out (--exclude) and use a model whose class is part of the library.",
)
SCRIPT: Final = Rule(
    id="code.script",
    severity=Severity.UNVERIFIED,
    title="a script or program text",
    why="It is made to be run, and no scan can vouch for code.",
    fix="Read it, or leave it out of the image (--exclude): serving a model does not need it.",
)
RUNS: Final = Rule(
    id="code.runs-at-import",
    severity=Severity.UNVERIFIED,
    title="code that does more than define things when it is imported",
    why="Commands, connections and evaluated text have no place in the definition of a model.",
    fix="Read that line first.",
)
ATTACK: Final = Rule(
    id="code.attack",
    severity=Severity.MALICIOUS,
    title="code of a shape that only attacks have",
    why="It runs what is hidden in it or fetched from elsewhere, or hands a shell to somebody else.",
    fix="Do not run or load anything of this model; report it to where it came from.",
)
RULES: Final = (CUSTOM, SCRIPT, RUNS, ATTACK)

_PYTHON: Final = (".py", ".pyi", ".pyw")
_SCRIPTS: Final = (
    ".awk", ".bash", ".bat", ".c", ".cc", ".cgi", ".cjs", ".cl", ".cmd", ".cpp", ".cs", ".csh", ".cu", ".cuh", ".cxx",
    ".desktop", ".fish", ".go", ".groovy", ".h", ".hpp", ".hta", ".htm", ".html", ".inl", ".java", ".jl", ".js",
    ".jsx", ".kt", ".ksh", ".lua", ".m", ".mjs", ".mk", ".mm", ".nix", ".php", ".pl", ".pm", ".ps1", ".psm1", ".pyx",
    ".r", ".rb", ".reg", ".rs", ".scala", ".service", ".sh", ".swift", ".tcl", ".ts", ".tsx", ".vbs", ".wsf", ".xhtml",
    ".zsh",
)  # fmt: skip
_NAMES: Final = frozenset({"dockerfile", "containerfile", "gnumakefile", "jenkinsfile", "makefile"})
_PYTHON_LINE: Final = re.compile(rb"#![^\n]{0,100}python")
_MOST_SIGHTINGS: Final = 20
_KEPT: Final = 2048  # bytes of a piece that the next one is looked at together with


def _matches(probe: Probe) -> bool:
    return probe.name.endswith((*_PYTHON, *_SCRIPTS)) or probe.name in _NAMES or probe.head.startswith(b"#!")


def _scan(scan: FileScan) -> None:
    if scan.size == 0:  # as many an __init__.py is
        return
    scan.account_for_all()  # nothing in a file that is unverified as a whole has to be accounted for
    is_python = scan.name.lower().endswith(_PYTHON) or _PYTHON_LINE.match(scan.content.read(0, 200)) is not None
    scan.found(CUSTOM if is_python else SCRIPT)
    report_secrets_in_pieces(scan, scan.content.pieces())
    kept, offset = b"", 0
    for piece in scan.content.pieces():
        scan.budget.check_time()
        if report_shells(scan, kept + piece, offset - len(kept)):
            break
        kept, offset = piece[-_KEPT:], offset + len(piece)
    if is_python and scan.size <= MAX_SOURCE:
        report_python(scan, scan.read_all())


def report_shells(scan: FileScan, data: bytes, base: int | None = 0) -> bool:
    """Report command lines of attacks in `data`, which lies at `base` of the file; whether there is one."""
    found = attack_in(data)
    if found is not None:
        scan.found(ATTACK, found[1], offset=None if base is None else base + found[0])
    return found is not None


def report_python(scan: FileScan, source: bytes, where: str = "") -> None:
    """Report what Python source does at import, and attacks anywhere in it."""
    told = 0
    for sighting in sightings(source, scan.budget.check_time):
        told += not sighting.attack
        if sighting.attack or told <= _MOST_SIGHTINGS:
            scan.found(ATTACK if sighting.attack else RUNS, f"{where}line {sighting.line}: {sighting.what}")


FORMATS: Final = (Format(name="code", matches=_matches, scan=_scan),)
