"""Other programs, which are asked something and answer before long."""

from __future__ import annotations

import logging
import shlex
import subprocess
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from modelcar.errors import WorldError

__all__ = ["Ended", "run_program"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a program ended, and what it wrote until then. What is no UTF-8 in that is replaced."""

    status: int
    output: str
    errors: str

    @property
    def complaint(self) -> str:
        """The last line that it wrote of errors, where programs say what came of it all."""
        lines = self.errors.strip().splitlines() or [f"exit status {self.status}"]
        return lines[-1].strip()


def run_program(
    *command: str,
    seconds: float,
    hint: str | None = None,
    environment: Mapping[str, str] | None = None,
    descriptors: Collection[int] = (),
) -> Ended:
    """Run a program to its end, whatever its status is. It has nothing to read.

    Args:
        command: the program, which is looked for in PATH, and its arguments; no shell sees them.
        seconds: that it may take; it is killed then.
        hint: what a person can do where it cannot be run.
        environment: instead of ours.
        descriptors: of ours, that it may use under the same numbers.

    Raises:
        WorldError: it cannot be run, or does not end in time.
    """
    began = time.monotonic()
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            env=environment,
            pass_fds=tuple(descriptors),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise WorldError(f"{command[0]} does not answer within {seconds:g} s", hint=hint) from None
    except OSError as e:
        raise WorldError(f"{command[0]} cannot be run: {e.strerror}", hint=hint) from None
    took = {"status": done.returncode, "seconds": round(time.monotonic() - began, 3)}
    _log.debug("ran %s", shlex.join(command), extra=took)
    return Ended(status=done.returncode, output=done.stdout, errors=done.stderr)
