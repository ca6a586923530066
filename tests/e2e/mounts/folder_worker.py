"""The programs of a mount whose door is a folder: `python -m tests.e2e.mounts.folder_worker open|serve TASK`."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

from modelcar.mounts.process import opener, worker
from modelcar.mounts.process.task import Task
from tests.support.folder_door import FolderDoor

COMMAND = [sys.executable, "-m", "tests.e2e.mounts.folder_worker"]

if __name__ == "__main__":
    task = Task.parse(sys.argv[2])
    connect = partial(FolderDoor, Path(task.socket))
    if sys.argv[1] == "open":
        opener.open_and_supervise(task, connect, [*COMMAND, "serve"])
    else:
        os._exit(worker.serve(task, connect))
