"""Serves one mount. `python -m modelcar.mounts.process.worker TASK`; ends with 0 when the mount is gone."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path

from modelcar.errors import ModelcarError, UsageError
from modelcar.mounts.door import Door
from modelcar.mounts.process.front import Connect, front
from modelcar.mounts.process.journal import Journal
from modelcar.mounts.process.pulse import Pulse
from modelcar.mounts.process.task import Task, read_plan
from modelcar.mounts.process.unmounting import unmount

__all__ = ["connect", "main", "serve"]

_log = logging.getLogger(__name__)


def main(arguments: list[str]) -> int:
    task = Task.parse(arguments[0])
    return serve(task, partial(connect, task))


def connect(task: Task) -> Door:
    """The door that the host of a task keeps."""
    from modelcar.mounts.link.client import open_door

    return open_door(Path(task.socket), task.mount)


def serve(task: Task, connect: Connect) -> int:
    """Until the mount is gone; the exit status. What goes wrong is logged, and left to the supervisor."""
    if task.held is None:
        raise UsageError("there is nothing to serve yet")
    logging.basicConfig(format=f"%(asctime)s worker {task.mount}: %(message)s")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # the supervisor decides when to end
    supervisor = socket.socket(fileno=os.dup(task.held.supervisor))
    try:
        way, plan = front(task.front), read_plan(task.held.plan)
        if way.is_over(task.held.front):
            return 0
        door = connect()
        threading.Thread(target=_outlive, args=(supervisor, task.folder, task.held.device), daemon=True).start()
        journal, pulse = Journal(task.held.journal), Pulse(supervisor, task.stall)
        way.serve(task.held.front, plan, door, journal, task.folder, task.patience, pulse)
        door.close()
        with suppress(ModelcarError):  # a connection that an administrator broke leaves a dead mount
            unmount(task.folder, lazy=True, device=task.held.device)
    except (ModelcarError, OSError) as e:
        _log.error("%s", e)
        return 1
    except Exception:
        _log.exception("this worker cannot go on")
        return 1
    return 0


def _outlive(supervisor: socket.socket, target: Path, device: str) -> None:
    """Without a supervisor nobody would start the next worker: nobody new is let in, and who is here is served."""
    with suppress(OSError):
        supervisor.recv(1)
    _log.warning("the supervisor is gone; %s ends with its last user", target)
    with suppress(ModelcarError):
        unmount(target, lazy=True, device=device)


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))
