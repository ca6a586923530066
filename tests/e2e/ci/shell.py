"""Scripts run as a CI system runs them: in a folder, with an environment of their own."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Ran", "run_script"]

_LIMIT = 120  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """`log`: what it wrote on either stream."""

    status: int
    log: str


def run_script(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Ran:
    done = subprocess.run(
        command,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_LIMIT,
    )
    return Ran(status=done.returncode, log=done.stdout)
