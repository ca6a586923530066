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


def main(folder: Path, report: Path) -> None:
    """A file that is no pickle has no result and is merely suspicious; whatever is worse than that counts as unsafe."""
    unsafe = analysed = False
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        if zipfile.is_zipfile(path):
            results = list(fickling.scan_zip_archive(str(path), graceful=True).values())
        else:
            results = [fickling.scan_file(str(path), graceful=True)]
        analysed |= any(result.results for result in results)
        unsafe |= any(
            result.severity > Severity.SUSPICIOUS or (result.results and not result.is_safe) for result in results
        )
    report.write_text(json.dumps({"unsafe": unsafe, "analysed": analysed}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
