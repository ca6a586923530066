"""One shell for a page: variables, folders and background jobs go on from block to block."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["Session", "TookTooLong"]


class TookTooLong(Exception):
    """A command did not end within the time that it has."""


class Session:
    """bash without anybody's settings, in `folder`. Commands read an empty input; nothing is a terminal."""

    def __init__(self, folder: Path, scratch: Path, environment: Mapping[str, str]) -> None:
        scratch.mkdir(parents=True)
        self._scratch = scratch
        self._count = 0
        self._reader, writer = os.pipe()
        try:
            self._shell = subprocess.Popen(
                ["bash", "--noprofile", "--norc"],
                stdin=subprocess.PIPE,
                cwd=folder,
                env=dict(environment),
                pass_fds=(writer,),
                text=True,
            )
        finally:
            os.close(writer)
        self._status_to = writer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._shell.kill()
        self._shell.wait()
        os.close(self._reader)

    def run(self, command: str, *, seconds: float = 60) -> tuple[int, str]:
        """Its exit status and all that it printed. `TookTooLong` has what was printed until then."""
        script, output = self._next(command)
        self._tell(f". {script} >{output} 2>&1 </dev/null; echo $? >&{self._status_to}")
        if not select.select([self._reader], [], [], seconds)[0]:
            raise TookTooLong(f"not done after {seconds:g} s; it printed:\n{output.read_text(errors='replace')}")
        said = os.read(self._reader, 100)
        return int(said or b"255"), output.read_text(errors="replace") if output.exists() else ""

    def start(self, command: str, enough: Callable[[str], bool], *, seconds: float = 30) -> tuple[int, str]:
        """Leave it running, and wait until `enough` of its output; a status other than 0 if that does not come."""
        script, output = self._next(command)
        self._tell(f"( . {script} ) >{output} 2>&1 </dev/null &")
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            said = output.read_text(errors="replace") if output.exists() else ""
            if enough(said):
                return 0, said
            time.sleep(0.05)
        return 124, said

    def _next(self, command: str) -> tuple[Path, Path]:
        self._count += 1
        script = self._scratch / f"{self._count}.sh"
        script.write_text(command + "\n")
        return script, self._scratch / f"{self._count}.output"

    def _tell(self, line: str) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.write(line + "\n")
        self._shell.stdin.flush()
