"""Look at the headers of a remote image; the time that takes, and what it reads of the layers.

python -m tests.bench.programs.quick_scan REF FOLDER
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from modelcar.images.scans import quick_scan
from modelcar.oci import Reference
from modelcar.registry import Registry
from modelcar.signing.places import RegistryPlace


def main(name: str, folder: str) -> None:
    ref = Reference.parse(name)
    with Registry() as registry:
        began = time.perf_counter()
        report = quick_scan(RegistryPlace(registry, ref), registry.resolve(ref), subject=name)
        wall = time.perf_counter() - began
    if any(finding.rule.id != "image.headers-only" for finding in report.all_findings):
        raise SystemExit(f"it found {report.all_findings}")
    (Path(folder) / "read").write_text(json.dumps(report.facts["bytesRead"]))
    print(wall)


if __name__ == "__main__":
    main(*sys.argv[1:])
