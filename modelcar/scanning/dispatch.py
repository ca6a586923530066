"""Which parsers a file is given to, and what their success or failure means."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

from modelcar.errors import MalformedFile, WorldError
from modelcar.registry.cancel import Cancelled
from modelcar.scanning.content import Content
from modelcar.scanning.filescan import MORE, FileScan, Findings, Format, Malformed, Probe
from modelcar.scanning.findings import Finding, Rule, Severity
from modelcar.scanning.limits import Budget, LimitExceeded

__all__ = ["LIMIT", "MALFORMED", "RULES", "scan_content"]

UNKNOWN: Final = Rule(
    id="file.unknown-format",
    severity=Severity.UNVERIFIED,
    title="no parser knows this file",
    why="What was not read and understood to its last byte cannot be called clean.",
    fix="Leave the file out of the checkpoint, or convert it to a format that is known.",
)
MALFORMED: Final = Rule(
    id="file.malformed",
    severity=Severity.UNVERIFIED,
    title="it breaks the rules of its format",
    why="Programs disagree about what a broken file holds, and attacks hide where they disagree.",
    fix="Download the file again; if it is as its author published it, ask them to save it anew.",
)
UNACCOUNTED: Final = Rule(
    id="file.unaccounted-bytes",
    severity=Severity.UNVERIFIED,
    title="bytes that belong to nothing",
    why="Another program may find something in them: a second archive, a payload.",
    fix="Have the file saved anew by the library that made it.",
)
AMBIGUOUS: Final = Rule(
    id="file.several-formats",
    severity=Severity.UNVERIFIED,
    title="it can be read as files of several formats",
    why="What is harmless to one program may be code to another that goes by a different sign.",
    fix="Give the file the name of what it is, or have it saved anew; do not load it before you know.",
)
LIMIT: Final = Rule(
    id="scan.limit-exceeded",
    severity=Severity.UNVERIFIED,
    title="it exceeds a bound of the scan",
    why="A scan has bounds so that hostile files cannot stop it; what lies beyond them was not looked at.",
    fix="If the file is honest, raise the bound; otherwise do not use it.",
)
FAILED: Final = Rule(
    id="scan.failed",
    severity=Severity.UNVERIFIED,
    title="the scanner failed on it",
    why="Nothing is known of what the scanner did not get to see.",
    fix="Please report it as a defect of modelcar, with the file if you may share it.",
)
RULES: Final = (UNKNOWN, MALFORMED, UNACCOUNTED, AMBIGUOUS, LIMIT, FAILED, MORE)
_MOST_GAPS: Final = 3  # that are reported of one file


def scan_content(
    path: str, content: Content, formats: Sequence[Format], budget: Budget
) -> tuple[tuple[str, ...], tuple[Finding, ...]]:
    """Scan one file and everything in it; returns the names of the formats that it can be read as, and the findings.

    Raises:
        WorldError: the file cannot be read, or changed meanwhile; that is no verdict.
    """
    findings = Findings(budget.limits.findings)
    scan = FileScan(path, content, budget, findings, lambda member: _dispatch(member, formats))
    names = _dispatch(scan, formats)
    if findings.dropped:
        more = Finding(rule=MORE, path=path, detail=f"{findings.dropped} further findings are not listed")
        findings.kept.append(more)
    return names, tuple(findings.kept)


def _dispatch(scan: FileScan, formats: Sequence[Format]) -> tuple[str, ...]:
    matching: list[Format] = []

    def recognise() -> None:
        probe = Probe(scan.name, scan.content)
        found = [each for each in formats if each.matches(probe)]
        matching.extend([each for each in found if each.sole] or found)

    _guarded(scan, recognise)
    if not matching and scan.size:
        scan.found(UNKNOWN)
    if len(matching) > 1:
        scan.found(AMBIGUOUS, ", ".join(f.name for f in matching))
    for each in matching:
        attempt = scan.again()
        if _guarded(attempt, lambda f=each, a=attempt: f.scan(a)):  # type: ignore[misc]  # mypy takes no lambda with a default
            _report_gaps(attempt)
    return tuple(f.name for f in matching)


def _guarded(scan: FileScan, step: Callable[[], None]) -> bool:
    """Run a step; what goes wrong in it is a finding. Returns whether it came to its end."""
    try:
        step()
    except Malformed as e:
        scan.found(MALFORMED, str(e), offset=e.offset)
    except MalformedFile as e:
        scan.found(MALFORMED, str(e).removeprefix(f"{scan.path}: "))
    except LimitExceeded as e:
        scan.found(LIMIT, str(e))
    except (MemoryError, RecursionError):
        scan.found(LIMIT, "it is nested too deeply, or takes more memory than there is")
    except (WorldError, Cancelled):
        raise
    except Exception as e:
        if os.environ.get("MODELCAR_DEBUG"):
            raise
        scan.found(FAILED, type(e).__name__)
    else:
        return True
    return False


def _report_gaps(scan: FileScan) -> None:
    gaps = list(islice(scan.gaps(), _MOST_GAPS + 1))
    for start, stop in gaps[:_MOST_GAPS]:
        scan.found(UNACCOUNTED, f"{stop - start} bytes", offset=start)
    if len(gaps) > _MOST_GAPS:
        scan.found(UNACCOUNTED, "and more", offset=gaps[_MOST_GAPS][0])
