"""How each scanner is asked about a folder, as its users would, and what its answer means.

Three answers are told apart. *flagged*: the user is told that something is wrong. *silent*: the user is told that the
scanner cannot say: nothing was scanned, an error, time ran out. *clean*: neither. Each scanner's exit status decides,
and its own summary where that says more.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tests.corpus.peers.install import program

__all__ = ["SCANNERS", "Answer", "Fickling", "Modelcar", "Modelscan", "Picklescan", "Reply", "Scanner"]

Reply = Literal["flagged", "silent", "clean"]

TIMEOUT: Final = 120.0
FICKLING_PROGRAM: Final = Path(__file__).with_name("fickling_program.py")


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """`why` is what decided; `seconds` the wall time of the process, start included."""

    reply: Reply
    why: str
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a process has left: `status` is None if its time ran out. `report` is the file it was asked to write."""

    status: int | None
    output: str
    report: str


class Scanner(ABC):
    """One contender. `peer` is the package it comes from."""

    name: str
    peer: str

    @abstractmethod
    def command(self, folder: Path, report: Path) -> list[str]:
        """What a user would type; `report` is for those that write one."""

    @abstractmethod
    def read(self, outcome: Outcome) -> tuple[Reply, str]:
        """The reply, and what decided."""

    def ask(self, folder: Path) -> Answer:
        """Run the scanner on the folder, in an empty folder of its own."""
        with tempfile.TemporaryDirectory() as scratch:
            report = Path(scratch) / "report.json"
            started = time.monotonic()
            outcome = _run(self.command(folder, report), report)
            seconds = time.monotonic() - started
        if outcome.status is None:
            return Answer(reply="silent", why=f"no answer within {TIMEOUT:.0f} s", seconds=seconds)
        reply, why = self.read(outcome)
        return Answer(reply=reply, why=why, seconds=seconds)


def _run(command: list[str], report: Path) -> Outcome:
    try:
        done = subprocess.run(
            command, cwd=report.parent, capture_output=True, timeout=TIMEOUT, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return Outcome(status=None, output="", report="")
    text = report.read_text() if report.exists() else ""
    return Outcome(status=done.returncode, output=(done.stdout + done.stderr).decode(errors="replace"), report=text)


class Picklescan(Scanner):
    """`picklescan -p FOLDER`: exit status 1 for dangerous globals, 2 for errors; the summary counts files."""

    name = "picklescan"
    peer = "picklescan"
    options: tuple[str, ...] = ()

    def command(self, folder: Path, report: Path) -> list[str]:
        return [program(self.peer, "picklescan"), "-p", str(folder), *self.options]

    def read(self, outcome: Outcome) -> tuple[Reply, str]:
        counts = dict(re.findall(r"^(Scanned files|Infected files): (\d+)$", outcome.output, re.MULTILINE))
        if outcome.status == 1 or int(counts.get("Infected files", 0)):
            return "flagged", "infected files"
        if outcome.status != 0:
            return "silent", "scan error"
        return ("clean", "exit status 0") if int(counts.get("Scanned files", 0)) else ("silent", "scanned no file")


class StrictPicklescan(Picklescan):
    """Every global that is not on its list of harmless ones is dangerous."""

    name = "picklescan --strict"
    options = ("--strict",)


class Modelscan(Scanner):
    """`modelscan scan -p FOLDER`: exit status 1 for issues, 2 for errors, 3 if it supports none of the files."""

    name = "modelscan"
    peer = "modelscan"

    def command(self, folder: Path, report: Path) -> list[str]:
        return [program(self.peer, "modelscan"), "scan", "-r", "json", "-o", str(report), "-p", str(folder)]

    def read(self, outcome: Outcome) -> tuple[Reply, str]:
        issues = json.loads(outcome.report)["summary"]["total_issues"] if outcome.report else 0
        if outcome.status == 1 or issues:
            return "flagged", "issues"
        reasons = {2: "scan error", 3: "scanned no file"}
        return (
            ("clean", "exit status 0")
            if outcome.status == 0
            else ("silent", reasons.get(outcome.status or 0, "failed"))
        )


class Fickling(Scanner):
    """Its documented functions, on each file: `scan_zip_archive` for zips, `scan_file` for all others."""

    name = "fickling"
    peer = "fickling"

    def command(self, folder: Path, report: Path) -> list[str]:
        return [program(self.peer, "python"), "-W", "ignore", str(FICKLING_PROGRAM), str(folder), str(report)]

    def read(self, outcome: Outcome) -> tuple[Reply, str]:
        if not outcome.report:
            return "silent", "failed"
        answer = json.loads(outcome.report)
        reply: Reply = "flagged" if answer["unsafe"] else "clean" if answer["analysed"] else "silent"
        return reply, "severity" if reply != "silent" else "analysed no pickle"


class Modelcar(Scanner):
    """`modelcar scan --json FOLDER`: *malicious* counts as flagged, *unverified* as silent."""

    name = "modelcar"
    peer = "modelcar"

    def command(self, folder: Path, report: Path) -> list[str]:
        return [sys.executable, "-m", "modelcar", "scan", "--json", "--quiet", str(folder)]

    def read(self, outcome: Outcome) -> tuple[Reply, str]:
        try:
            verdict = str(json.loads(outcome.output)["verdict"])
        except (ValueError, KeyError):
            return "silent", "failed"
        replies: dict[str, Reply] = {"clean": "clean", "malicious": "flagged"}
        return replies.get(verdict, "silent"), verdict


SCANNERS: Final[tuple[Scanner, ...]] = (Picklescan(), StrictPicklescan(), Modelscan(), Fickling(), Modelcar())
