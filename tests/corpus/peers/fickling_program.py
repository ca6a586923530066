"""Run by fickling's own interpreter: what its documented functions say of each file of a folder, as JSON.

python fickling_program.py FOLDER REPORT
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import fickling
from fickling.analysis import Severity
from fickling.cli import HF_RAW_PICKLE_EXTENSIONS


def main(folder: Path, report: Path) -> None:
    """A file without a result was no pickle; of those that have one, whatever is worse than likely safe is unsafe."""
    results = [result for path in sorted(folder.rglob("*")) if path.is_file() for result in scan(path)]
    known = [result for result in results if result.results or result.severity > Severity.SUSPICIOUS]
    unsafe = any(not result.is_safe for result in known)
    report.write_text(json.dumps({"unsafe": unsafe, "analysed": bool(known)}))


def scan(path: Path) -> list[fickling.ScanResult]:
    """As its own scan of repositories does: zips by their members, raw pickles by extension or because they parse."""
    if zipfile.is_zipfile(path):
        return list(fickling.scan_zip_archive(str(path), graceful=True).values())
    if path.suffix.lower() in HF_RAW_PICKLE_EXTENSIONS:
        return [fickling.scan_file(str(path), graceful=True)]
    try:
        return [fickling.scan_file(str(path), graceful=False)]
    except Exception:  # whatever its parser raises
        return []


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
