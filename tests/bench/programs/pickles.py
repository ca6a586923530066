"""Scan pickles that are all opcodes, again and again; the time that takes.

python -m tests.bench.programs.pickles make FILE    write the file
python -m tests.bench.programs.pickles scan FILE    scan it with modelcar
"""

from __future__ import annotations

import pickle
import random
import sys
import time
from pathlib import Path
from statistics import median

from modelcar.scanning.catalogue import FORMATS
from modelcar.scanning.content import literal
from modelcar.scanning.dispatch import scan_content
from modelcar.scanning.findings import Outcome, outcome_of
from modelcar.scanning.limits import Budget

_TIMES = 3
_ENTRIES = 150_000


def make(file: Path) -> None:
    """Some ten million bytes without a long string in them: numbers, names and small containers."""
    noise = random.Random(0)
    entries = {
        f"layers.{i}.{noise.random()}": [i, noise.random(), (noise.randrange(1 << 40), None, True), {"scale": i}]
        for i in range(_ENTRIES)
    }
    file.write_bytes(pickle.dumps(entries, protocol=2))


def scan(file: Path) -> None:
    data = file.read_bytes()
    walls = []
    for _ in range(_TIMES):
        began = time.perf_counter()
        _, findings = scan_content("data.pkl", literal(data), FORMATS, Budget())
        walls.append(time.perf_counter() - began)
        if outcome_of(findings) is not Outcome.CLEAN:
            raise SystemExit(f"it is not clean: {findings}")
    print(median(walls))


if __name__ == "__main__":
    {"make": make, "scan": scan}[sys.argv[1]](Path(sys.argv[2]))
