"""How each scanner is asked about a folder, as its users would, and what its answer means.

Three answers are told apart. *flagged*: the user is told that something is wrong. *silent*: the user is told that the
scanner cannot say: nothing was scanned, an error, time ran out. *clean*: neither. Each scanner's exit status decides,
and its own summary where that says more.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tests.corpus.peers.install import program

__all__ = ["SCANNERS", "Answer", "Fickling", "Modelcar", "Modelscan", "Picklescan", "Reply", "Scanner"]

Reply = Literal["flagged", "silent", "clean"]

TIMEOUT: Final = 120.0
MODELSCAN_PROGRAM: Final = Path(__file__).with_name("modelscan_program.py")
FICKLING_PROGRAM: Final = Path(__file__).with_name("fickling_program.py")


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """`why` is what decided; `seconds` the processor time of the process, start included."""

    reply: Reply
    why: str
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What a process has left: `status` is None if its time ran out, `report` the file that it was asked to write."""

    status: int | None
    output: str
    report: str
    seconds: float


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
            outcome = self.run(folder, Path(scratch) / "report.json")
        if outcome.status is None:
            return Answer(reply="silent", why=f"no answer within {TIMEOUT:.0f} s", seconds=outcome.seconds)
        reply, why = self.read(outcome)
        return Answer(reply=reply, why=why, seconds=outcome.seconds)

    def run(self, folder: Path, report: Path) -> Outcome:
        return _run(self.command(folder, report), report)


def _run(command: list[str], report: Path) -> Outcome:
    """One process, at most `TIMEOUT` seconds, in the folder of the report."""
    output = report.with_suffix(".output")
    with output.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=report.parent, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.DEVNULL
        )
        late = threading.Timer(TIMEOUT, process.kill)
        late.start()
        _, status, usage = os.wait4(process.pid, 0)
        in_time = late.is_alive()
        late.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
    return Outcome(
        status=process.returncode if in_time else None,
        output=output.read_text(errors="replace"),
        report=report.read_text() if report.exists() else "",
        seconds=usage.ru_utime + usage.ru_stime,
    )


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
    """`modelscan scan -p FOLDER`: exit status 1 for issues, 2 for errors, 3 if it supports none of the files.

    One process imports TensorFlow, which takes seconds, and forks for each folder.
    """

    name = "modelscan"
    peer = "modelscan"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def command(self, folder: Path, report: Path) -> list[str]:
        return [program(self.peer, "python"), "-W", "ignore", str(MODELSCAN_PROGRAM), str(TIMEOUT)]

    def run(self, folder: Path, report: Path) -> Outcome:
        with self._lock:
            if self._process is None:
                self._process = subprocess.Popen(
                    self.command(folder, report),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                )
            assert self._process.stdin
            assert self._process.stdout
            print(folder, report, sep="\t", file=self._process.stdin, flush=True)
            answer = json.loads(self._process.stdout.readline())
        text = report.read_text() if report.exists() else ""
        return Outcome(status=answer["status"], output="", report=text, seconds=answer["seconds"])

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
    """Its documented functions, on the files that its own scan of repositories would choose."""

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
