"""How other scanners' answers are read, and how the tables count them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.corpus.malicious.common import ATTACK, pickled
from tests.corpus.peers import answers
from tests.corpus.peers.scanners import (
    SCANNERS,
    Answer,
    Fickling,
    Modelcar,
    Modelscan,
    Outcome,
    Picklescan,
    Reply,
    Scanner,
)
from tests.corpus.peers.table import BEGIN, END, insert, tables
from tests.corpus.specimen import Specimen

SUMMARY = "----------- SCAN SUMMARY -----------\nScanned files: {}\nInfected files: {}\n"


def report(issues: int) -> str:
    return json.dumps({"summary": {"total_issues": issues}})


@pytest.mark.parametrize(
    ("scanner", "status", "output", "text", "reply"),
    [
        (Picklescan(), 0, SUMMARY.format(1, 0), "", "clean"),
        (Picklescan(), 0, SUMMARY.format(0, 0), "", "silent"),
        (Picklescan(), 1, SUMMARY.format(1, 1), "", "flagged"),
        (Picklescan(), 2, SUMMARY.format(1, 0), "", "silent"),
        (Picklescan(), 2, SUMMARY.format(2, 1), "", "flagged"),
        (Picklescan(), 2, "Traceback", "", "silent"),
        (Modelscan(), 0, "", report(0), "clean"),
        (Modelscan(), 1, "", report(2), "flagged"),
        (Modelscan(), 2, "", report(1), "flagged"),
        (Modelscan(), 2, "", report(0), "silent"),
        (Modelscan(), 3, "", report(0), "silent"),
        (Modelscan(), -9, "", "", "silent"),
        (Fickling(), 0, "", '{"unsafe": true, "analysed": true}', "flagged"),
        (Fickling(), 0, "", '{"unsafe": false, "analysed": true}', "clean"),
        (Fickling(), 0, "", '{"unsafe": false, "analysed": false}', "silent"),
        (Fickling(), 1, "Traceback", "", "silent"),
        (Modelcar(), 0, '{"verdict": "clean"}', "", "clean"),
        (Modelcar(), 1, '{"verdict": "unverified"}', "", "silent"),
        (Modelcar(), 1, '{"verdict": "malicious"}', "", "flagged"),
        (Modelcar(), 3, "modelcar: disk full", "", "silent"),
    ],
)
def test_answers_are_read(scanner: Scanner, status: int, output: str, text: str, reply: Reply) -> None:
    assert scanner.read(Outcome(status=status, output=output, report=text, seconds=0.1))[0] == reply


def test_every_scanner_has_a_name_of_its_own() -> None:
    assert len({scanner.name for scanner in SCANNERS}) == len(SCANNERS)


class Instant(Scanner):
    """Answers by the folder's name."""

    name = "instant"
    peer = "instant"

    def ask(self, folder: Path) -> Answer:
        assert list(folder.iterdir())
        return Answer(reply="flagged" if folder.name.startswith("bad") else "clean", why="its name", seconds=0.5)

    def command(self, folder: Path, report: Path) -> list[str]:
        raise NotImplementedError

    def read(self, outcome: Outcome) -> tuple[Reply, str]:
        raise NotImplementedError


@pytest.fixture
def specimens() -> list[Specimen]:
    return [pickled(name, "CVE-2025-1716", "An attack", ATTACK) for name in ("bad-1", "bad-2", "missed")]


def test_the_tables_count_what_was_answered(specimens: list[Specimen]) -> None:
    given = {"instant": answers.ask(Instant(), specimens, at_once=2)}
    text = tables(given, specimens, specimens[2:], {"instant": "1.2"})
    assert "3 malicious and 1 benign specimens; instant 1.2." in text
    assert "| pickle | 3 | 2 / 0 / **1** |" in text
    assert "| **all** | 1 | 0 / 0 / **1** |" in text
    assert "| CVE-2025-1716 | 3 | 2 / 0 / **1** |" in text
    assert "| all of them | 1.5 |" in text


def test_answers_are_kept(tmp_path: Path, specimens: list[Specimen]) -> None:
    given = {"instant": answers.ask(Instant(), specimens, at_once=1)}
    answers.save(given, tmp_path / "kept" / "answers.json")
    assert answers.load(tmp_path / "kept" / "answers.json") == given
    assert answers.load(tmp_path / "none.json") == {}


def test_a_document_keeps_what_is_around_the_tables() -> None:
    assert insert(f"a\n{BEGIN}\nold\n{END}\nb\n", "new") == f"a\n{BEGIN}\nnew\n{END}\nb\n"
    with pytest.raises(ValueError, match="lacks the markers"):
        insert("a\n", "new")
