"""`python -m tests.corpus DIR`: every specimen as a folder of its own, under `malicious` and `benign`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.corpus import benign, malicious


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.corpus", description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder that is not there yet, or empty")
    folder: Path = parser.parse_args().folder
    if folder.exists() and any(folder.iterdir()):
        parser.error(f"{folder} is not empty")
    for kind, specimens in (("malicious", malicious()), ("benign", benign())):
        for specimen in specimens:
            specimen.write(folder / kind)
        print(f"{len(specimens)} {kind} specimens in {folder / kind}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
