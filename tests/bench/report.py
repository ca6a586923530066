"""Results as JSON for programs and as Markdown tables for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from tests.bench.calm import is_disturbed
from tests.bench.results import Outcome, Row, Target

__all__ = ["Conditions", "insert", "to_json", "to_markdown"]

_MIB: Final = 1 << 20
_MEANT_FOR: Final = 2048 * _MIB
_HEAD: Final = (
    "", "wall s", "fastest … slowest", "CPU s", "server's CPU s", "memory", "read", "written", "hashed",
    "read from disk", "written to disk", "left on disk",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """Under which it was measured. `model` in bytes, `day` in ISO 8601."""

    day: str
    command: str
    model: int
    repeats: int
    cores: int
    kernel: str
    python: str
    peers: dict[str, str]
    missing: tuple[str, ...]


def to_json(conditions: Conditions, outcomes: Sequence[Outcome]) -> str:
    """Everything, every single run included."""
    document: dict[str, Any] = {"conditions": asdict(conditions), "scenarios": []}
    for outcome in outcomes:
        entry = asdict(outcome)
        for target, found in zip(entry["targets"], outcome.targets, strict=True):
            target["met"] = found.met
        document["scenarios"].append(entry)
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def to_markdown(conditions: Conditions, outcomes: Sequence[Outcome]) -> str:
    """The part of `docs/explanation/benchmarks.md` between the markers."""
    peers = ", ".join(f"{name} {version}" for name, version in sorted(conditions.peers.items()))
    model = f"a model of {conditions.model // _MIB} MiB in four shards"
    where = f"on {conditions.cores} cores: {model}, page cache warm."
    lines = [
        f"Measured on {conditions.day} by `{conditions.command}` {where}",
        f"Times are the median of {_times(conditions.repeats)}; sizes are in MiB.",
        "",
        f"Linux {conditions.kernel}, Python {conditions.python}; {peers}.",
    ]
    if conditions.model < _MEANT_FOR:
        lines += [
            "",
            "**The targets are for 2048 MiB.** With less, start-up weighs more: the verdicts mean little here.",
        ]
    if conditions.missing:
        lines += ["", f"**Not installed, so not measured:** {', '.join(conditions.missing)}."]
    lines += ["", *_target_table([t for outcome in outcomes for t in outcome.targets])]
    for outcome in outcomes:
        lines += ["", *_section(outcome)]
    return "\n".join(lines) + "\n"


def insert(page: Path, part: str, text: str) -> None:
    """Put `text` between the page's markers of that part. `ValueError` if they are not there."""
    begin, end = f"<!-- bench:{part}:begin -->", f"<!-- bench:{part}:end -->"
    head, has_begin, rest = page.read_text().partition(begin)
    _, has_end, tail = rest.partition(end)
    if not has_begin or not has_end:
        raise ValueError(f"{page} lacks {begin} … {end}")
    page.write_text(f"{head}{begin}\n{text}{end}{tail}")


def _target_table(targets: Sequence[Target]) -> list[str]:
    rows = [(t.what, _figure(t.value, t.unit), _bound(t), _verdict(t)) for t in targets]
    return _table(("figure", "measured", "target", ""), rows)


def _section(outcome: Outcome) -> list[str]:
    lines = [f"### {outcome.title}", "", *_table(_HEAD, [_cells(row) for row in outcome.rows if row.runs])]
    lines += [f"\n{row.name}: **not measured**: {row.failure}" for row in outcome.rows if row.failure]
    notes = [*outcome.notes, *_doubts(outcome)]
    return [*lines, *(["", *(f"- {note}" for note in notes)] if notes else [])]


def _cells(row: Row) -> tuple[str, ...]:
    def mib(field: str) -> str:
        return _mib(row.median(lambda m: float(getattr(m, field))))

    fastest, slowest = row.spread
    server = row.median(lambda m: m.server_cpu)
    return (
        row.name,
        f"{row.wall:.2f}",
        f"{fastest:.2f} … {slowest:.2f}",
        f"{row.median(lambda m: m.cpu):.2f}",
        f"{server:.2f}" if server else "",
        *map(mib, ("memory", "read", "written")),
        ("≥ " if row.hashed_partly else "") + _mib(row.hashed) if row.hashed is not None else "?",
        *map(mib, ("disk_read", "disk_written", "extra_disk")),
    )


def _doubts(outcome: Outcome) -> list[str]:
    """Rows whose times suffered from what else the machine did."""
    return [
        f"{row.name}: other processes used the machine during {disturbed} of {len(row.runs)} runs: doubtful."
        for row in outcome.rows
        if (disturbed := sum(map(is_disturbed, row.runs)))
    ]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    align = ["---", *["--:"] * (len(head) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (head, align, *rows)]


def _figure(value: float | None, unit: str) -> str:
    return "not measured" if value is None else _with_unit(f"{value:.2f}", unit)


def _with_unit(number: str, unit: str) -> str:
    return f"{number} {unit}".rstrip()


def _bound(target: Target) -> str:
    return f"{'≥' if target.at_least else '≤'} " + _with_unit(f"{target.limit:g}", target.unit)


def _verdict(target: Target) -> str:
    return {True: "met", False: "**missed**", None: "?"}[target.met]


def _mib(size: float) -> str:
    return f"{size / _MIB:,.0f}" if size >= 10 * _MIB or not size else f"{size / _MIB:.1f}"


def _times(repeats: int) -> str:
    return "a single run" if repeats == 1 else f"{repeats} runs, taken in turns"
