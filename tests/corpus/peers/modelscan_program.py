"""Run by modelscan's own interpreter: its command line on folder after folder, TensorFlow being imported once.

    python modelscan_program.py SECONDS

Each line of the input is a folder and the path of a report, with a tab between. Each is scanned by
`modelscan scan -r json -o REPORT -p FOLDER` in a fork of this process; a line of the output then says exit status and
processor seconds. A fork that takes longer than SECONDS is ended, and its status is null.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn

from modelscan.cli import main as modelscan


def scan(folder: str, report: str) -> NoReturn:
    """Ends the process with the command's status, and without taking TensorFlow down, which takes a second."""
    os.chdir(Path(report).parent)
    sys.argv = ["modelscan", "scan", "-r", "json", "-o", report, "-p", folder]
    try:
        modelscan()
    except SystemExit as ended:
        os._exit(int(ended.code or 0))
    os._exit(0)


def ask(limit: float, folder: str, report: str) -> dict[str, float | None]:
    child = os.fork()
    if child == 0:
        scan(folder, report)
    late = threading.Timer(limit, os.kill, (child, signal.SIGKILL))
    late.start()
    _, status, usage = os.wait4(child, 0)
    in_time = late.is_alive()
    late.cancel()
    code = os.waitstatus_to_exitcode(status) if in_time else None
    return {"status": code, "seconds": usage.ru_utime + usage.ru_stime}


if __name__ == "__main__":
    limit = float(sys.argv[1])
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for line in sys.stdin:
        print(json.dumps(ask(limit, *line.rstrip("\n").split("\t"))), file=replies, flush=True)
