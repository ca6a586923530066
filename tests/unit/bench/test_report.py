"""Tables, targets and the page they are put into."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench.__main__ import PAGE
from tests.bench.measure import Measurement
from tests.bench.report import Conditions, insert, to_json, to_markdown
from tests.bench.results import Outcome, Row, Target, ratio_target
from tests.bench.scenarios import PARTS

MIB = 1 << 20
RUN = Measurement(wall=2.0, cpu=1.0, memory=30 * MIB, read=MIB, written=0, disk_read=0, disk_written=0)
CONDITIONS = Conditions(
    day="2026-11-22",
    command="make bench",
    model=2048 * MIB,
    repeats=3,
    cores=2,
    kernel="6.1",
    python="3.11.7",
    peers={"skopeo": "1.9.3"},
    missing=("olot",),
)


def row(name: str, *walls: float) -> Row:
    return Row(name=name, runs=tuple(replace(RUN, wall=wall) for wall in walls))


def outcome(*rows: Row, target: Target) -> Outcome:
    return Outcome(name="push", title="Push", rows=rows, targets=(target,))


def test_a_row_shows_the_median_and_the_spread() -> None:
    ours = row("modelcar", 3.0, 1.0, 2.0)
    assert (ours.wall, ours.spread) == (2.0, (1.0, 3.0))


def test_a_ratio_is_met_missed_or_not_measured() -> None:
    ours, theirs = row("modelcar", 1.0), row("skopeo", 2.0)
    gone = Row(name="olot", failure="not installed: olot")
    assert ratio_target("r", ours, theirs, 0.5).met is True
    assert ratio_target("r", ours, theirs, 0.45).met is False
    assert ratio_target("r", ours, gone, 0.45).met is None


def test_at_least_turns_a_bound_around() -> None:
    assert Target(what="t", value=0.95, limit=0.9, unit="x", at_least=True).met is True


def test_runs_in_turn_add_up_except_for_memory() -> None:
    first, second = replace(RUN, hashed=7), replace(RUN, memory=40 * MIB)
    both = first.then(second)
    assert (both.wall, both.memory, both.hashed) == (4.0, 40 * MIB, 7)


def test_the_page_says_what_is_missing_and_what_failed() -> None:
    gone = Row(name="olot + skopeo", failure="not installed: olot")
    text = to_markdown(CONDITIONS, [outcome(row("modelcar", 1.0), gone, target=ratio_target("r", gone, gone, 1))])
    assert "**Not installed, so not measured:** olot." in text
    assert "olot + skopeo: **not measured**: not installed: olot" in text
    assert "| r | not measured | ≤ 1 x | ? |" in text


def test_the_tables_have_as_many_cells_as_heads() -> None:
    ours = row("modelcar", 1.0)
    text = to_markdown(CONDITIONS, [outcome(ours, target=ratio_target("r", ours, ours, 1.25))])
    tables = [line.count("|") for line in text.splitlines() if line.startswith("|")]
    assert set(tables) == {5, 13}
    assert "| r | 1.00 x | ≤ 1.25 x | met |" in text


def test_the_doubtful_are_named() -> None:
    busy = Row(name="modelcar", runs=(replace(RUN, elsewhere=1.0),))
    text = to_markdown(CONDITIONS, [outcome(busy, target=ratio_target("r", busy, busy, 1))])
    assert "- modelcar: other processes used the machine during 1 of 1 runs: doubtful." in text


def test_json_has_every_run_and_verdict() -> None:
    ours = row("modelcar", 1.0, 2.0)
    document = json.loads(to_json(CONDITIONS, [outcome(ours, target=ratio_target("r", ours, ours, 1.25))]))
    scenario = document["scenarios"][0]
    assert [run["wall"] for run in scenario["rows"][0]["runs"]] == [1.0, 2.0]
    assert scenario["targets"][0]["met"] is True


def test_only_what_lies_between_the_markers_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "before\n<!-- bench:a:begin -->\nold\n<!-- bench:a:end -->\n<!-- bench:b:begin -->\n<!-- bench:b:end -->\n"
    )
    insert(page, "a", "new\n")
    assert (
        page.read_text()
        == "before\n<!-- bench:a:begin -->\nnew\n<!-- bench:a:end -->\n<!-- bench:b:begin -->\n<!-- bench:b:end -->\n"
    )
    page.write_text("no markers\n")
    with pytest.raises(ValueError, match="lacks"):
        insert(page, "a", "new\n")


@pytest.mark.parametrize("part", PARTS)
def test_every_part_has_its_place_in_the_page(part: str) -> None:
    text = PAGE.read_text()
    assert text.count(f"<!-- bench:{part}:begin -->") == text.count(f"<!-- bench:{part}:end -->") == 1
