"""The scanning process from outside: started, handed open files, listened to, and ended."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self, cast

from modelcar.errors import WorldError
from modelcar.oci import Digest
from registry_shim.gate.worker import ScanRequest

__all__ = ["ScanProcess"]

_PIECE: Final = 1 << 16
_MOST_OUTPUT: Final = 16 << 20  # bytes of all answers
_KEPT: Final = frozenset({"HOME", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "TZ"})
_PREFIX: Final = "MODELCAR_SCANNER_"  # of variables with a plug-in's own settings


class ScanProcess:
    """`python -m registry_shim.gate.worker`; leaving the `with` block kills it and all that it started."""

    def __init__(self, request: ScanRequest) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "registry_shim.gate.worker"],
                stdin=theirs.fileno(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=_environment(request.spool),
                start_new_session=True,
            )
        self._answers = cast("IO[bytes]", self._process.stdout)
        self._rest = b""
        self._read = 0
        self._hand_over(b"request", _in_memory(request.to_json()))

    def deliver(self, digest: Digest, fd: int) -> None:
        """Hand a blob over, for reading only; `fd` stays the caller's."""
        again = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
        self._hand_over(str(digest).encode(), again)

    def deliver_nothing(self, digest: Digest) -> None:
        """Hand an empty blob over."""
        self._hand_over(str(digest).encode(), _in_memory(b""))

    def answers(self, seconds: float) -> Iterator[dict[str, Any]]:
        """What it has said, waiting for at most `seconds`.

        Raises:
            WorldError: it ended, or says what makes no sense.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            if not selector.select(seconds):
                return
        piece = os.read(self._answers.fileno(), _PIECE)
        self._read += len(piece)
        if not piece:
            raise WorldError(f"its scan came to no verdict: {self._how_it_ended()}")
        if self._read > _MOST_OUTPUT:
            raise WorldError("its scan came to no verdict: its answer has no end")
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            try:
                answer = json.loads(line)
            except ValueError:
                answer = None
            if not isinstance(answer, dict):
                raise WorldError("its scan came to no verdict: the answer makes no sense")
            yield answer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._answers.close()
        self._channel.close()

    def _hand_over(self, name: bytes, fd: int) -> None:
        try:
            socket.send_fds(self._channel, [name], [fd])
        except OSError:  # it has ended: its answers say how
            pass
        finally:
            os.close(fd)

    def _how_it_ended(self) -> str:
        try:
            status = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return "its process fell silent"
        if status >= 0:
            return f"its process ended with status {status}"
        with suppress(ValueError):
            return f"its process was ended by {signal.Signals(-status).name}"
        return f"its process was ended by signal {-status}"


def _environment(spool: Path) -> dict[str, str]:
    """No password, token or key is among it, whatever else the environment holds."""
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_PREFIX)}
    modules = os.pathsep.join(entry for entry in sys.path if Path(entry).is_absolute())
    return {**kept, "PYTHONPATH": modules, "TMPDIR": str(spool), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _in_memory(content: bytes) -> int:
    fd = os.memfd_create("modelcar", os.MFD_CLOEXEC)
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
    return fd
