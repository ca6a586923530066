"""Running other programs: bounded, quiet, and with their complaint in the failure."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BIN = Path(sys.executable).parent
_DAEMONS = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])
Done = subprocess.CompletedProcess[str]


def program(name: str) -> str:
    """Where it is; daemons lie in folders that plain users' PATH lacks."""
    return shutil.which(name, path=_DAEMONS) or name


def run(
    *command: str | Path, check: bool = True, environment: Mapping[str, str] | None = None, within: float = 60
) -> Done:
    """Run a command to its end. A failure fails the test with what the command said, unless `check` is false."""
    done = subprocess.run(
        [program(str(command[0])), *map(str, command[1:])],
        env={**os.environ, "PATH": _DAEMONS, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=within,
    )
    if check and done.returncode:
        pytest.fail(f"{' '.join(map(str, command))}: exit status {done.returncode}\n{done.stderr}{done.stdout}")
    return done


@contextmanager
def serving(
    log: Path, *command: str | Path, environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs as long as the block does."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program(str(command[0])), *map(str, command[1:])],
            env={**os.environ, "PATH": _DAEMONS, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Modelcar:
    """The command, with a store of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.environment = {"MODELCAR_HOME": str(home)}

    def run(self, *arguments: str | Path) -> Done:
        """Run a verb to its end, whatever that is."""
        return run(BIN / "modelcar", *arguments, check=False, environment=self.environment)

    def __call__(self, *arguments: str | Path) -> Any:
        """Run a verb that must work; returns its JSON answer."""
        done = run(BIN / "modelcar", *arguments, "--json", environment=self.environment)
        return json.loads(done.stdout)

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """A verb that goes on in the background; what it says on standard error can be read when it has ended."""
        return subprocess.Popen(
            [str(BIN / "modelcar"), *map(str, arguments)],
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def refusal(self, status: int, *arguments: str | Path) -> str:
        """The first of at most two lines (what happened, what to do) with which a verb that must fail does so."""
        done = self.run(*arguments)
        assert done.returncode == status, (done.returncode, done.stderr)
        assert done.stdout == ""
        lines = [line for line in done.stderr.splitlines() if not line.startswith("waiting for ")]  # a slow machine's
        assert 1 <= len(lines) <= 2, done.stderr
        assert "internal error" not in done.stderr
        assert lines[0].startswith("modelcar: "), done.stderr
        return lines[0]
