"""The answers as tables of Markdown, and into a document between its markers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from tests.corpus.peers.answers import Answers
from tests.corpus.peers.scanners import Answer, Reply
from tests.corpus.specimen import Specimen

__all__ = ["insert", "tables"]

BEGIN: Final = "<!-- scanners:begin -->"
END: Final = "<!-- scanners:end -->"

PICKLES: Final = ("pickle", "torch zip", "torch, other", "joblib", "numpy")
"""The categories that every peer says it reads, at least in part."""

_LEGEND: Final = "Each cell: flagged / silent / **called clean**."


def tables(
    answers: Answers, malicious: Sequence[Specimen], benign: Sequence[Specimen], versions: dict[str, str]
) -> str:
    """Malicious and benign by category, then times."""
    used = ", ".join(f"{name} {version}" for name, version in versions.items())
    pickles = [specimen for specimen in malicious if specimen.category in PICKLES]
    totals = [("**pickles, in whatever**", pickles), ("**all**", malicious)]
    parts = [
        f"{len(malicious)} malicious and {len(benign)} benign specimens; {used}.",
        f"### Malicious\n\n{_LEGEND}\n\n{_counted(answers, [*_by_category(malicious), *totals])}",
        f"### Benign\n\n{_LEGEND}\n\n{_counted(answers, [*_by_category(benign), ('**all**', benign)])}",
        f"### Advisories\n\n{_advisories(answers, malicious)}",
        f"### Time\n\n{_times(answers)}",
    ]
    return "\n\n".join(parts)


def insert(document: str, tables: str) -> str:
    """The document with the tables between its markers.

    Raises:
        ValueError: it lacks them
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document lacks the markers {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{tables}\n{END}{after}"


def _by_category(specimens: Sequence[Specimen]) -> list[tuple[str, list[Specimen]]]:
    categories = dict.fromkeys(specimen.category for specimen in specimens)
    return [(category, [s for s in specimens if s.category == category]) for category in categories]


def _counted(answers: Answers, rows: Iterable[tuple[str, Sequence[Specimen]]]) -> str:
    lines = [_line("", "files", *answers), _line("---", *["---:"] * (len(answers) + 1))]
    for label, specimens in rows:
        cells = [_cell([given[specimen.name] for specimen in specimens]) for given in answers.values()]
        lines.append(_line(label, str(len(specimens)), *cells))
    return "\n".join(lines)


def _cell(answers: Sequence[Answer]) -> str:
    flagged, silent, clean = (_count(answers, reply) for reply in ("flagged", "silent", "clean"))
    return f"{flagged} / {silent} / **{clean}**"


def _count(answers: Sequence[Answer], reply: Reply | str) -> int:
    return sum(answer.reply == reply for answer in answers)


def _advisories(answers: Answers, malicious: Sequence[Specimen]) -> str:
    """Of each published advisory's specimens, how many each scanner flagged."""
    known = ("CVE-", "GHSA-", "modelscan#", "nullifAI")
    references = sorted({s.reference for s in malicious if s.reference.startswith(known)}, key=_natural)
    return _counted(answers, [(r, [s for s in malicious if s.reference == r]) for r in references])


def _natural(reference: str) -> tuple[str, tuple[int, ...]]:
    """CVE-2025-1716 before CVE-2025-10155."""
    kind, *rest = reference.replace("#", "-").split("-")
    return kind, tuple(int(part) if part.isdigit() else 0 for part in rest)


def _times(answers: Answers) -> str:
    lines = [_line("", *answers), _line("---", *["---:"] * len(answers))]
    for label, pick in (("processor seconds a folder, median", _median), ("slowest", max), ("all of them", sum)):
        cells = [f"{pick([answer.seconds for answer in given.values()]):.1f}" for given in answers.values()]
        lines.append(_line(label, *cells))
    return "\n".join(lines)


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
