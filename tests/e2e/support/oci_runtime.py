#!/usr/bin/python3 -IS
"""runc for engines that want more than this machine may give: no raised limits, no protected OOM score."""

import json
import os
import sys
from pathlib import Path

_FILES = {"--bundle": "config.json", "-b": "config.json", "--process": "", "-p": ""}


def relax(file: Path) -> None:
    config = json.loads(file.read_text())
    process = config.get("process", config)
    process.pop("rlimits", None)
    process.pop("oomScoreAdj", None)
    file.write_text(json.dumps(config))


for option, value in zip(sys.argv, sys.argv[1:], strict=False):
    if option in _FILES:
        relax(Path(value) / _FILES[option])
os.execvp("runc", ["runc", *sys.argv[1:]])  # noqa: S606  # takes this process's place, as an engine expects
