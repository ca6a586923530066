"""Daemons on machines that are network namespaces: started, waited for, ended."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.support.links import Machine

__all__ = ["Daemon", "Daemons", "answer"]

_PATIENCE: Final = 60.0  # seconds for a start
_END: Final = 10.0
_ASK: Final = Path(__file__).with_name("ask.py")
_SAID: Final = 1500  # characters of a log that a failure quotes


class Daemon:
    """A running program and its log."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    @property
    def said(self) -> str:
        """All of its log."""
        return self._log.read_text(errors="replace")

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Raises OSError, with the end of the log, if it ends before that or takes too long."""
        deadline = time.monotonic() + _PATIENCE
        while not condition():
            if self.has_ended or time.monotonic() > deadline:
                raise OSError(f"{what}: not so; the log ends with {self.said[-_SAID:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(_END)
        except subprocess.TimeoutExpired:
            self.kill()


class Daemons:
    """Those of one run, ended together: the last one first."""

    def __init__(self) -> None:
        self._running: list[Daemon] = []

    def start(
        self,
        machine: Machine,
        log: Path,
        *command: str | Path,
    ) -> Daemon:
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*machine.enter, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "NO_PROXY": "*"},
            )
        daemon = Daemon(process, log)
        self._running.append(daemon)
        return daemon

    def close(self) -> None:
        for daemon in reversed(self._running):
            daemon.stop()
        self._running.clear()


def answer(machine: Machine, url: str) -> int:
    """The status with which a URL answers when asked on that machine; 0 where nothing does."""
    done = subprocess.run(
        [*machine.enter, sys.executable, "-S", str(_ASK), url],
        env={**os.environ, "NO_PROXY": "*"},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)
