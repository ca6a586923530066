"""Fail if the tests that just ran reach too little: `python -m scripts.coverage_floor`, behind `make coverage`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from coverage import Coverage

_LINES: Final = 90.0  # per cent
_BRANCHES: Final = 85.0


def main() -> int:
    measured = Coverage()
    measured.load()
    with TemporaryDirectory() as folder:
        measured.json_report(outfile=str(Path(folder, "report.json")))
        report = json.loads(Path(folder, "report.json").read_text())
    totals = report["totals"]
    lines = 100 * totals["covered_lines"] / totals["num_statements"]
    branches = 100 * totals["covered_branches"] / totals["num_branches"]
    for path, each in sorted(report["files"].items(), key=lambda item: -int(item[1]["summary"]["missing_lines"]))[:10]:
        print(f"{each['summary']['missing_lines']:5} lines not reached  {path}")
    print(f"lines {lines:.1f} % (at least {_LINES:.0f} %), branches {branches:.1f} % (at least {_BRANCHES:.0f} %)")
    return int(lines < _LINES or branches < _BRANCHES)


if __name__ == "__main__":
    sys.exit(main())
