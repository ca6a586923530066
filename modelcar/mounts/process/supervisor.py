"""Holds what the kernel gave for a mount, and starts a worker again when one dies.

Run as a file by an interpreter without anything else (`-I -S`), so that it stays small. Its arguments: the folder, the
number of its file system, whether it may give up, for how many seconds a worker may be silent, the socket to the
workers, the first worker, and the command for the next ones.
"""

from __future__ import annotations

import os
import signal
import sys
import time

_LONGEST_PAUSE = 5.0  # seconds
_GIVE_UP = 40  # workers in a row of which none got to serve: readers wait for nothing
_STARTING = 120.0  # seconds that a worker has to begin
_LOOKS = 6  # in the time that it may be silent for


def main(arguments: list[str]) -> int:
    """Returns when the mount is gone: 0, or 1 if it was given up."""
    mount, may_give_up, limit = arguments[:2], arguments[2] == "True", float(arguments[3])
    workers, worker, command = int(arguments[4]), int(arguments[5]), arguments[6:]
    os.set_inheritable(workers, False)
    os.set_blocking(workers, False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _detach(mount))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM, signal.SIGINT))
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD,))
    _spare("-1000")
    failed = 0
    while True:
        status, served = _attend(worker, workers, limit, mount[0])
        if os.waitstatus_to_exitcode(status) == 0:
            return 0
        failed = 0 if served else failed + 1
        if failed == _GIVE_UP:
            _say(f"{mount[0]}: no worker can serve it; it is taken down")
            _detach(mount)
            if may_give_up:
                return 1
        if failed:
            time.sleep(min(_LONGEST_PAUSE, 0.05 * 2**failed))
        worker = _start(command)


def _attend(worker: int, workers: int, limit: float, name: str) -> tuple[int, bool]:
    """Wait for a worker's end: its status, and whether it got to serve. One that gives no sign of life is killed.

    Silence is counted in looks of ours, of which none is longer than planned, however long we ourselves did not run.
    """
    served, killed, silent, look = False, False, 0.0, limit / _LOOKS
    while True:
        ended, status = os.waitpid(worker, os.WNOHANG)
        if _heard(workers):
            served, silent = True, 0.0
        if ended:
            return status, served
        if silent > (limit if served else max(limit, _STARTING)) and not killed:
            _say(f"{name}: the worker {worker} gives no sign of life; another one takes over")
            os.kill(worker, signal.SIGKILL)
            killed = True
        if signal.sigtimedwait((signal.SIGCHLD,), look) is None:
            silent += look


def _start(command: list[str]) -> int:
    if child := os.fork():
        return child
    try:
        _spare("0")
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGCHLD,))
        os.execv(command[0], command)  # noqa: S606  # no shell is wanted
    finally:
        os._exit(127)


def _spare(score: str) -> None:
    """When memory is short, the supervisor is to be the last to die: nobody can take over from it."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(score)
    except OSError:
        return  # root may


def _heard(workers: int) -> bool:
    """Whether the worker gave a sign: that it serves, and again and again that it lives."""
    try:
        return bool(os.read(workers, 4096))
    except BlockingIOError:
        return False


def _say(text: str) -> None:
    try:
        os.write(2, f"{text}\n".encode())
    except OSError:
        return  # nobody can be told


def _detach(mount: list[str]) -> None:
    """In a process of its own, which may be as large as it likes."""
    command = [sys.executable, "-m", "modelcar.mounts.process.detach", *mount]
    os.spawnv(os.P_WAIT, sys.executable, command)  # noqa: S606  # no shell is wanted


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))
