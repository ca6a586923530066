"""`--verbose`: all that our own code logs, on standard error; of libraries, their requests, and warnings."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, cast

from modelcar.exchanges import tell_of_libraries
from modelcar.serving.logs import OURS, formatter
from modelcar.serving.settings import LogFormat

__all__ = ["telling_all"]


class _CurrentStderr:
    """Where standard error goes at the moment: what draws bars takes it over, and puts lines above them."""

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):  # that nobody listens any more is no reason to stop working
            return sys.stderr.write(text) if sys.stderr is not None else 0
        return 0

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            if sys.stderr is not None:
                sys.stderr.flush()


@contextmanager
def telling_all(program: str) -> Iterator[None]:
    """While the block runs, every record of ours is a line of `program`; a command that sets up a log of its own
    replaces this one."""
    handler = logging.StreamHandler(cast("IO[str]", _CurrentStderr()))
    handler.setFormatter(formatter(program, LogFormat.PLAIN))
    root, ours = logging.getLogger(), [logging.getLogger(name) for name in OURS]
    before = [logger.level for logger in ours]
    root.addHandler(handler)
    for logger in ours:
        logger.setLevel(logging.DEBUG)
    tell_of_libraries(wanted=True)
    try:
        yield
    finally:
        tell_of_libraries(wanted=False)
        root.removeHandler(handler)
        for logger, level in zip(ours, before, strict=True):
            logger.setLevel(level)
