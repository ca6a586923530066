"""A scanner in a process of its own: whatever a hostile file does to it ends there."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Final, cast

from modelcar.scanning.limits import Limits
from modelcar.scanning.plugins.interface import FileUnderScan, Isolation, PluginFinding, ScannerFailed
from modelcar.scanning.plugins.loading import LoadedPlugin
from modelcar.scanning.plugins.messages import Request, parse_line

__all__ = ["contained_scan"]

_RUNNER: Final = "modelcar.scanning.plugins.runner"
_MOST_OUTPUT: Final = 4 << 20  # bytes of an answer
_PIECE: Final = 1 << 16
# Variables that reach a scanner. No password, token or key is among them, whatever else the environment holds.
_KEPT: Final = frozenset(
    {"HOME", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "PYTHONNOUSERSITE", "TZ"}
    | {"PYTHONUSERBASE", "VIRTUAL_ENV"}
)
_PREFIX: Final = "MODELCAR_SCANNER_"  # of variables with a scanner's own settings
_ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # each would reserve memory for a stack


def contained_scan(plugin: LoadedPlugin, file: FileUnderScan, limits: Limits) -> Iterator[PluginFinding]:
    """What `plugin` finds in `file`.

    Raises:
        ScannerFailed: it does not come to its end by itself, in time, or says something that makes no sense.
    """
    with file.on_disk() as path, tempfile.TemporaryDirectory(prefix="modelcar-scan-", dir=file.spool) as scratch:
        request = Request(
            factory=plugin.factory,
            path=file.path,
            source=str(path.absolute()),
            formats=file.formats,
            seconds=file.seconds_left(),
            memory=limits.plugin_memory,
            findings=limits.findings,
            network=plugin.scanner.isolation is not Isolation.SEALED,
        )
        process = subprocess.Popen(
            # -P: nothing is imported from the folder that a hostile checkpoint lies in.
            [sys.executable, "-P", "-m", _RUNNER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=_environment(scratch),
            start_new_session=True,
        )
        try:
            yield from _answers(process, request, file)
        finally:
            _end(process)


def _environment(scratch: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_PREFIX)}
    # The same modules as here, less those that are found by way of the current folder.
    modules = os.pathsep.join(entry for entry in sys.path if Path(entry).is_absolute())
    return {**kept, **_ONE_THREAD, "PYTHONPATH": modules, "TMPDIR": scratch}


def _answers(process: subprocess.Popen[bytes], request: Request, file: FileUnderScan) -> Iterator[PluginFinding]:
    with suppress(BrokenPipeError), cast("IO[bytes]", process.stdin) as asking:
        asking.write(request.to_json())
    for line in _lines(process, file):
        if (finding := parse_line(line)) is None:
            return
        yield finding
    raise ScannerFailed(_how_it_ended(process, file))


def _lines(process: subprocess.Popen[bytes], file: FileUnderScan) -> Iterator[bytes]:
    """Its lines until it closes its output; a last one that is not finished is none."""
    fd, rest, total = cast("IO[bytes]", process.stdout).fileno(), b"", 0
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        while True:
            if not selector.select(file.seconds_left()):
                continue
            piece = os.read(fd, _PIECE)
            if not piece:
                return
            total += len(piece)
            if total > _MOST_OUTPUT:
                raise ScannerFailed("its answer has no end")
            *lines, rest = (rest + piece).split(b"\n")
            yield from lines


def _how_it_ended(process: subprocess.Popen[bytes], file: FileUnderScan) -> str:
    try:
        status = process.wait(file.seconds_left())
    except subprocess.TimeoutExpired:
        return "it took too long"
    if status >= 0:
        return f"its process ended with status {status}"
    if -status in (signal.SIGALRM, signal.SIGXCPU):
        return "it took too long"
    with suppress(ValueError):
        return f"its process was ended by {signal.Signals(-status).name}"
    return f"its process was ended by signal {-status}"


def _end(process: subprocess.Popen[bytes]) -> None:
    """It and everything that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
