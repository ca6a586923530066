"""picklescan, from PyPI."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.bench.measure import Measurement
from tests.bench.race import Run

__all__ = ["scan"]

_PROGRAM = Path(__file__).parents[1] / "programs" / "by_picklescan.py"


def scan(run: Run, file: Path) -> Measurement:
    """Its scan of one pickle, timed by itself."""
    measured = run.measure([run.bench.peers.bin / "python", _PROGRAM, file])
    return replace(measured, wall=float((run.folder / "output").read_text().splitlines()[-1]))
