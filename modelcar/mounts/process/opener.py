"""Mounts, becomes the supervisor, and leaves the first worker behind.

`python -m modelcar.mounts.process.opener TASK` with the plan as its standard input. Writes one line of JSON: `{}` when
it is mounted, or `error` and `hint`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import NoReturn

from modelcar.errors import ModelcarError, WorldError
from modelcar.mounts.process import supervisor, worker
from modelcar.mounts.process.front import Connect, front
from modelcar.mounts.process.journal import create_journal
from modelcar.mounts.process.task import Held, Task, read_plan
from modelcar.mounts.process.unmounting import mounted

__all__ = ["main", "open_and_supervise"]

_WORKER = "modelcar.mounts.process.worker"


def main(arguments: list[str]) -> None:
    task = Task.parse(arguments[0])
    open_and_supervise(task, partial(worker.connect, task), [sys.executable, "-m", _WORKER])


def open_and_supervise(task: Task, connect: Connect, command: Sequence[str]) -> None:
    """`command` starts the workers after the first, which is forked from here: an interpreter that starts again costs a
    reader a quarter of a second."""
    # Until the supervisor can act on it: what is mounted by then would be left without anybody.
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    try:
        plan = os.dup(0)  # standard input is replaced below
        way = front(task.front)
        from_kernel = way.open(read_plan(plan), connect, task.folder)
        if (mount := mounted(task.folder)) is None:
            raise WorldError(f"{task.folder}: was unmounted at once")
    except (ModelcarError, OSError) as e:
        _tell(error=str(e), hint=getattr(e, "hint", None))
        return
    ours, theirs = socket.socketpair()
    held = Held(device=mount.device, front=from_kernel, plan=plan, journal=create_journal(), supervisor=theirs.detach())
    task = replace(task, held=held)
    first = os.fork()
    if first == 0:
        ours.close()
        _leave_standard_streams()
        os._exit(worker.serve(task, connect))  # which raises nothing
    _tell()
    _leave_standard_streams()
    _become_supervisor(task, held, way.fails_closed, ours.detach(), first, [*command, task.to_argument()])


def _become_supervisor(
    task: Task, held: Held, may_give_up: bool, workers: int, first: int, command: list[str]
) -> NoReturn:
    for descriptor in (*held.all, workers):
        os.set_inheritable(descriptor, True)
    interpreter = [sys.executable, "-I", "-S", supervisor.__file__]
    told = [task.target, held.device, str(may_give_up), str(task.stall), str(workers), str(first)]
    os.execv(interpreter[0], [*interpreter, *told, *command])  # noqa: S606  # no shell is wanted


def _tell(**said: str | None) -> None:
    with suppress(OSError):
        os.write(1, json.dumps(said).encode() + b"\n")


def _leave_standard_streams() -> None:
    """Whoever started us reads until all have closed their output."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):
        os.dup2(nothing, stream)
    os.close(nothing)


if __name__ == "__main__":
    main(sys.argv[1:])
