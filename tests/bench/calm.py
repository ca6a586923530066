"""Waiting for an idle machine, and telling a run that was disturbed."""

from __future__ import annotations

import time
from typing import Final

from tests.bench.measure import Measurement, busy_time

__all__ = ["Patience", "is_disturbed"]

_TOLERATED: Final = 0.1  # of one core
_LOOK: Final = 1.0  # seconds


def is_disturbed(run: Measurement) -> bool:
    """Whether something else took a share of the machine that shows."""
    return run.elsewhere > _TOLERATED * run.wall


class Patience:
    """Seconds that may be spent on waiting and on runs that are thrown away, in all."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds

    def wait(self) -> None:
        """Return when the machine is idle, or patience is at its end."""
        while self._left > 0:
            before = busy_time()
            time.sleep(_LOOK)
            if busy_time() - before < _TOLERATED * _LOOK:
                return
            self._left -= _LOOK

    def forgives(self, run: Measurement) -> bool:
        """Whether `run` is to be thrown away and done again."""
        if not is_disturbed(run) or self._left <= 0:
            return False
        self._left -= run.wall
        return True
