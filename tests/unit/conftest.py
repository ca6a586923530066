"""What holds for every unit test."""

from __future__ import annotations

import logging
import resource
import signal
import sys
from collections.abc import Iterator

import pytest

_LOGGERS = ("", "modelcar", "registry_shim")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _the_process_stays_as_it_was() -> Iterator[None]:
    """Commands that run in this process set up logging, signals and limits as if it were theirs alone."""
    root = logging.getLogger()
    handlers, levels = list(root.handlers), [logging.getLogger(name).level for name in _LOGGERS]
    signals, hook = [signal.getsignal(number) for number in _SIGNALS], sys.unraisablehook
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    root.handlers[:] = handlers
    for name, level in zip(_LOGGERS, levels, strict=True):
        if logging.getLogger(name).level != level:  # setting it empties the caches of all loggers
            logging.getLogger(name).setLevel(level)
    for number, handler in zip(_SIGNALS, signals, strict=True):
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)
    sys.unraisablehook = hook
    if resource.getrlimit(resource.RLIMIT_NOFILE) != files:
        resource.setrlimit(resource.RLIMIT_NOFILE, files)
