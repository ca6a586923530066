"""`python -m modelcar`, and what the installed command runs."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable
from threading import Timer

__all__ = ["run"]

_BY_SIGNAL = 128
_PATIENCE = 10.0  # seconds for the interpreter's own end, once the work was interrupted


def run(commands: str = "modelcar.cli") -> None:
    """Run `main` of the package `commands` as a process of its own, and exit with its status."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # while the program is loaded there is nothing to clean up
    main: Callable[[], int] = importlib.import_module(commands).main
    from modelcar.cli.interruptions import end_cleanly_on_signals
    from modelcar.cli.program import open_standard_streams

    open_standard_streams()
    end_cleanly_on_signals()
    if sys.stdout is not None and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a model may be named in letters that the terminal lacks
    status = main()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # all is done and said; the interpreter's own end takes a moment more
    if status > _BY_SIGNAL:  # which may have left a thread that waits for one who is gone, and nobody could end it
        last = Timer(_PATIENCE, os._exit, [status])
        last.daemon = True
        last.start()
    sys.exit(status)


if __name__ == "__main__":
    run()
