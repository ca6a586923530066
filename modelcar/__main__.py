"""`python -m modelcar`, and what the installed command runs."""

from __future__ import annotations

import signal
import sys

__all__ = ["run"]


def run() -> None:
    """Run the command line as a process of its own, and exit with its status."""
    patient = signal.getsignal(signal.SIGINT) != signal.SIG_IGN
    if patient:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # while the program is loaded there is nothing to clean up
    from modelcar.cli import main
    from modelcar.cli.program import end_cleanly_on_signals

    if patient:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    end_cleanly_on_signals()
    if sys.stdout is not None and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a model may be named in letters that the terminal lacks
    status = main()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # all is done and said; the interpreter's own end takes a moment more
    sys.exit(status)


if __name__ == "__main__":
    run()
