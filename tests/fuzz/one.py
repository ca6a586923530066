"""`python -m tests.fuzz.one TARGET SECONDS FOLDER`: fuzz one target with atheris, in an environment that has it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["modelcar"]):
    from tests.fuzz.targets import check


def main(target: str, seconds: int, folder: Path) -> None:
    os.environ["MODELCAR_DEBUG"] = "1"  # a parser's failure is not a finding here, it is a find
    options = [
        f"-max_total_time={seconds}",
        "-timeout=30",
        "-rss_limit_mb=2048",
        "-max_len=65536",
        f"-artifact_prefix={folder}/found-",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(folder / "corpus")], lambda data: check(target, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
