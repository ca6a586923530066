"""The process that one scanner runs in, for one file: `python -P -m modelcar.scanning.plugins.runner`.

It reads a `Request` from its standard input and writes findings to its standard output, a line each, as it gets them.
"""

from __future__ import annotations

import ctypes
import math
import os
import resource
import signal
import sys
from contextlib import nullcontext, suppress
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Final, TextIO

from modelcar.files import reading
from modelcar.scanning.content import Content
from modelcar.scanning.plugins.interface import FileUnderScan, ScannerFailed, ScannerPlugin
from modelcar.scanning.plugins.loading import GROUP
from modelcar.scanning.plugins.messages import DONE_LINE, Request, failed_line, finding_line

_LARGEST_FILE: Final = 4 << 30  # bytes that a scanner may write to one: unpacking has an end
_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000


def main() -> None:
    request = Request.from_json(sys.stdin.buffer.read())
    # What a scanner prints is none of our business, and no answer.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="ascii")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _confine(request)
    with answers:
        try:
            _scan(request, answers)
            _say(answers, DONE_LINE)
        except ScannerFailed as e:
            _say(answers, failed_line(str(e)))
        except MemoryError:
            _say(answers, failed_line(f"it takes more than {request.memory >> 20} MiB of memory"))
        except Exception as e:
            _say(answers, failed_line(f"{type(e).__name__}: {e}" if str(e) else type(e).__name__))


def _scan(request: Request, answers: TextIO) -> None:
    scanner: ScannerPlugin = EntryPoint(name="", value=request.factory, group=GROUP).load()()
    fd = os.open(request.source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        file = FileUnderScan(
            path=request.path,
            content=Content(reading(fd, request.path), os.fstat(fd).st_size),
            formats=request.formats,
            source=Path(request.source),
        )
        for number, finding in enumerate(scanner.scan(file)):
            if number >= 10 * request.findings:
                raise ScannerFailed("its findings have no end")
            _say(answers, finding_line(finding))
    finally:
        os.close(fd)


def _say(answers: TextIO, line: str) -> None:
    answers.write(f"{line}\n")
    answers.flush()


def _confine(request: Request) -> None:
    """Bounds that hold even if nobody is left to enforce them from outside."""
    seconds = math.ceil(request.seconds)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_AS, request.memory)
    _limit(resource.RLIMIT_FSIZE, _LARGEST_FILE)
    _limit(resource.RLIMIT_CPU, seconds * (os.cpu_count() or 1) + 1)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(seconds + 1)
    if not request.network:
        # Where the kernel does not let us there is a network; that a scanner uses it is not known to be wrong.
        flags = _CLONE_NEWNET if os.geteuid() == 0 else _CLONE_NEWUSER | _CLONE_NEWNET
        with suppress(AttributeError):  # not Linux
            ctypes.CDLL(None).unshare(flags)


def _limit(kind: int, most: int) -> None:
    hard = resource.getrlimit(kind)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    # macOS takes no bound below what is mapped already, and so none of the address space: the others hold.
    with nullcontext() if sys.platform == "linux" else suppress(ValueError, OSError):
        resource.setrlimit(kind, (most, most))


if __name__ == "__main__":
    main()
